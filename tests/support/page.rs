//! A page without WebSocket: pusher-js's HTTP transports, by hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use gema_protocol::auth::sign_channel;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::{data, text_of};
use super::{DEADLINE, Server};

/// What pusher-js keeps of one response before it asks anew.
pub const LENGTH: usize = 256 * 1024;

/// A client of HTTP; it asks again as pusher-js does.
pub struct Page<'a> {
    server: &'a Server,
    pub session: String,
    action: &'static str,
    pub socket_id: String,
    pub response: Option<Response>,
    /// Received and not yet taken.
    pub bytes: Vec<u8>,
    messages: VecDeque<Value>,
    /// UTF-16 code units of this response.
    units: usize,
    /// Receive requests so far.
    pub asked: usize,
}

impl<'a> Page<'a> {
    /// A session of the default app that asks by `action`, not yet begun.
    pub fn new(server: &'a Server, action: &'static str) -> Page<'a> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Page {
            server,
            session: format!("/pusher/app/app-key/{}/session{number}", number % 1000),
            action,
            socket_id: String::new(),
            response: None,
            bytes: Vec::new(),
            messages: VecDeque::new(),
            units: 0,
            asked: 0,
        }
    }

    pub async fn connect(server: &'a Server, action: &'static str) -> Page<'a> {
        let mut page = Page::new(server, action);
        assert_eq!(page.line().await, "o");
        let hello = page.event("pusher:connection_established").await;
        page.socket_id = text_of(&data(&hello)["socket_id"]);
        page
    }

    pub async fn post(&self, action: &str, body: String) -> Response {
        let url = self
            .server
            .url(&format!("{}/{action}?protocol=7", self.session));
        let request = self.server.http.post(url).body(body).send();
        timeout(DEADLINE, request)
            .await
            .expect("in time")
            .expect("an answer")
    }

    pub async fn send(&self, message: Value) {
        let body = json!([message.to_string()]).to_string();
        assert_eq!(self.post("xhr_send", body).await.status(), 204);
    }

    /// The next line of any kind. Asks anew when a response has ended (polling) or is full (streaming).
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let rest = self.bytes.split_off(end + 1);
                let line = std::mem::replace(&mut self.bytes, rest);
                let line = String::from_utf8(line).expect("UTF-8");
                self.units += line.encode_utf16().count();
                return line.trim_end().to_owned();
            }
            if self.bytes.is_empty() && self.units > LENGTH {
                self.response = None;
            }
            if self.response.is_none() {
                self.open().await;
            }
            let response = self.response.as_mut().expect("asked");
            let chunk = timeout(DEADLINE, response.chunk()).await.expect("in time");
            match chunk.expect("whole") {
                Some(chunk) => self.bytes.extend(chunk),
                None => {
                    assert_eq!((self.action, self.bytes.len()), ("xhr", 0), "the end");
                    self.response = None;
                }
            }
        }
    }

    async fn open(&mut self) {
        let response = self.post(self.action, String::new()).await;
        assert_eq!(response.status(), 200);
        (self.response, self.units) = (Some(response), 0);
        self.asked += 1;
    }

    /// Sees to it that a request is open and nothing is left to read of those before.
    pub async fn ask(&mut self) {
        if self.action == "xhr" {
            self.end().await;
            self.open().await;
        }
    }

    /// Reads the end of a polled response.
    pub async fn end(&mut self) {
        while let Some(response) = &mut self.response {
            let chunk = timeout(DEADLINE, response.chunk()).await.expect("in time");
            assert_eq!(chunk.expect("whole"), None);
            self.response = None;
        }
    }

    /// The next message, or the close that came in its place.
    pub async fn next(&mut self) -> Result<Value, (u16, String)> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(message);
            }
            let line = self.line().await;
            let rest = line.get(1..).unwrap_or_default();
            match line.get(..1) {
                Some("a") => {
                    let texts: Vec<String> = serde_json::from_str(rest).expect("an array");
                    let parse = |text: &String| serde_json::from_str::<Value>(text);
                    self.messages
                        .extend(texts.iter().map(|text| parse(text).expect("JSON")));
                }
                Some("c") => return Err(serde_json::from_str(rest).expect("a close")),
                Some("h") => assert_eq!(self.post("xhr_send", "[]".into()).await.status(), 204),
                _ => panic!("{line}"),
            }
        }
    }

    pub async fn event(&mut self, name: &str) -> Value {
        let event = self.next().await.expect("no close");
        assert_eq!(event["event"], name, "{event}");
        event
    }

    pub async fn close(&mut self) -> (u16, String) {
        loop {
            if let Err(close) = self.next().await {
                return close;
            }
        }
    }

    pub async fn subscribe(&mut self, channel: &str, channel_data: Option<&Value>) -> Value {
        let channel_data = channel_data.map(Value::to_string);
        let auth = sign_channel(
            "app-key",
            "app-secret",
            &self.socket_id,
            channel,
            channel_data.as_deref(),
        );
        let data = json!({ "channel": channel, "auth": auth, "channel_data": channel_data });
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
        self.event("pusher_internal:subscription_succeeded").await
    }
}
