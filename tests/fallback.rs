//! The Pusher protocol without a WebSocket: sessions made of HTTP requests, as pusher-js makes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use gema_protocol::auth::sign_channel;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::client::{data, text_of};
use crate::support::{Client, DEADLINE, Server};

/// What pusher-js keeps of one response before it asks anew.
const LENGTH: usize = 256 * 1024;

/// A client of HTTP; it asks again as pusher-js does.
struct Page<'a> {
    server: &'a Server,
    session: String,
    action: &'static str,
    socket_id: String,
    response: Option<Response>,
    /// Received and not yet taken.
    bytes: Vec<u8>,
    messages: VecDeque<Value>,
    /// UTF-16 code units of this response.
    units: usize,
    /// Receive requests so far.
    asked: usize,
}

impl<'a> Page<'a> {
    /// A session of the default app that asks by `action`, not yet begun.
    fn new(server: &'a Server, action: &'static str) -> Page<'a> {
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

    async fn connect(server: &'a Server, action: &'static str) -> Page<'a> {
        let mut page = Page::new(server, action);
        assert_eq!(page.line().await, "o");
        let hello = page.event("pusher:connection_established").await;
        page.socket_id = text_of(&data(&hello)["socket_id"]);
        page
    }

    async fn post(&self, action: &str, body: String) -> Response {
        let url = self
            .server
            .url(&format!("{}/{action}?protocol=7", self.session));
        let request = self.server.http.post(url).body(body).send();
        timeout(DEADLINE, request)
            .await
            .expect("in time")
            .expect("an answer")
    }

    async fn send(&self, message: Value) {
        let body = json!([message.to_string()]).to_string();
        assert_eq!(self.post("xhr_send", body).await.status(), 204);
    }

    /// The next line of any kind. Asks anew when a response has ended (polling) or is full (streaming).
    async fn line(&mut self) -> String {
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
    async fn ask(&mut self) {
        if self.action == "xhr" {
            self.end().await;
            self.open().await;
        }
    }

    /// Reads the end of a polled response.
    async fn end(&mut self) {
        while let Some(response) = &mut self.response {
            let chunk = timeout(DEADLINE, response.chunk()).await.expect("in time");
            assert_eq!(chunk.expect("whole"), None);
            self.response = None;
        }
    }

    /// The next message, or the close that came in its place.
    async fn next(&mut self) -> Result<Value, (u16, String)> {
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

    async fn event(&mut self, name: &str) -> Value {
        let event = self.next().await.expect("no close");
        assert_eq!(event["event"], name, "{event}");
        event
    }

    async fn close(&mut self) -> (u16, String) {
        loop {
            if let Err(close) = self.next().await {
                return close;
            }
        }
    }

    async fn subscribe(&mut self, channel: &str, channel_data: Option<&Value>) -> Value {
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

const BOTH: [&str; 2] = ["xhr_streaming", "xhr"];

#[tokio::test]
async fn a_page_without_websocket_subscribes_and_hears_events() {
    let server = Server::start().await;
    for action in BOTH {
        let mut page = Page::connect(&server, action).await;
        page.subscribe("a", None).await;
        server
            .trigger("a", "news", r#"{"text":"é☀😀 \"quoted\""}"#)
            .await;
        let event = page.event("news").await;
        assert_eq!(event["channel"], "a");
        assert_eq!(data(&event), json!({ "text": "é☀😀 \"quoted\"" }));
        page.send(json!({ "event": "pusher:ping", "data": {} }))
            .await;
        page.event("pusher:pong").await;
    }
}

#[tokio::test]
async fn pages_with_and_without_websocket_are_members_of_the_same_channels() {
    let server = Server::start().await;
    for action in BOTH {
        let mut socket = server.client().await;
        socket.join("presence-room", "1").await;
        let mut page = Page::connect(&server, action).await;
        let member = json!({ "user_id": "2", "user_info": { "name": "Budi" } });
        let joined = page.subscribe("presence-room", Some(&member)).await;
        assert_eq!(data(&joined)["presence"]["ids"], json!(["1", "2"]));
        let added = socket.event("pusher_internal:member_added").await;
        assert_eq!(data(&added), member);

        let event =
            |text: &str| json!({ "event": "client-say", "channel": "presence-room", "data": text });
        page.send(event("from http")).await;
        let heard = socket.event("client-say").await;
        assert_eq!(
            (&heard["data"], &heard["user_id"]),
            (&json!("from http"), &json!("2"))
        );
        socket.send(event("from websocket")).await;
        let heard = page.event("client-say").await;
        assert_eq!(
            (&heard["data"], &heard["user_id"]),
            (&json!("from websocket"), &json!("1"))
        );

        // The page is closed while it asks: its request ends, and its member with it.
        page.ask().await;
        drop(page);
        let removed = socket.event("pusher_internal:member_removed").await;
        assert_eq!(data(&removed)["user_id"], "2");
        socket.close().await;
    }
}

#[tokio::test]
async fn a_page_that_does_not_come_back_is_gone_after_ten_seconds() {
    let server = Server::start().await;
    let mut socket = server.client().await;
    socket.join("presence-room", "1").await;
    let mut page = Page::connect(&server, "xhr").await;
    page.subscribe("presence-room", Some(&json!({ "user_id": "2" })))
        .await;
    socket.event("pusher_internal:member_added").await;
    // Its last response has ended as it should; there is nothing to see a break in.
    page.end().await;
    let removed = socket.event("pusher_internal:member_removed").await;
    assert_eq!(data(&removed)["user_id"], "2");
    assert_eq!(page.post("xhr_send", "[]".into()).await.status(), 404);
}

#[tokio::test]
async fn a_refused_handshake_is_told_as_a_websocket_would_be() {
    let server = Server::with(
        "[[apps]]\nid = 'a'\nkey = 'app-key'\nsecret = 's'\nmax_connections = 1\n\
         [[apps]]\nid = 'off'\nkey = 'off'\nsecret = 's'\nenabled = false",
    )
    .await;
    let _first = server.client().await;
    for (path, code) in [
        ("unknown/1/a/xhr?protocol=7", 4001),
        ("off/1/a/xhr_streaming?protocol=7", 4003),
        ("app-key/1/a/xhr_streaming?protocol=7", 4004),
        ("app-key/1/a/xhr?protocol=x", 4006),
        ("app-key/1/a/xhr?protocol=3", 4007),
        ("app-key/1/a/xhr?protocol=7&token=x", 4009),
    ] {
        let url = server.url(&format!("/pusher/app/{path}"));
        let answer = server.http.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let lines: Vec<_> = text.lines().collect();
        let [open, error, close] = lines[..] else {
            panic!("{path}: {text}")
        };
        let error: Vec<String> = serde_json::from_str(&error[1..]).unwrap();
        let error: Value = serde_json::from_str(&error[0]).unwrap();
        let close: (u16, String) = serde_json::from_str(&close[1..]).unwrap();
        assert_eq!(open, "o");
        assert_eq!(
            (&error["data"]["code"], close.0),
            (&json!(code), code),
            "{path}"
        );
    }
}

#[tokio::test]
async fn requests_that_fit_no_session_change_nothing() {
    let server = Server::with("[limits]\nrequest_bytes = 100000\nmessage_bytes = 50000").await;
    let mut page = Page::connect(&server, "xhr_streaming").await;
    let status = async |path: &str, body: String| {
        let url = server.url(&format!("/pusher/app/{path}"));
        server
            .http
            .post(url)
            .body(body)
            .send()
            .await
            .unwrap()
            .status()
    };
    for path in [
        "app-key/1/nobody/xhr_send",
        "unknown/1/nobody/xhr_send",
        "app-key/1000/a/xhr_streaming",
        "app-key/1/a.b/xhr",
        "app-key/1/a/jsonp",
        "app-key/1/xhr",
    ] {
        assert_eq!(status(path, "[]".into()).await, 404, "{path}");
    }
    let send = format!("{}/xhr_send", &page.session["/pusher/app/".len()..]);
    for body in ["", "{}", "[1]", r#"["a""#] {
        assert_eq!(status(&send, body.into()).await, 400, "{body}");
    }
    assert_eq!(status(&send, "[".repeat(100_001)).await, 413);
    assert_eq!(status(&send, json!(vec!["{}"; 101]).to_string()).await, 413);
    page.subscribe("a", None).await;

    // What is larger than a message may be ends the connection, as it ends a WebSocket.
    let large = json!(["x".repeat(50_001)]).to_string();
    assert_eq!(status(&send, large).await, 204);
    assert_eq!(page.close().await.0, 1009);
    while status(&send, "[]".into()).await != 404 {}
}

#[tokio::test]
async fn a_second_receive_request_is_refused_and_the_first_goes_on() {
    let server = Server::start().await;
    let mut page = Page::connect(&server, "xhr_streaming").await;
    for action in BOTH {
        let second = page.post(action, String::new()).await;
        let expected = "c[2010,\"Another connection still open\"]\n";
        assert_eq!(second.text().await.unwrap(), expected);
    }
    page.subscribe("a", None).await;
}

#[tokio::test]
async fn no_event_is_lost_or_moved_when_a_page_asks_anew() {
    const EVENTS: usize = 300;
    let server = Server::with("[limits]\noutbox_bytes = 10000000").await;
    for action in BOTH {
        let mut page = Page::connect(&server, action).await;
        page.subscribe("a", None).await;
        let asked = page.asked;
        let padding = "é😀".repeat(1200);
        let trigger = async {
            for number in 0..EVENTS {
                server
                    .trigger("a", "n", &json!({ "n": number, "p": padding }).to_string())
                    .await;
            }
        };
        let listen = async {
            for number in 0..EVENTS {
                assert_eq!(data(&page.event("n").await)["n"], number);
            }
        };
        tokio::join!(trigger, listen);
        assert!(
            page.asked >= asked + EVENTS * 3600 / LENGTH,
            "{}",
            page.asked
        );
    }
}

#[tokio::test]
async fn a_page_that_reads_too_slowly_is_closed_and_told() {
    let server = Server::with("[limits]\noutbox_bytes = 100000").await;
    let mut page = Page::connect(&server, "xhr").await;
    page.subscribe("a", None).await;
    let padding = "x".repeat(10_000);
    for _ in 0..20 {
        server.trigger("a", "n", &padding).await;
    }
    let (code, _) = page.close().await;
    assert_eq!(code, 4100);
}

#[tokio::test]
async fn who_answers_heartbeats_stays_and_who_does_not_is_closed_with_4201() {
    let server = Server::with("[limits]\nactivity_timeout_s = 1\npong_timeout_s = 1").await;
    let mut lively = Page::connect(&server, "xhr_streaming").await;
    lively.subscribe("a", None).await;
    let mut silent = Page::connect(&server, "xhr_streaming").await;
    let silence = async {
        assert_eq!(silent.line().await, "h");
        let told = silent.line().await;
        assert!(told.contains("4201"), "{told}");
        assert_eq!(
            silent.line().await,
            "c[4201,\"Pong reply not received in time\"]"
        );
        server.trigger("a", "late", "1").await;
    };
    tokio::join!(silence, lively.event("late"));
}

#[tokio::test]
async fn shutting_down_sends_pages_away_with_4200() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 1").await;
    let session = {
        let mut page = Page::connect(&server, "xhr_streaming").await;
        (page.response.take(), page.bytes)
    };
    server.begin_shutdown();
    let (mut response, mut bytes) = (session.0.unwrap(), session.1);
    while let Some(chunk) = timeout(DEADLINE, response.chunk()).await.unwrap().unwrap() {
        bytes.extend(chunk);
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.ends_with("c[4200,\"Reconnect immediately\"]\n"),
        "{text}"
    );
    server.ended().await;
}

#[tokio::test]
async fn sessions_are_counted_with_the_connections_and_give_their_place_back() {
    let server = Server::with("[limits]\nmax_connections = 1").await;
    let page = Page::connect(&server, "xhr_streaming").await;
    let mut refused = Client::open(server.address, "/app/app-key", |_| {}).await;
    assert_eq!(refused.close_code().await, Some(4100));
    drop(page);
    loop {
        let mut client = Client::open(server.address, "/app/app-key", |_| {}).await;
        if client.next().await["event"] == "pusher:connection_established" {
            break;
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_call_and_read() {
    let server = Server::start().await;
    let url = server.url("/pusher/app/app-key/1/cors/xhr_streaming");
    let preflight = server
        .http
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send();
    let preflight = preflight.await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(
        preflight.headers()["access-control-allow-headers"],
        "content-type"
    );
    let answer = server
        .http
        .post(&url)
        .header("origin", "https://page.example")
        .send();
    let answer = answer.await.unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://page.example"
    );
}

#[tokio::test]
async fn the_door_can_be_shut() {
    let server = Server::with("[gateways]\nhttp_fallback = false").await;
    let url = server.url("/pusher/app/app-key/1/a/xhr_streaming");
    assert_eq!(server.http.post(url).send().await.unwrap().status(), 404);
}
