//! Bytes in and out of a WebSocket. Reading goes through one buffer per thread, so that a connection that
//! says nothing holds none. Plain TCP is written by the hub's shard; TLS has a writing task of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gema_protocol::code::Code;
use gema_protocol::decoder::{Decoder, Incoming, Violation};
use gema_protocol::frame::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Gateway;
use super::connection::Connection;
use super::handshake::{Accepted, Handshake};
use crate::clock;
use crate::hub::{Drained, Farewell, Link};

/// What one thread reads into, for all its connections.
const SCRATCH: usize = 16 * 1024;

/// Bytes of small frames gathered into one TLS record.
const RECORD: usize = 16 * 1024;

/// How long a refused client may take to read why.
const REFUSAL: Duration = Duration::from_secs(5);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

type Tls = TlsStream<TcpStream>;

/// Serves one upgraded connection to its end.
pub async fn serve(gateway: Arc<Gateway>, handshake: Handshake, upgraded: Upgraded) {
    let accepted = match handshake.decide(&gateway).await {
        Ok(accepted) => accepted,
        Err(farewell) => return refuse(upgraded, &farewell).await,
    };
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            let_the_hub_decide(&stream);
            let link = Arc::new(Link::tcp(stream));
            let source = Source::Tcp(link.clone());
            tokio::spawn(begin(gateway, accepted, link, source, parts.read_buf));
            return;
        }
        Err(upgraded) => upgraded,
    };
    if let Ok(parts) = upgraded.downcast::<TokioIo<Tls>>() {
        let stream = parts.io.into_inner();
        let_the_hub_decide(stream.get_ref().0);
        let (read, write) = tokio::io::split(stream);
        let link = Arc::new(Link::door());
        tokio::spawn(write_out(link.clone(), write));
        let source = Source::Tls(Box::new(read));
        tokio::spawn(begin(gateway, accepted, link, source, parts.read_buf));
    }
}

/// Takes off the time limit that HTTP answers have for being read.
fn let_the_hub_decide(stream: &TcpStream) {
    // Fails only on a socket that is gone already.
    drop(SockRef::from(stream).set_tcp_user_timeout(None));
}

