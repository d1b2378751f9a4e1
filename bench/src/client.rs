//! Clients: cheap connections that shake hands, subscribe and then mostly count.
//! Written by hand so that 10,000 of them cost the measuring core less than the server they measure.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::ErrorKind,
    rc::Rc,
    task::{Context, Poll, ready},
};

use gema_protocol::auth;
use serde_json::{Value, json};

use crate::{
    doors::Door,
    ended::Ended,
    error::BenchError,
    frames::{FrameReader, Opcode, client_frame},
    target::{App, Target},
    tls::Tls,
    wire::Wire,
};

/// More bytes of an answer to the upgrade than any server sends.
const LONGEST_HEAD: usize = 16 * 1024;
/// One read takes at most this much; more waits in the socket.
const READ_BYTES: usize = 64 * 1024;
/// The first message of every server.
const ESTABLISHED: &str = "pusher:connection_established";
const SUBSCRIBED: &str = "pusher_internal:subscription_succeeded";

thread_local! {
    /// All clients of a thread read into the same memory: 10,000 buffers of their own would not fit the cache.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) index: usize,
    wire: Rc<Wire>,
    reader: FrameReader,
}

impl Client {
    /// Connects and, on a Pusher server, completes the handshake and the subscriptions to `channels`. By another door it
    /// comes in as the user of that number, and is in the channels that the server has for it.
    pub(crate) async fn open(
        target: &Target,
        index: usize,
        channels: &[String],
    ) -> Result<Self, BenchError> {
        match target {
            Target::Pusher(app) if app.door == Door::Pusher => {
                let (mut client, socket) = Self::connect(app, index, None).await?;
                client.subscribe(app, &socket, channels).await?;
                Ok(client)
            }
            Target::Pusher(app) => {
                let mut client = Self::bare(app, index, None).await?;
                app.door.enter(&mut client, app).await?;
                Ok(client)
            }
            Target::Floor(address) => Self::raw(*address, None, index, None).await,
        }
    }

    /// Connects and asks for nothing. `receive_buffer` as in [`connect`](crate::target::connect).
    pub(crate) async fn bare(
        app: &App,
        index: usize,
        receive_buffer: Option<u32>,
    ) -> Result<Self, BenchError> {
        Self::raw(app.address, app.tls.as_ref(), index, receive_buffer).await
    }

    async fn raw(
        address: std::net::SocketAddrV4,
        tls: Option<&Tls>,
        index: usize,
        receive_buffer: Option<u32>,
    ) -> Result<Self, BenchError> {
        let wire = Wire::open(address, tls, index, receive_buffer)
            .await
            .map_err(BenchError::io("connecting a client"))?;
        Ok(Self {
            index,
            wire: Rc::new(wire),
            reader: FrameReader::default(),
        })
    }

    /// Connects to a Pusher server and gives the client with its socket id. `receive_buffer` as in
    /// [`connect`](crate::target::connect).
    pub(crate) async fn connect(
        app: &App,
        index: usize,
        receive_buffer: Option<u32>,
    ) -> Result<(Self, String), BenchError> {
        let mut client = Self::bare(app, index, receive_buffer).await?;
        let path = format!(
            "/app/{}?protocol=7&client=gema-bench&version=0.1.0",
            app.key
        );
        let mut early = client.upgrade(app, &path).await?;
        let first = match early.pop() {
            Some(text) if expect_event(&text, ESTABLISHED)? => text,
            _ => client.wait_for(ESTABLISHED, 1).await?,
        };
        let data: Value = serde_json::from_str::<Value>(&first)
            .ok()
            .and_then(|message| serde_json::from_str(message["data"].as_str()?).ok())
            .unwrap_or_default();
        let socket = data["socket_id"].as_str().unwrap_or_default().to_owned();
        Ok((client, socket))
    }

    /// Subscribes to all the channels and waits until each is acknowledged. Other messages that come meanwhile are
    /// dropped.
    pub(crate) async fn subscribe(
        &mut self,
        app: &App,
        socket: &str,
        channels: &[String],
    ) -> Result<(), BenchError> {
        for channel in channels {
            self.send(&subscription(app, socket, channel, None)).await?;
        }
        self.wait_for(SUBSCRIBED, channels.len()).await?;
        Ok(())
    }

