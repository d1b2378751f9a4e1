//! Subscribers: cheap connections that shake hands, subscribe to one channel and then only count.
//! Written by hand so that 10,000 of them cost the measuring core less than the server they measure.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    error::BenchError,
    frames::{FrameReader, Opcode, client_frame},
};

/// Connections being set up at the same time; fewer than the backlog of any server.
const AT_ONCE: usize = 64;
/// Loopback source addresses taken in turn, so that rounds of 10,000 do not run out of ports.
const SOURCES: usize = 16;
/// How long one connection may take to be subscribed.
const SETUP: Duration = Duration::from_secs(10);
/// More bytes of an answer to the upgrade than any server sends.
const LONGEST_HEAD: usize = 16 * 1024;
/// One read takes at most this much; more waits in the socket.
const READ_BYTES: usize = 64 * 1024;
/// The first message of every server.
const ESTABLISHED: &str = "pusher:connection_established";

thread_local! {
    /// All subscribers read into the same memory: 10,000 buffers of their own would not fit the cache.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A Pusher-protocol server on this machine and the app to use on it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddrV4,
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl App {
    /// The app that gema serves when it is told of none.
    pub(crate) fn embedded(address: SocketAddrV4) -> Self {
        Self {
            address,
            id: "app-id".to_owned(),
            key: "app-key".to_owned(),
            secret: "app-secret".to_owned(),
        }
    }
}

/// What is being measured.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A server that speaks the Pusher protocol.
    Pusher(App),
    /// The raw send() floor: its subscribers are bare TCP connections.
    Floor(SocketAddrV4),
}

/// One subscribed connection.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) index: usize,
    stream: TcpStream,
    reader: FrameReader,
}

impl Subscriber {
    /// Connects and, on a Pusher server, completes the handshake and the subscription to `channel`.
    async fn open(target: &Target, index: usize, channel: &str) -> Result<Self, BenchError> {
        let (address, app) = match target {
            Target::Pusher(app) => (app.address, Some(app)),
            Target::Floor(address) => (*address, None),
        };
        let stream = connect(address, index)
            .await
            .map_err(BenchError::io("connecting a subscriber"))?;
        let mut subscriber = Self {
            index,
            stream,
            reader: FrameReader::default(),
        };
        if let Some(app) = app {
            if !subscriber.upgrade(app).await? {
                subscriber.wait_for(ESTABLISHED).await?;
            }
            let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": channel}});
            subscriber
                .send(Opcode::Text, subscribe.to_string().as_bytes())
                .await?;
            subscriber
                .wait_for("pusher_internal:subscription_succeeded")
                .await?;
        }
        Ok(subscriber)
    }

    /// Receives until the connection ends, handing every message to `on_message`. Answers pings. Gives the reason.
    pub(crate) async fn receive(mut self, mut on_message: impl FnMut(&[u8])) -> String {
        let mut pings = Vec::new();
        let mut closed = None;
        loop {
            let (stream, reader) = (&mut self.stream, &mut self.reader);
            let read = poll_fn(|cx| {
                poll_frames(stream, reader, cx, |opcode, payload| match opcode {
                    Opcode::Text => on_message(payload),
                    Opcode::Ping => pings.push(client_frame(Opcode::Pong, payload)),
                    Opcode::Close => closed = Some(close_reason(payload)),
                    Opcode::Binary | Opcode::Pong => {}
                })
            });
            match read.await {
                Ok(true) if closed.is_none() => {}
                Ok(_) => return closed.unwrap_or_else(|| "closed without a code".to_owned()),
                Err(error) => return error.to_string(),
            }
            for pong in pings.drain(..) {
                if let Err(error) = self.stream.write_all(&pong).await {
                    return error.to_string();
                }
            }
        }
    }

