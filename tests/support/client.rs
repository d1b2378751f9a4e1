//! WebSocket clients: one that speaks JSON, and one that sends any bytes it likes.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::DEADLINE;
use super::http::Api;

/// A well-behaved client: it answers pings by itself, as browsers do, whenever it is reading.
pub struct Client {
    pub socket_id: String,
    stream: WebSocketStream<TcpStream>,
}

impl Client {
    /// Connects and takes the greeting.
    pub async fn connect(address: SocketAddr, path: &str) -> Client {
        let mut client = Client::open(address, path, |_| {}).await;
        let hello = client.event("pusher:connection_established").await;
        client.socket_id = text_of(&data(&hello)["socket_id"]);
        client
    }

    /// Connects and takes nothing; `change` may add headers.
    pub async fn open(
        address: SocketAddr,
        path: &str,
        change: impl FnOnce(&mut Request),
    ) -> Client {
        let mut request = format!("ws://{address}{path}")
            .into_client_request()
            .expect("a request");
        change(&mut request);
        let tcp = TcpStream::connect(address).await.expect("connected");
        let (stream, _) = tokio_tungstenite::client_async(request, tcp)
            .await
            .expect("upgraded");
        Client {
            socket_id: String::new(),
            stream,
        }
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        let sent = self.stream.send(Message::text(text.to_owned())).await;
        sent.expect("sent");
    }

    /// The next event of any kind.
    pub async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(value) => value,
            Err(code) => panic!("closed with {code:?} where an event was due"),
        }
    }

    /// The next event, which must have this name.
    pub async fn event(&mut self, name: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["event"], name, "{event}");
        event
    }

    /// Reads on to the close frame and gives its code; `None` when the stream ends without one.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.next_or_close().await {
                return code;
            }
        }
    }

    pub async fn next_or_close(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let message = timeout(DEADLINE, self.stream.next()).await;
            match message.expect("something within the deadline") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Subscribes to a channel without authorization and waits for the answer.
    pub async fn subscribe(&mut self, channel: &str) {
        let data = json!({ "channel": channel, "auth": "" });
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
        let answer = self.event("pusher_internal:subscription_succeeded").await;
        assert_eq!(answer["channel"], channel);
    }

    /// Subscribes with the default app's signature; gives the answer, whatever it is.
    pub async fn subscribe_signed(&mut self, channel: &str, channel_data: Option<&Value>) -> Value {
        self.ask_to_subscribe(channel, channel_data).await;
        self.next().await
    }

    /// Subscribes with the default app's signature; the answer is still to come.
    pub async fn ask_to_subscribe(&mut self, channel: &str, channel_data: Option<&Value>) {
        let channel_data = channel_data.map(Value::to_string);
        let auth = gema_protocol::auth::sign_channel(
            "app-key",
            "app-secret",
            &self.socket_id,
            channel,
            channel_data.as_deref(),
        );
        let data = json!({ "channel": channel, "auth": auth, "channel_data": channel_data });
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
    }

    /// Joins a presence channel as this user.
    pub async fn join(&mut self, channel: &str, user_id: &str) -> Value {
        let member =
            json!({ "user_id": user_id, "user_info": { "name": format!("User {user_id}") } });
        let answer = self.subscribe_signed(channel, Some(&member)).await;
        assert_eq!(
            answer["event"], "pusher_internal:subscription_succeeded",
            "{answer}"
        );
        data(&answer)
    }

    /// Signs in with the default app's signature; gives the answer, whatever it is.
    pub async fn sign_in(&mut self, user_data: &Value) -> Value {
        let user_data = user_data.to_string();
        let socket = &self.socket_id;
        let auth = gema_protocol::auth::sign_user("app-key", "app-secret", socket, &user_data);
        let data = json!({ "auth": auth, "user_data": user_data });
        self.send(json!({ "event": "pusher:signin", "data": data }))
            .await;
        self.next().await
    }

    /// Proves that nothing was due before: the answer to a ping is the next event.
    pub async fn nothing_before_pong(&mut self) {
        self.send(json!({ "event": "pusher:ping", "data": {} }))
            .await;
        self.event("pusher:pong").await;
    }

    /// Ends the TCP connection without a word.
    pub fn vanish(self) {
        drop(self.stream);
    }

    /// The closing handshake, begun by the client.
    pub async fn close(mut self) {
        self.stream.close(None).await.expect("closed");
        while timeout(DEADLINE, self.stream.next())
            .await
            .expect("an end")
            .is_some()
        {}
    }
}

/// A client that has signed in with the default app's signature, to watch these users.
pub async fn signed_in(server: &Api, id: &str, watchlist: &[&str]) -> Client {
    let mut client = server.client().await;
    let user = json!({ "id": id, "watchlist": watchlist });
    let answer = client.sign_in(&user).await;
    assert_eq!(answer["event"], "pusher:signin_success", "{answer}");
    client
}

/// The events about watched users, which must be next.
pub async fn watched(client: &mut Client) -> Value {
    let event = client.event("pusher_internal:watchlist_events").await;
    assert!(event.get("channel").is_none());
    data(&event)["events"].clone()
}

/// The data of an event: JSON in a string, or as it is.
pub fn data(event: &Value) -> Value {
    match &event["data"] {
        Value::String(text) => serde_json::from_str(text).expect("data holds JSON"),
        other => other.clone(),
    }
}

pub fn text_of(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// A client that sends any bytes it likes.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    /// Upgrades by hand; what the server sends after its 101 stays unread.
    pub async fn upgrade(address: SocketAddr, path: &str) -> Raw {
        let mut raw = Raw::connect(address).await;
        raw.write(Raw::upgrade_request(path).as_bytes()).await;
        let answer = raw.through("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        raw
    }

    /// One that is subscribed to a public channel, and reads no further than its acknowledgement.
    pub async fn subscribed(address: SocketAddr, channel: &str) -> Raw {
        let mut raw = Raw::upgrade(address, "/app/app-key").await;
        let data = json!({ "channel": channel });
        let message = json!({ "event": "pusher:subscribe", "data": data }).to_string();
        raw.write(&Raw::frame(0x81, message.as_bytes())).await;
        raw.through("subscription_succeeded").await;
        raw
    }

    pub fn upgrade_request(path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> String {
        self.through("\r\n").await.trim_end().to_owned()
    }

    /// What comes up to this text and with it, and not a byte more.
    pub async fn through(&mut self, text: &str) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while !bytes.ends_with(text.as_bytes()) {
                bytes.push(self.stream.read_u8().await.expect("bytes"));
            }
        };
        let read = timeout(DEADLINE, reading).await;
        read.unwrap_or_else(|_| panic!("not within the deadline: {text:?}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.expect("connected");
        Raw { stream }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(DEADLINE, self.stream.read_to_end(&mut rest)).await;
        // A reset is an end too; what came before it counts.
        drop(read.expect("an end within the deadline"));
        rest
    }

    /// One masked frame: the first byte as given, then length, mask and payload.
    pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            medium @ 126..65536 => {
                frame.push(0x80 | 126);
                frame.extend((medium as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        frame
    }
}