    /// Receives until the connection ends, handing every message to `on_message`. Answers pings.
    pub(crate) async fn receive(mut self, mut on_message: impl FnMut(&[u8])) -> Ended {
        let mut pings = Vec::new();
        let mut closed = None;
        loop {
            let (wire, reader) = (&self.wire, &mut self.reader);
            let read = poll_fn(|cx| {
                poll_frames(wire, reader, cx, |opcode, payload| match opcode {
                    Opcode::Text => on_message(payload),
                    Opcode::Ping => pings.push(client_frame(Opcode::Pong, payload)),
                    Opcode::Close => closed = Some(Ended::by_frame(payload)),
                    Opcode::Binary | Opcode::Pong => {}
                })
            });
            match read.await {
                Ok(true) if closed.is_none() => {}
                Ok(_) => return closed.unwrap_or_else(Ended::without_code),
                // What is told before a reset is told.
                Err(error) => return closed.unwrap_or_else(|| Ended::with(error.to_string())),
            }
            for pong in pings.drain(..) {
                if let Err(error) = whole(&self.wire, &pong) {
                    return Ended::with(error.to_string());
                }
            }
        }
    }

    /// Reads messages until `count` of the named event have come, and gives the last; an error event or a close is an
    /// error.
    pub(crate) async fn wait_for(
        &mut self,
        event: &str,
        count: usize,
    ) -> Result<String, BenchError> {
        self.wait_until(event, count, |text| expect_event(text, event))
            .await
    }

    /// Reads messages until `count` of them are of the awaited kind, which `what` names, and gives the last.
    pub(crate) async fn wait_until(
        &mut self,
        what: &str,
        count: usize,
        is_it: impl Fn(&str) -> Result<bool, BenchError>,
    ) -> Result<String, BenchError> {
        let mut left = count;
        let mut last = String::new();
        while left > 0 {
            let (wire, reader) = (&self.wire, &mut self.reader);
            let mut texts = Vec::new();
            let open = poll_fn(|cx| {
                poll_frames(wire, reader, cx, |opcode, payload| match opcode {
                    Opcode::Text => texts.push(String::from_utf8_lossy(payload).into_owned()),
                    Opcode::Close => texts.push(Ended::by_frame(payload).to_string()),
                    Opcode::Binary | Opcode::Ping | Opcode::Pong => {}
                })
            })
            .await?;
            for text in texts {
                if left > 0 && is_it(&text)? {
                    left -= 1;
                    last = text;
                }
            }
            if !open && left > 0 {
                return Err(BenchError::Protocol(format!("closed before {what}")));
            }
        }
        Ok(last)
    }

    /// Sends one message, however long that takes.
    pub(crate) async fn send(&self, message: &str) -> Result<(), BenchError> {
        self.write(&client_frame(Opcode::Text, message.as_bytes()))
            .await
    }

    /// What sends on this connection while it receives.
    pub(crate) fn sender(&self) -> Sender {
        Sender(self.wire.clone())
    }

