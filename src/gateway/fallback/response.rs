//! One receive request: the session writes into a [`Response`], HTTP reads the [`Answer`]. One chunk lies
//! between the two, and it counts as unsent until HTTP takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};

use super::lines::Lines;
use crate::hub::{Farewell, Link};

/// What pusher-js keeps of one response before it aborts it and asks anew, in UTF-16 code units. The response that
/// has passed this is spent: the client leaves as soon as it has read all of it, so what came later would be lost.
pub(super) const LENGTH: usize = 256 * 1024;

/// How a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// `xhr_streaming`: one response, written bit by bit. The client takes its end for a failure.
    Streaming,
    /// `xhr`: ends when something was written; the client asks again.
    Polling,
}

/// The session's side.
#[derive(Debug)]
pub(super) struct Response {
    /// `None` once it has ended.
    chunks: Option<mpsc::Sender<Chunk>>,
    /// Closed when the [`Answer`] has been read to its end or dropped.
    answer: oneshot::Sender<Infallible>,
    manner: Manner,
    /// Room that is left, in UTF-16 code units; `None` when it is spent or has ended.
    room: Option<usize>,
    /// Bytes written.
    bytes: usize,
}

/// The body of an HTTP response.
#[derive(Debug)]
pub struct Answer {
    chunks: mpsc::Receiver<Chunk>,
    /// There until the end is read. Its drop tells the session, which the channel of an ended response cannot.
    alive: Option<oneshot::Receiver<Infallible>>,
}

#[derive(Debug)]
struct Chunk {
    text: Bytes,
    /// Whom to tell that so many bytes are out.
    sent: Option<(Arc<Link>, usize)>,
}

/// A response, and what the client gets of it.
pub(super) fn pair(manner: Manner) -> (Response, Answer) {
    let (sender, chunks) = mpsc::channel(1);
    let (answer, alive) = oneshot::channel();
    let response = Response {
        chunks: Some(sender),
        answer,
        manner,
        room: Some(LENGTH),
        bytes: 0,
    };
    let answer = Answer {
        chunks,
        alive: Some(alive),
    };
    (response, answer)
}

impl Response {
    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    /// UTF-16 code units that may be written before the next line is the last; `None` when it takes no more.
    pub(super) fn room(&self) -> Option<usize> {
        self.room
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Waits until HTTP has taken all that was written. False when the client has gone.
    pub(super) async fn taken(&self) -> bool {
        match &self.chunks {
            Some(chunks) => chunks.reserve().await.is_ok(),
            None => false,
        }
    }

    /// Waits until HTTP has let go of it: its end is written, or the client has left it.
    pub(super) async fn gone(&mut self) {
        self.answer.closed().await;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Writes whole lines of the connection behind `link`. False when there was no place for them.
    pub(super) fn write(&mut self, lines: Lines, link: &Arc<Link>) -> bool {
        let bytes = lines.text.len();
        let chunk = Chunk {
            text: lines.text.into(),
            sent: Some((link.clone(), lines.wire)),
        };
        let chunks = self.chunks.as_ref();
        let written = chunks.is_some_and(|chunks| chunks.try_send(chunk).is_ok());
        if written {
            self.bytes += bytes;
            self.room = self.room.and_then(|room| room.checked_sub(lines.units));
        }
        written
    }

    /// Nothing more is written: the client sees the end after what was.
    pub(super) fn finish(&mut self) {
        (self.chunks, self.room) = (None, None);
    }

    /// Says why this client cannot stay, in an order that it understands, and ends.
    pub(super) fn refuse(self, farewell: &Farewell) {
        let mut lines = Lines::default();
        lines.open();
        let frames = farewell.error.iter().chain([&farewell.close]);
        lines.fill(&mut frames.cloned().collect(), LENGTH);
        self.end(lines);
    }

    /// The session has a receive request already. Code and text are those of SockJS.
    pub(super) fn refuse_second(self) {
        let mut lines = Lines::default();
        lines.close(2010, "Another connection still open");
        self.end(lines);
    }

    fn end(self, lines: Lines) {
        let chunk = Chunk {
            text: lines.text.into(),
            sent: None,
        };
        if let Some(chunks) = &self.chunks {
            // Fails only when the client has gone, who need not be told then.
            drop(chunks.try_send(chunk));
        }
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(cx).map(|chunk| {
            let Some(chunk) = chunk else {
                self.alive = None;
                return None;
            };
            if let Some((link, bytes)) = chunk.sent {
                link.wrote(bytes);
            }
            Some(Ok(chunk.text))
        })
    }
}
