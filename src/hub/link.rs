//! What a shard and a connection's own task share: the socket, and when it was last heard.
//! A plain TCP socket is written by the shard itself. Any other door (TLS) drains a queue in its own task.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gema_protocol::frame::Frame;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::clock;

/// One connection's wire; shared by `Arc` between its shard and its own task.
#[derive(Debug)]
pub struct Link {
    /// When the peer was last heard, in [`clock::now_ms`] time.
    heard_ms: AtomicU64,
    /// The farewell is in the outbox: what the peer still sends is of no interest.
    closing: AtomicBool,
    origin: OnceLock<Origin>,
    /// Whose it is, once that is known; the text is the sign-in's own.
    user: Mutex<Option<Arc<str>>>,
    pub(super) wire: Wire,
}

/// Where a connection came from, for those who look at the server: the engine does not go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The app's number.
    pub app: u32,
    /// The client's address, behind trusted proxies.
    pub client: IpAddr,
    /// The number of its gateway.
    pub gateway: u8,
    /// When it was let in, in seconds of [`clock::now_ms`] time.
    pub since_s: u32,
}

#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    /// In a box: it is three times the size of a socket, and most connections have none.
    Door(Box<Door>),
}

/// The queue between a shard and a task that writes for it.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Bounded by `limits.outbox_bytes`: the shard counts [`Door::pending`] as unsent.
    queue: Mutex<Queue>,
    pending: AtomicUsize,
    wake: Notify,
    gone: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// No frame comes after those in the queue.
    Finished,
    /// What is in the queue is not wanted either.
    Severed,
}

/// What a door's task is to do next.
#[derive(Debug)]
pub enum Drained {
    /// Write these, in order; then report with [`Link::wrote`].
    Frames(Vec<Frame>),
    /// Nothing comes any more: end the stream in the transport's own way, keep reading to the peer's end.
    Finished,
    /// Drop the connection now.
    Severed,
}

impl Link {
    /// A plain TCP connection, written by its shard.
    pub fn tcp(stream: TcpStream) -> Link {
        Link::new(Wire::Tcp(stream))
    }

    /// A connection whose own task writes what [`Link::drain`] gives.
    pub fn door() -> Link {
        Link::new(Wire::Door(Box::default()))
    }

    fn new(wire: Wire) -> Link {
        Link {
            heard_ms: AtomicU64::new(clock::now_ms()),
            closing: AtomicBool::new(false),
            origin: OnceLock::new(),
            user: Mutex::default(),
            wire,
        }
    }

    /// The TCP stream, for reading only; `None` for a door.
    pub fn stream(&self) -> Option<&TcpStream> {
        match &self.wire {
            Wire::Tcp(stream) => Some(stream),
            Wire::Door(_) => None,
        }
    }

    /// Says where the connection came from, once.
    pub fn comes_from(&self, origin: Origin) {
        self.origin.get_or_init(|| origin);
    }

    /// Where the connection came from; `None` before it has been let in.
    pub fn origin(&self) -> Option<Origin> {
        self.origin.get().copied()
    }

    /// Says whose the connection is.
    pub fn belongs_to(&self, user: Arc<str>) {
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) = Some(user);
    }

    /// Whose the connection is, if that is known.
    pub fn user(&self) -> Option<Arc<str>> {
        let user = self.user.lock();
        user.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the peer has sent something.
    pub fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether the hub has said farewell to the peer.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(super) fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    /// For a door's task: waits until there is something to write or to end. Never ends for plain TCP.
    /// Cancel safe: what is taken is returned at once.
    pub async fn drain(&self) -> Drained {
        let Wire::Door(door) = &self.wire else {
            return std::future::pending().await;
        };
        loop {
            {
                let mut queue = door.lock();
                if queue.end == End::Severed {
                    return Drained::Severed;
                }
                if !queue.frames.is_empty() {
                    return Drained::Frames(std::mem::take(&mut queue.frames).into());
                }
                if queue.end == End::Finished {
                    return Drained::Finished;
                }
            }
            door.wake.notified().await;
        }
    }

    /// For a door's task: `bytes` of what [`Link::drain`] gave are with the kernel.
    pub fn wrote(&self, bytes: usize) {
        if let Wire::Door(door) = &self.wire {
            door.pending.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// For a door's tasks: waits until the connection is to be dropped. A TCP socket tells by its own end.
    pub async fn severed(&self) {
        let Wire::Door(door) = &self.wire else {
            return std::future::pending().await;
        };
        loop {
            let gone = door.gone.notified();
            if door.lock().end == End::Severed {
                return;
            }
            gone.await;
        }
    }

    /// No more will be sent: the peer sees the end of the stream after all frames before it.
    pub(super) fn finish(&self) {
        match &self.wire {
            // Already closed by the peer: nothing to end.
            Wire::Tcp(stream) => drop(SockRef::from(stream).shutdown(Shutdown::Write)),
            Wire::Door(door) => door.end(End::Finished),
        }
    }

    /// Ends both directions at once, so that the connection's own task sees the end and cleans up.
    pub fn sever(&self) {
        match &self.wire {
            Wire::Tcp(stream) => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
            Wire::Door(door) => door.end(End::Severed),
        }
    }
}

impl Wire {
    /// Writes as much as the kernel takes without waiting.
    pub(super) fn write(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => stream.try_write(one),
            many => stream.try_write_vectored(many),
        }
    }
}

impl Door {
    /// Bytes handed to the door that its task has not written yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, frames: impl Iterator<Item = Frame>) {
        let mut queue = self.lock();
        let before = queue.frames.len();
        queue.frames.extend(frames);
        let bytes = queue.frames.iter().skip(before).map(Frame::len).sum();
        self.pending.fetch_add(bytes, Ordering::Relaxed);
        drop(queue);
        self.wake.notify_one();
    }

    /// Drops what its task has not taken yet.
    pub(super) fn cut(&self) {
        let mut queue = self.lock();
        let bytes = queue.frames.drain(..).map(|frame| frame.len()).sum();
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn end(&self, end: End) {
        {
            let mut queue = self.lock();
            // What is severed is not finished in an orderly way any more.
            if queue.end != End::Severed {
                queue.end = end;
            }
        }
        self.wake.notify_one();
        self.gone.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing inside the lock can panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_an_idle_connection_keeps_its_link_within_128_bytes() {
        // With the two counts of its Arc, a size class of the allocator.
        let whole = size_of::<Link>() + 2 * size_of::<usize>();
        assert!(whole <= 128, "{whole}");
    }

    #[tokio::test]
    async fn what_is_severed_stays_severed() {
        let link = Link::door();
        link.sever();
        link.finish();
        link.severed().await;
        assert!(matches!(link.drain().await, Drained::Severed));
    }

    #[tokio::test]
    async fn a_door_counts_what_its_task_has_not_written() {
        let link = Link::door();
        let Wire::Door(door) = &link.wire else {
            panic!("a door");
        };
        door.push([Frame::ping(), Frame::pong(b"x")].into_iter());
        assert_eq!(door.pending(), 5);
        let Drained::Frames(frames) = link.drain().await else {
            panic!("frames");
        };
        assert_eq!((frames.len(), door.pending()), (2, 5));
        door.push([Frame::ping()].into_iter());
        door.cut();
        assert_eq!(door.pending(), 5);
        link.wrote(5);
        assert_eq!(door.pending(), 0);
    }
}
