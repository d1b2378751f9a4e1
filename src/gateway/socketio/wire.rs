//! What the transport of a Socket.IO session and its bridge to the hub share: how much is on its way, when the client was
//! last heard, and that it is over.
//!
//! A session is one WebSocket, or many requests (polling), or first these and then that; all have the same [`Wire`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use crate::clock;
use crate::gateway::admission::Admitted;
use crate::gateway::guest::Guest;
use crate::hub::Link;

/// Bytes handed to the transport that it has not written. More wait in the hub, which knows its bound.
const WINDOW: usize = 64 * 1024;

/// One session's transport, shared by `Arc`.
pub(super) struct Wire {
    /// Who it is, behind trusted proxies; for the log.
    pub(super) client: IpAddr,
    /// The hub's side.
    pub(super) link: Arc<Link>,
    /// Given on to the guest, once there is one.
    admitted: Mutex<Option<Admitted>>,
    /// Between being let in and being told so.
    guest: Mutex<Option<Guest>>,
    unsent: AtomicUsize,
    progress: Notify,
    over: AtomicBool,
    gone: Notify,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// Where it is to be forgotten, and as what.
    registered: OnceLock<(Arc<Sessions>, String)>,
}

impl Wire {
    pub(super) fn new(client: IpAddr, admitted: Admitted) -> Arc<Wire> {
        Arc::new(Wire {
            client,
            link: Arc::new(Link::door()),
            admitted: Mutex::new(Some(admitted)),
            guest: Mutex::default(),
            unsent: AtomicUsize::new(0),
            progress: Notify::new(),
            over: AtomicBool::new(false),
            gone: Notify::new(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            registered: OnceLock::new(),
        })
    }

    /// The admission, once: a transport carries one session.
    pub(super) fn take_admitted(&self) -> Option<Admitted> {
        lock(&self.admitted).take()
    }

    pub(super) fn put_guest(&self, guest: Guest) {
        *lock(&self.guest) = Some(guest);
    }

    pub(super) fn take_guest(&self) -> Option<Guest> {
        lock(&self.guest).take()
    }

    /// The client has sent something.
    pub(super) fn heard(&self) {
        self.link.heard(clock::now_ms());
    }

    /// `bytes` are with the transport now.
    pub(super) fn handed(&self, bytes: usize) {
        self.unsent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The transport has written `bytes`. It says more than it was handed (headers, its own pings), so this counts down
    /// to nothing and not below: the window is a little wider than [`WINDOW`], and errors do not add up.
    pub(super) fn wrote(&self, bytes: usize) {
        let less = |unsent: usize| Some(unsent.saturating_sub(bytes));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // Always updated: `less` never says no.
        let _ = self.unsent.fetch_update(set, fetch, less);
        self.progress.notify_one();
    }

    /// Waits until the transport takes more. For one task only.
    pub(super) async fn room(&self) {
        while self.unsent.load(Ordering::Relaxed) > WINDOW {
            self.progress.notified().await;
        }
    }

    /// Ends the transport: the client takes it for broken, and comes back.
    pub(super) fn cut(&self) {
        self.over.store(true, Ordering::Release);
        self.gone.notify_waiters();
        self.reader.wake();
        self.writer.wake();
    }

    /// Waits for [`Wire::cut`].
    pub(super) async fn over(&self) {
        loop {
            let gone = self.gone.notified();
            if self.is_over() {
                return;
            }
            gone.await;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Whether it is over for the task that reads; if not, that task is woken when it is.
    pub(super) fn is_over_for_reader(&self, waker: &Waker) -> bool {
        self.reader.register(waker);
        self.is_over()
    }

    /// As [`Wire::is_over_for_reader`], for the task that writes.
    pub(super) fn is_over_for_writer(&self, waker: &Waker) -> bool {
        self.writer.register(waker);
        self.is_over()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some((sessions, sid)) = self.registered.get() {
            lock(&sessions.by_sid).remove(sid);
        }
    }
}

/// The sessions whose requests name them.
#[derive(Default)]
pub(super) struct Sessions {
    by_sid: Mutex<HashMap<String, Weak<Wire>>>,
}

impl Sessions {
    pub(super) fn register(self: &Arc<Self>, sid: &str, wire: &Arc<Wire>) {
        if wire.registered.set((self.clone(), sid.to_owned())).is_ok() {
            lock(&self.by_sid).insert(sid.to_owned(), Arc::downgrade(wire));
        }
    }

    pub(super) fn get(&self, sid: &str) -> Option<Arc<Wire>> {
        lock(&self.by_sid).get(sid)?.upgrade()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing inside these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
