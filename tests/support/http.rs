//! Calls of the HTTP API as a backend makes them, signed as the default app.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use gema_protocol::request::ApiRequest;
use serde_json::{Value, json};

use super::Client;

/// A response, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Answer {
        Answer {
            status: response.status().as_u16(),
            text: response.text().await.expect("a body"),
        }
    }

    /// The body as JSON, of a call that went well.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).expect("JSON")
    }
}

pub fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// A server as it is reached from outside, wherever it runs.
pub struct Api {
    pub address: SocketAddr,
    /// Keeps its connections, as a backend does.
    pub http: reqwest::Client,
}

impl Api {
    pub fn new(address: SocketAddr) -> Api {
        // It is a TLS client too and makes sure of that, though all it is asked here is plain.
        super::use_aws_lc_rs();
        Api {
            address,
            http: reqwest::Client::new(),
        }
    }

    /// A client of the default app, greeted.
    pub async fn client(&self) -> Client {
        Client::connect(self.address, "/app/app-key?protocol=7&client=test").await
    }

    /// Whether it is fit for traffic, and why not.
    pub async fn ready(&self) -> Answer {
        let response = self.http.get(self.url("/ready")).send().await;
        Answer::of(response.expect("an answer")).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let query = sign("POST", path, "", body.as_bytes());
        let url = self.url(&format!("{path}?{query}"));
        let request = self.http.post(url).body(body.to_owned());
        Answer::of(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str, query: &str) -> Answer {
        let query = sign("GET", path, query, b"");
        let url = self.url(&format!("{path}?{query}"));
        let response = self.http.get(url).send().await;
        Answer::of(response.expect("an answer")).await
    }

    /// Publishes one event and expects it to be taken.
    pub async fn trigger(&self, channel: &str, event: &str, data: &str) {
        let body = json!({ "name": event, "channel": channel, "data": data });
        let answer = self.post("/apps/app-id/events", &body.to_string()).await;
        assert_eq!(answer.json(), json!({}));
    }
}

/// The whole query of a call signed as the default app, `query` included.
pub fn sign(method: &str, path: &str, query: &str, body: &[u8]) -> String {
    let request = ApiRequest {
        method,
        path,
        query,
        body,
    };
    request.sign("app-key", "app-secret", unix_s())
}
