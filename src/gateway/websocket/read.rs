//! Reading a connection to its end. It goes through one buffer per thread, so that a connection that says nothing holds
//! none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gema_protocol::code::Code;
use gema_protocol::decoder::{Decoder, Incoming, Violation};
use gema_protocol::frame::Frame;
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};
use tokio::net::tcp::OwnedReadHalf;

use super::{Client, Tls};
use crate::clock;
use crate::hub::{Farewell, Link};

/// What one thread reads into, for all its connections.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Where a connection's bytes come from.
pub(in crate::gateway) enum Source {
    /// The socket that the hub's shard writes to.
    Tcp(Arc<Link>),
    /// The socket that a door's task writes to.
    Half(OwnedReadHalf),
    /// The same, with TLS.
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

/// Opens a connection and reads it from then on; `max` is the longest message, in bytes, `early` what has been read.
pub(in crate::gateway) async fn begin<C: Client>(
    client: impl Future<Output = C> + Send,
    link: Arc<Link>,
    source: Source,
    max: usize,
    early: Bytes,
) {
    // No limit is that large; a message of 4 GiB is too long whatever the limit says.
    let decoder = Decoder::new(u32::try_from(max).unwrap_or(u32::MAX));
    let client = client.await;
    // A task of its own, so that nothing of the way here stays in memory with it.
    tokio::spawn(read_in(client, link, source, decoder, early));
}

/// Reads until the end of the stream; dropping the connection at the end cleans up.
///
/// Written as a block that captures and not as an `async fn`, and with nothing held across the wait: the idle
/// task is 0.6 KiB instead of 1.1.
fn read_in<C: Client>(
    mut client: C,
    link: Arc<Link>,
    mut source: Source,
    mut decoder: Decoder,
    early: Bytes,
) -> impl Future<Output = ()> + Send {
    let early = decode(&mut decoder, &mut Vec::from(early));
    async move {
        // Boxed: a message is rare and its work large, the waiting task is small.
        let mut leaving = Box::pin(heed(&mut client, early)).await;
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
                leaving = Box::pin(heed(&mut client, chunk)).await;
            }
        }
    }
}

/// Does what the messages ask for; true when the connection is to end.
async fn heed(client: &mut impl Client, chunk: Chunk) -> bool {
    for heard in chunk.heard {
        match heard {
            Heard::Text(text) => client.on_text(&text).await,
            Heard::Ping(pong) => client.send(pong).await,
            Heard::Close(close) => {
                let farewell = Farewell { error: None, close };
                client.close(farewell).await;
                return true;
            }
        }
    }
    if let Some(violation) = chunk.violation {
        let close = Frame::close(violation.code().as_u16(), &violation.to_string());
        client.close(Farewell { error: None, close }).await;
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
            Source::Half(read) => poll_read(read, cx, buffer),
            Source::Tls(read) => poll_read(&mut **read, cx, buffer),
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

fn poll_read(
    read: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(read).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}
