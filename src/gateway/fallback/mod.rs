//! The Pusher protocol over plain HTTP, for networks that let no WebSocket through: the transports
//! `xhr_streaming` and `xhr_polling` of pusher-js. A session is one [`Connection`] behind two kinds of request.
//!
//! # Layout
//!
//! * [`lines`]: frames of the hub -> lines of a response.
//! * [`response`]: one receive request, which is open, spent or over.
//! * [`outlet`]: what waits for the client, and the response it may leave by.
//! * [`session`]: the task that owns the connection.
//!
//! # Promises
//!
//! * A frame is written once, in order, to a response that its client is still reading; when a response breaks,
//!   nobody knows what of it has arrived, so the session ends with it and the client starts afresh.
//! * A frame counts as unsent until HTTP takes it, so the hub closes a slow reader here as anywhere.
//! * However a session ends, its connection is dropped, and that cleans up, once.
//!
//! [`Connection`]: super::pusher::connection::Connection

mod lines;
mod outlet;
mod response;
mod session;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gema_protocol::code::Code;
use tokio::sync::mpsc;

pub use self::response::{Answer, Manner};

use self::response::Response;
use self::session::{Request, Session};
use super::pusher::Gateway;
use super::pusher::handshake::Handshake;
use crate::hub::Farewell;
use crate::limits;
use crate::metrics::Refused;

/// Requests that wait for one session; the next one waits with its HTTP request.
const REQUESTS: usize = 4;

/// The longest session id. pusher-js makes them of eight characters.
const LONGEST_ID: usize = 64;

/// The name by which the requests of a session find it. Whoever knows it is its client: pusher-js draws it from
/// 2^50, so it is not found by trying.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionName {
    app: u32,
    /// `number/id`, as in the path.
    path: String,
}

/// All sessions of the process.
pub struct Sessions {
    gateway: Arc<Gateway>,
    open: Arc<Mutex<Open>>,
    /// Sessions at a time. Between two requests a session holds no file, so the limit on open files, which bounds
    /// WebSockets, does not bound these by itself.
    most: usize,
}

/// The way to each session's task.
type Open = HashMap<SessionName, mpsc::Sender<Request>>;

/// No such session: it has ended, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No such session")]
pub struct Unknown;

/// A session's entry among all; dropping it takes the entry away.
struct Seat {
    name: SessionName,
    open: Arc<Mutex<Open>>,
}

/// What a receive request finds.
enum Found {
    Session(mpsc::Sender<Request>),
    /// Nothing; this is the session it may begin.
    Free(Seat, mpsc::Receiver<Request>),
    Full,
}

impl SessionName {
    /// From the two segments of the path: a number of up to three digits, and 1 to 64 of `[0-9A-Za-z_-]`.
    pub fn parse(app: u32, number: &str, id: &str) -> Option<SessionName> {
        let is_number =
            (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let is_id = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_plain);
        (is_number && is_id).then(|| SessionName {
            app,
            path: format!("{number}/{id}"),
        })
    }
}

impl Sessions {
    /// At most `max_connections` sessions; 0 = as many as this process may have files open.
    pub fn new(gateway: Arc<Gateway>, max_connections: usize) -> Sessions {
        Sessions {
            gateway,
            open: Arc::default(),
            most: limits::connections(max_connections),
        }
    }

    /// Whether this session is there.
    pub fn has(&self, name: &SessionName) -> bool {
        lock(&self.open).contains_key(name)
    }

    /// A receive request: it begins the session if there is none. A refusal is told in the answer.
    pub async fn receive(&self, name: SessionName, manner: Manner, handshake: Handshake) -> Answer {
        let (response, answer) = response::pair(manner);
        match self.find(name) {
            Found::Session(session) => {
                // Ended this very moment: the answer is empty, and the client takes the session for lost.
                drop(session.send(Request::Receive(response)).await);
                answer
            }
            Found::Free(seat, requests) => {
                self.begin(seat, requests, response, handshake).await;
                answer
            }
            Found::Full => {
                self.gateway.metrics.refused(Refused::ServerFull);
                refusal(&Farewell::of(Code::OverCapacity))
            }
        }
    }

    /// The answer to a client of no known app: the refusal that a WebSocket would be told.
    pub async fn refuse(&self, handshake: Handshake) -> Answer {
        match handshake.decide(&self.gateway).await {
            Err(farewell) => refusal(&farewell),
            // It has come in this very moment: for an app that is there, there is `receive`.
            Ok(_) => refusal(&Farewell::of(Code::Reconnect)),
        }
    }

    /// A send request: messages of the client, in order. Returns when they have their place in the session's queue.
    pub async fn send(&self, name: &SessionName, texts: Vec<String>) -> Result<(), Unknown> {
        let session = lock(&self.open).get(name).cloned().ok_or(Unknown)?;
        session
            .send(Request::Send(texts))
            .await
            .map_err(|_| Unknown)
    }

    fn find(&self, name: SessionName) -> Found {
        let mut open = lock(&self.open);
        let full = open.len() >= self.most;
        match open.entry(name.clone()) {
            Entry::Occupied(entry) => Found::Session(entry.get().clone()),
            Entry::Vacant(_) if full => Found::Full,
            Entry::Vacant(entry) => {
                let (session, requests) = mpsc::channel(REQUESTS);
                entry.insert(session);
                let open = self.open.clone();
                Found::Free(Seat { name, open }, requests)
            }
        }
    }

    async fn begin(
        &self,
        seat: Seat,
        requests: mpsc::Receiver<Request>,
        response: Response,
        handshake: Handshake,
    ) {
        match handshake.decide(&self.gateway).await {
            Err(farewell) => response.refuse(&farewell),
            Ok(accepted) => {
                let gateway = self.gateway.clone();
                tokio::spawn(Session::run(gateway, accepted, seat, requests, response));
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.name);
    }
}

fn refusal(farewell: &Farewell) -> Answer {
    let (response, answer) = response::pair(Manner::Polling);
    response.refuse(farewell);
    answer
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Nothing inside the lock can panic half-way.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_name_is_a_number_and_a_plain_id() {
        let good = |number: &str, id: &str| SessionName::parse(0, number, id).is_some();
        assert!(good("0", "a") && good("999", "0v_-Zz19") && good("007", &"x".repeat(64)));
        for (number, id) in [
            ("", "a"),
            ("1000", "a"),
            ("-1", "a"),
            ("1", ""),
            ("1", "a.b"),
            ("1", "a%2f"),
            ("1", &"x".repeat(65)),
        ] {
            assert!(!good(number, id), "{number}/{id}");
        }
    }
}
