//! Bytes in and out of a WebSocket. Reading goes through one buffer per thread, so that a connection that
//! says nothing holds none. Plain TCP is written by the hub's shard; TLS has a writing task of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gema_protocol::frame::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Gateway;
use super::connection::Connection;
use super::handshake::{Accepted, Handshake};
use crate::clock;
use crate::gateway::decoder::{Decoder, Incoming, Violation};
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
    // The tasks are spawned afresh, so that nothing of the upgrade stays in memory with them.
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let link = Arc::new(Link::tcp(parts.io.into_inner()));
            let source = Source::Tcp(link.clone());
            tokio::spawn(begin(
                gateway,
                accepted,
                link,
                source,
                parts.read_buf.into(),
            ));
            return;
        }
        Err(upgraded) => upgraded,
    };
    if let Ok(parts) = upgraded.downcast::<TokioIo<Tls>>() {
        let (read, write) = tokio::io::split(parts.io.into_inner());
        let link = Arc::new(Link::door());
        tokio::spawn(write_out(link.clone(), write));
        let source = Source::Tls(Box::new(read));
        tokio::spawn(begin(
            gateway,
            accepted,
            link,
            source,
            parts.read_buf.into(),
        ));
    }
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
    texts: Vec<Incoming>,
    /// Frames to send back, already encoded.
    replies: Vec<u8>,
    violation: Option<Violation>,
}

async fn begin(
    gateway: Arc<Gateway>,
    accepted: Accepted,
    link: Arc<Link>,
    source: Source,
    early: Vec<u8>,
) {
    let decoder = Decoder::new(gateway.message_bytes);
    let connection = Box::pin(Connection::open(gateway, accepted, link.clone())).await;
    read_in(connection, link, source, decoder, early).await;
}

/// Reads until the end of the stream; dropping the connection at the end cleans up.
async fn read_in(
    mut connection: Connection,
    link: Arc<Link>,
    mut source: Source,
    mut decoder: Decoder,
    early: Vec<u8>,
) {
    let mut leaving = false;
    let mut chunk = decode(&mut decoder, &early);
    drop(early);
    loop {
        if !leaving {
            // Boxed: a message is rare and its work large, the waiting task is small.
            leaving = Box::pin(heed(&mut connection, chunk)).await;
        }
        let read = poll_fn(|cx| source.poll_chunk(cx, &mut decoder, leaving));
        chunk = tokio::select! {
            chunk = read => match chunk {
                Ok(Some(chunk)) => chunk,
                Ok(None) | Err(_) => break,
            },
            () = link.severed() => break,
        };
        link.heard(clock::now_ms());
    }
    link.sever();
}

/// Does what the messages ask for; true when the connection is to end.
async fn heed(connection: &mut Connection, chunk: Chunk) -> bool {
    let mut closing = false;
    for incoming in chunk.texts {
        match incoming {
            Incoming::Text(text) => connection.on_text(&text).await,
            Incoming::Control => {}
            Incoming::Closing => closing = true,
        }
    }
    if closing {
        let farewell = Farewell {
            error: None,
            close: Frame::raw(chunk.replies),
        };
        connection.close(farewell).await;
        return true;
    }
    if !chunk.replies.is_empty() {
        connection.send(Frame::raw(chunk.replies)).await;
    }
    if let Some(violation) = chunk.violation {
        let close = Frame::close(violation.code.as_u16(), &violation.text);
        connection.close(Farewell { error: None, close }).await;
        return true;
    }
    false
}

fn decode(decoder: &mut Decoder, mut bytes: &[u8]) -> Chunk {
    let mut chunk = Chunk::default();
    loop {
        match decoder.next(&mut bytes, &mut chunk.replies) {
            Ok(None) => return chunk,
            Ok(Some(Incoming::Control)) => {}
            Ok(Some(incoming)) => {
                let last = matches!(incoming, Incoming::Closing);
                chunk.texts.push(incoming);
                if last {
                    return chunk;
                }
            }
            Err(violation) => {
                chunk.violation = Some(violation);
                return chunk;
            }
        }
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
                read => Some(decode(decoder, &buffer[..read])),
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
