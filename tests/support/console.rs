//! The debug console as its page uses it: questions, actions, and the stream.

use std::collections::VecDeque;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::http::Answer;
use super::{DEADLINE, Server};

impl Server {
    /// Reads what the console reads.
    pub async fn look(&self, path: &str) -> Value {
        answer(self.http.get(self.admin_url(path))).await.json()
    }

    /// An action of the console's page.
    pub async fn act(&self, path: &str, body: Value) -> Answer {
        let request = self.http.post(self.admin_url(path));
        let request = request.header("X-Gema-Console", "1");
        answer(request.body(body.to_string())).await
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response = timeout(DEADLINE, request.send()).await.expect("in time");
    Answer::of(response.expect("an answer")).await
}

/// An open stream.
pub struct Stream {
    response: Response,
    /// Received and not yet taken.
    bytes: Vec<u8>,
    entries: VecDeque<Value>,
    /// What the stream has said that it left out.
    pub left_out: u64,
    /// The last overview.
    pub overview: Value,
}

impl Stream {
    /// Opens one with these parameters; when this returns, it is told what happens.
    pub async fn open(server: &Server, query: &str) -> Stream {
        let url = server.admin_url(&format!("/api/stream?{query}"));
        let response = server.http.get(url).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream {
            response,
            bytes: Vec::new(),
            entries: VecDeque::new(),
            left_out: 0,
            overview: Value::Null,
        }
    }

    /// The next entry.
    pub async fn next(&mut self) -> Value {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return entry;
            }
            self.message().await;
        }
    }

    /// The next entry of this kind; others are passed over.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let entry = self.next().await;
            if entry["kind"] == kind {
                return entry;
            }
        }
    }

    /// Takes one message, of whatever kind.
    pub async fn message(&mut self) {
        loop {
            let end = self.bytes.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let rest = self.bytes.split_off(end + 2);
                let message = std::mem::replace(&mut self.bytes, rest);
                let message = String::from_utf8(message).expect("UTF-8");
                let field = |name: &str| {
                    let mut lines = message.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let data: Value = serde_json::from_str(field("data").expect("data")).expect("JSON");
                match field("event") {
                    Some("overview") => self.overview = data,
                    Some("entries") => {
                        self.left_out += data["left_out"].as_u64().expect("a number");
                        let entries = data["entries"].as_array().expect("a list");
                        self.entries.extend(entries.iter().cloned());
                    }
                    other => panic!("{other:?}"),
                }
                return;
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await;
            let chunk = chunk.expect("in time").expect("whole");
            let chunk = chunk.expect("it does not end");
            self.bytes.extend(chunk);
        }
    }
}