    /// Whether the server has kept the connection open. Does not wait; drops what has arrived.
    pub(crate) fn is_open(&self) -> bool {
        let mut dropped = [0; 1024];
        loop {
            match self.stream.try_read(&mut dropped) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Becomes a WebSocket. True when the first message came in the same read as the answer.
    async fn upgrade(&mut self, app: &App) -> Result<bool, BenchError> {
        // The key of RFC 6455's own example: nothing here depends on it being random.
        let request = format!(
            "GET /app/{}?protocol=7&client=gema-bench&version=0.1.0 HTTP/1.1\r\nHost: {}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            app.key, app.address
        );
        self.write(request.as_bytes()).await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let read = self
                .stream
                .read_buf(&mut head)
                .await
                .map_err(BenchError::io("reading the answer to the upgrade"))?;
            if read == 0 || head.len() > LONGEST_HEAD {
                return Err(BenchError::Protocol("no answer to the upgrade".to_owned()));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = String::from_utf8_lossy(&head);
            let line = line.lines().next().unwrap_or_default();
            return Err(BenchError::Protocol(format!("upgrade answered: {line}")));
        }
        let mut early = None;
        self.reader
            .feed(&head[end..], |_, payload| {
                early = Some(String::from_utf8_lossy(payload).into_owned());
            })
            .map_err(|e| BenchError::Protocol(e.to_string()))?;
        early.map_or(Ok(false), |text| expect_event(&text, ESTABLISHED))
    }

    /// Reads messages until the named event has come; an error event or a close is an error.
    async fn wait_for(&mut self, event: &str) -> Result<(), BenchError> {
        loop {
            let (stream, reader) = (&mut self.stream, &mut self.reader);
            let mut texts = Vec::new();
            let open = poll_fn(|cx| {
                poll_frames(stream, reader, cx, |opcode, payload| match opcode {
                    Opcode::Text => texts.push(String::from_utf8_lossy(payload).into_owned()),
                    Opcode::Close => texts.push(close_reason(payload)),
                    Opcode::Binary | Opcode::Ping | Opcode::Pong => {}
                })
            })
            .await?;
            for text in &texts {
                if expect_event(text, event)? {
                    return Ok(());
                }
            }
            if !open {
                return Err(BenchError::Protocol(format!("closed before {event}")));
            }
        }
    }

    async fn send(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), BenchError> {
        self.write(&client_frame(opcode, payload)).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(BenchError::io("writing to the server"))
    }
}

/// Opens subscribers 0..count, `AT_ONCE` at a time; `channel` names the channel of each.
/// Gives those that are subscribed in order, and why the others are not.
pub(crate) async fn open_all(
    target: &Target,
    count: usize,
    channel: impl Fn(usize) -> String + 'static,
) -> (Vec<Subscriber>, Vec<BenchError>) {
    let next = Rc::new(Cell::new(0));
    let channel = Rc::new(channel);
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        let (next, channel, target) = (next.clone(), channel.clone(), target.clone());
        workers.spawn_local(async move {
            let (mut opened, mut errors) = (Vec::new(), Vec::new());
            loop {
                let index = next.replace(next.get() + 1);
                if index >= count {
                    return (opened, errors);
                }
                let name = channel(index);
                match timeout(SETUP, Subscriber::open(&target, index, &name)).await {
                    Ok(Ok(subscriber)) => opened.push(subscriber),
                    Ok(Err(error)) => errors.push(error),
                    Err(_) => errors.push(BenchError::Deadline {
                        what: "subscribing",
                        seconds: SETUP.as_secs(),
                    }),
                }
            }
        });
    }
    let (mut all, mut failed) = (Vec::with_capacity(count), Vec::new());
    for (opened, errors) in workers.join_all().await {
        all.extend(opened);
        failed.extend(errors);
    }
    all.sort_unstable_by_key(|subscriber| subscriber.index);
    (all, failed)
}

/// Opens `count` subscribers of one channel; an error when not all of them are subscribed.
pub(crate) async fn subscribe_all(
    target: &Target,
    count: usize,
    channel: &'static str,
) -> Result<Vec<Subscriber>, BenchError> {
    let (subscribers, errors) = open_all(target, count, |_| channel.to_owned()).await;
    match errors.first() {
        None => Ok(subscribers),
        Some(first) => Err(BenchError::Subscribers {
            failed: errors.len(),
            wanted: count,
            first: first.to_string(),
        }),
    }
}

async fn connect(address: SocketAddrV4, index: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let last = u8::try_from(2 + index % SOURCES).unwrap_or(2);
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    socket.bind(SocketAddr::new(source, 0))?;
    let stream = socket.connect(address.into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One read of the socket, split into frames. `Ok(false)` is the end of the stream.
fn poll_frames(
    stream: &mut TcpStream,
    reader: &mut FrameReader,
    cx: &mut Context<'_>,
    on_frame: impl FnMut(Opcode, &[u8]),
) -> Poll<Result<bool, BenchError>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))
            .map_err(BenchError::io("reading from the server"))?;
        let bytes = buffer.filled();
        reader
            .feed(bytes, on_frame)
            .map_err(|e| BenchError::Protocol(e.to_string()))?;
        Poll::Ready(Ok(!bytes.is_empty()))
    })
}

/// Whether a message is the awaited event. Errors of the protocol are errors here.
fn expect_event(text: &str, awaited: &str) -> Result<bool, BenchError> {
    let message: Value = serde_json::from_str(text)
        .map_err(|_| BenchError::Protocol(format!("instead of {awaited} came: {text}")))?;
    match message["event"].as_str() {
        Some("pusher:error" | "pusher_internal:subscription_error") | None => Err(
            BenchError::Protocol(format!("instead of {awaited} came: {text}")),
        ),
        Some(event) => Ok(event == awaited),
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => format!(
            "closed with {} {}",
            u16::from_be_bytes([*high, *low]),
            String::from_utf8_lossy(reason)
        ),
        _ => "closed without a code".to_owned(),
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
    fn a_close_frame_is_told_with_its_code() {
        let mut payload = 4100_u16.to_be_bytes().to_vec();
        payload.extend(b"slow");
        assert_eq!(close_reason(&payload), "closed with 4100 slow");
        assert_eq!(close_reason(&[]), "closed without a code");
    }
}