/// Tells a client why it cannot stay, and waits until it has gone.
async fn refuse(upgraded: Upgraded, farewell: &Farewell) {
    let mut stream = TokioIo::new(upgraded);
    let told = async {
        for frame in farewell.error.iter().chain([&farewell.close]) {
            stream.write_all(frame.bytes()).await?;
        }
        stream.shutdown().await?;
        // What it still sends is read, or the kernel would reset the connection under the farewell.
        let mut rest = [0; 256];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Gone, or too slow to be told: either way this is its end.
    drop(timeout(REFUSAL, told).await);
}

/// Where a connection's bytes come from.
enum Source {
    Tcp(Arc<Link>),
    Tls(Box<ReadHalf<Tls>>),
}

/// What a chunk of bytes held.
#[derive(Default)]
struct Chunk {
    heard: Vec<Heard>,
    /// It ends with something that no connection survives.
    violation: Option<Violation>,
}

enum Heard {
    Text(String),
    /// To be answered with this pong.
    Ping(Frame),
    /// To be answered with this close frame.
    Close(Frame),
}

async fn begin(
    gateway: Arc<Gateway>,
    accepted: Accepted,
    link: Arc<Link>,
    source: Source,
    early: Bytes,
) {
    // No limit is that large; a message of 4 GiB is too long whatever the limit says.
    let decoder = Decoder::new(u32::try_from(gateway.message_bytes).unwrap_or(u32::MAX));
    let connection = Connection::open(gateway, accepted, link.clone()).await;
    // A task of its own, so that nothing of the way here stays in memory with it.
    tokio::spawn(read_in(connection, link, source, decoder, early));
}

/// Reads until the end of the stream; dropping the connection at the end cleans up.
///
/// Written as a block that captures and not as an `async fn`, and with nothing held across the wait: the idle
/// task is 0.6 KiB instead of 1.1.
fn read_in(
    mut connection: Connection,
    link: Arc<Link>,
    mut source: Source,
    mut decoder: Decoder,
    early: Bytes,
) -> impl Future<Output = ()> + Send {
    let early = decode(&mut decoder, &mut Vec::from(early));
    async move {
        // Boxed: a message is rare and its work large, the waiting task is small.
        let mut leaving = Box::pin(heed(&mut connection, early)).await;
        loop {
            let chunk = tokio::select! {
                chunk = poll_fn(|cx| source.poll_chunk(cx, &mut decoder, leaving)) => chunk,
                () = link.severed() => break,
            };
            let Ok(Some(chunk)) = chunk else {
                break;
            };
            link.heard(clock::now_ms());
            // Once the hub has said farewell, nothing counts any more but the end of the stream.
            leaving = leaving || link.is_closing();
            if !leaving {
                leaving = Box::pin(heed(&mut connection, chunk)).await;
            }
        }
    }
}

/// Does what the messages ask for; true when the connection is to end.
async fn heed(connection: &mut Connection, chunk: Chunk) -> bool {
    for heard in chunk.heard {
        match heard {
            Heard::Text(text) => connection.on_text(&text).await,
            Heard::Ping(pong) => connection.send(pong).await,
            Heard::Close(close) => {
                let farewell = Farewell { error: None, close };
                connection.close(farewell).await;
                return true;
            }
        }
    }
    if let Some(violation) = chunk.violation {
        let close = Frame::close(violation.code().as_u16(), &violation.to_string());
        connection.close(Farewell { error: None, close }).await;
        return true;
    }
    false
}

fn decode(decoder: &mut Decoder, bytes: &mut [u8]) -> Chunk {
    let mut heard = Vec::new();
    let fed = decoder.feed(bytes, |incoming| {
        match incoming {
            Incoming::Text(text) => heard.push(Heard::Text(text.into_owned())),
            Incoming::Ping(payload) => heard.push(Heard::Ping(Frame::pong(payload))),
            Incoming::Pong => {}
            Incoming::Close(code) => {
                let code = code.unwrap_or(Code::Normal.as_u16());
                heard.push(Heard::Close(Frame::close(code, "")));
                return false;
            }
        }
        true
    });
    Chunk {
        heard,
        violation: fed.err(),
    }
}

impl Source {
    /// The next bytes, decoded; `None` at the end of the stream. With `discard` they are only read away.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut Decoder,
        discard: bool,
    ) -> Poll<io::Result<Option<Chunk>>> {
        BUFFER.with_borrow_mut(|buffer| {
            let read = ready!(self.poll_read(cx, buffer))?;
            Poll::Ready(Ok(match read {
                0 => None,
                _ if discard => Some(Chunk::default()),
                read => Some(decode(decoder, &mut buffer[..read])),
            }))
        })
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Source::Tls(read) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(read).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
            Source::Tcp(link) => {
                let Some(stream) = link.stream() else {
                    return Poll::Ready(Ok(0));
                };
                loop {
                    ready!(stream.poll_read_ready(cx))?;
                    match stream.try_read(buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result),
                    }
                }
            }
        }
    }
}

/// Writes what the hub has for a TLS connection.
async fn write_out(link: Arc<Link>, mut stream: WriteHalf<Tls>) {
    let written = async {
        loop {
            match link.drain().await {
                Drained::Frames(frames) => write_frames(&link, &mut stream, frames).await?,
                Drained::Finished => return stream.shutdown().await,
                Drained::Severed => return Ok(()),
            }
        }
    };
    let result = tokio::select! {
        result = Box::pin(written) => result,
        () = link.severed() => Ok(()),
    };
    if result.is_err() {
        link.sever();
    }
}

async fn write_frames(
    link: &Link,
    stream: &mut WriteHalf<Tls>,
    frames: Vec<Frame>,
) -> io::Result<()> {
    let mut record = Vec::new();
    let mut frames = frames.iter().peekable();
    while let Some(frame) = frames.next() {
        record.extend_from_slice(frame.bytes());
        if record.len() >= RECORD || frames.peek().is_none() {
            stream.write_all(&record).await?;
            link.wrote(record.len());
            record.clear();
        }
    }
    stream.flush().await
}