    /// Whether the server has kept the connection open. Does not wait; drops what has arrived.
    pub(crate) fn is_open(&self) -> bool {
        let mut dropped = [0; 1024];
        loop {
            match self.wire.try_read(&mut dropped) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// The bare socket, which nothing wakes any more: for who counts bytes and not messages.
    pub(crate) fn into_socket(self) -> Result<std::net::TcpStream, BenchError> {
        let io = BenchError::io("taking a client's socket");
        match Rc::try_unwrap(self.wire) {
            Ok(wire) => wire.into_socket().map_err(io),
            Err(_) => Err(io(ErrorKind::ResourceBusy.into())),
        }
    }

    /// Becomes a WebSocket. Gives the messages that came in the same read as the answer.
    pub(crate) async fn upgrade(
        &mut self,
        app: &App,
        path: &str,
    ) -> Result<Vec<String>, BenchError> {
        // The key of RFC 6455's own example: nothing here depends on it being random.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            app.address
        );
        self.write(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let io = BenchError::io("reading the answer to the upgrade");
            let read = self.wire.read_some(&mut head).await.map_err(io)?;
            if read == 0 || head.len() > LONGEST_HEAD {
                return Err(BenchError::Protocol("no answer to the upgrade".to_owned()));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = String::from_utf8_lossy(&head);
            let line = line.lines().next().unwrap_or_default();
            return Err(BenchError::Protocol(format!("upgrade answered: {line}")));
        }
        let mut early = Vec::new();
        self.reader
            .feed(&head[end..], |_, payload| {
                early.push(String::from_utf8_lossy(payload).into_owned());
            })
            .map_err(|e| BenchError::Protocol(e.to_string()))?;
        Ok(early)
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), BenchError> {
        let io = BenchError::io("writing to the server");
        self.wire.write_all(bytes).await.map_err(io)
    }
}

/// Sends on a connection that another task receives on.
#[derive(Clone, Debug)]
pub(crate) struct Sender(Rc<Wire>);

impl Sender {
    /// Sends a message now; an error when the socket does not take it whole, because the server does not read.
    pub(crate) fn send(&self, message: &str) -> Result<(), BenchError> {
        whole(&self.0, &client_frame(Opcode::Text, message.as_bytes()))
    }
}

/// All or nothing, so that frames of two tasks never mix.
fn whole(wire: &Wire, frame: &[u8]) -> Result<(), BenchError> {
    let io = BenchError::io("sending a frame at once");
    match wire.try_write(frame) {
        Ok(count) if count == frame.len() => Ok(()),
        Ok(_) => Err(io(ErrorKind::WriteZero.into())),
        Err(error) => Err(io(error)),
    }
}

/// The message that subscribes to `channel`, signed where its name asks for that. `member` is the `channel_data` of a
/// presence channel.
pub(crate) fn subscription(app: &App, socket: &str, channel: &str, member: Option<&str>) -> String {
    let mut data = json!({"channel": channel});
    if channel.starts_with("private-") || channel.starts_with("presence-") {
        let signature = auth::sign_channel(&app.key, &app.secret, socket, channel, member);
        data["auth"] = json!(signature);
    }
    if let Some(member) = member {
        data["channel_data"] = json!(member);
    }
    json!({"event": "pusher:subscribe", "data": data}).to_string()
}

/// One read of the socket, split into frames. `Ok(false)` is the end of the stream.
fn poll_frames(
    wire: &Wire,
    reader: &mut FrameReader,
    cx: &mut Context<'_>,
    mut on_frame: impl FnMut(Opcode, &[u8]),
) -> Poll<Result<bool, BenchError>> {
    let io = || BenchError::io("reading from the server");
    SCRATCH.with_borrow_mut(|scratch| {
        loop {
            ready!(wire.poll_read_ready(cx)).map_err(io())?;
            let count = match wire.try_read(scratch) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(io()(error))),
            };
            reader
                .feed(&scratch[..count], &mut on_frame)
                .map_err(|e| BenchError::Protocol(e.to_string()))?;
            return Poll::Ready(Ok(count > 0));
        }
    })
}

/// Whether a message is the awaited event. Errors of the protocol are errors here.
fn expect_event(text: &str, awaited: &str) -> Result<bool, BenchError> {
    let message: Value = serde_json::from_str(text)
        .map_err(|_| BenchError::Protocol(format!("instead of {awaited} came: {text}")))?;
    match message["event"].as_str() {
        Some(
            "pusher:error" | "pusher_internal:subscription_error" | "pusher:subscription_error",
        )
        | None => Err(BenchError::Protocol(format!(
            "instead of {awaited} came: {text}"
        ))),
        Some(event) => Ok(event == awaited),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_awaited_event_is_told_from_others_and_from_errors() {
        let established = r#"{"event":"pusher:connection_established","data":"{}"}"#;
        let awaited = "pusher:connection_established";
        assert!(expect_event(established, awaited).unwrap());
        assert!(!expect_event(r#"{"event":"other"}"#, awaited).unwrap());
        for bad in [
            r#"{"event":"pusher:error","data":{"code":4001}}"#,
            "{}",
            "?",
        ] {
            assert!(expect_event(bad, awaited).is_err(), "{bad}");
        }
    }

    #[test]
    fn private_and_presence_channels_are_signed_and_public_ones_are_not() {
        let app = App::embedded("127.0.0.1:1".parse().unwrap());
        let data = |channel: &str, member| -> Value {
            let message = subscription(&app, "1.2", channel, member);
            serde_json::from_str::<Value>(&message).unwrap()["data"].clone()
        };
        assert_eq!(data("news", None), json!({"channel": "news"}));
        assert!(data("private-a", None)["auth"].is_string());
        let member = r#"{"user_id":"7"}"#;
        let presence = data("presence-a", Some(member));
        assert_eq!(presence["channel_data"], member);
        assert_ne!(presence["auth"], data("presence-a", None)["auth"]);
    }
}
