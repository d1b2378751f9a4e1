//! Who may come in at all: connections of the process and of each app, and the rate of handshakes.
//! An admission is held by its connection and given back when that is gone, in one place.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Kind;
use crate::apps::{App, PerApp};
use crate::config::Limits;
use crate::limits::{self, RateLimit};

/// Counts connections and says no when a limit is reached.
#[derive(Debug)]
pub struct Admission {
    all: Arc<AtomicUsize>,
    max_connections: usize,
    apps: PerApp<Arc<OfApp>>,
    handshakes: RateLimit,
    /// Cloned into every admission; when all are gone, the server is empty. `None` once it is closing.
    alive: Mutex<Option<mpsc::Sender<()>>>,
}

/// The connections of one app.
#[derive(Debug, Default)]
struct OfApp {
    all: AtomicUsize,
    /// The same by gateway; `Kind as usize` is the place.
    by_gateway: [AtomicUsize; Kind::ALL.len()],
}

/// A connection's right to be here.
#[derive(Debug)]
pub struct Admitted {
    all: Arc<AtomicUsize>,
    app: Arc<OfApp>,
    gateway: Kind,
    _alive: mpsc::Sender<()>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The whole process.
    #[error("Server is over its connection quota (limits.max_connections)")]
    Server,
    /// This app.
    #[error("Application is over its connection quota (apps.max_connections)")]
    App,
    /// The server is about to end.
    #[error("Server is shutting down")]
    Closing,
}

impl Admission {
    /// Also returns the receiver that ends when this has been closed and the last connection is gone. `apps` are those
    /// that are counted from the start; others are from their first connection on.
    pub fn new(limits: &Limits, apps: &[Arc<App>]) -> (Admission, mpsc::Receiver<()>) {
        let (alive, empty) = mpsc::channel(1);
        let counts = PerApp::default();
        for app in apps {
            counts.get_or_init(app.index, Arc::default);
        }
        let admission = Admission {
            all: Arc::default(),
            max_connections: limits::connections(limits.max_connections),
            apps: counts,
            handshakes: RateLimit::per_second(limits.handshakes_per_s),
            alive: Mutex::new(Some(alive)),
        };
        (admission, empty)
    }

    /// Whether one more handshake may be looked at now, whatever comes of it.
    pub fn take_handshake(&self, now_ms: u64) -> bool {
        self.handshakes.take(now_ms).is_ok()
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Lets one more connection of `app` in that comes by `gateway`, or says what is full.
    pub fn admit(&self, app: &App, gateway: Kind) -> Result<Admitted, Full> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = alive.clone().ok_or(Full::Closing)?;
        let of_app = self.apps.get_or_init(app.index, Arc::default).clone();
        if !raise(&self.all, self.max_connections) {
            return Err(Full::Server);
        }
        if !raise(&of_app.all, app.max_connections as usize) {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::App);
        }
        of_app.by_gateway[gateway as usize].fetch_add(1, Ordering::Relaxed);
        Ok(Admitted {
            all: self.all.clone(),
            app: of_app,
            gateway,
            _alive: alive,
        })
    }

    /// Connections of the app with this index that are open now.
    pub fn connections(&self, app: u32) -> usize {
        let count = self.apps.get(app);
        count.map_or(0, |count| count.all.load(Ordering::Relaxed))
    }

    /// The same of every app that has had any.
    pub fn all_connections(&self) -> impl Iterator<Item = (u32, usize)> {
        let counts = self.apps.iter();
        counts.map(|(app, count)| (app, count.all.load(Ordering::Relaxed)))
    }

    /// Those that came by `gateway`.
    pub fn connections_by(&self, gateway: Kind) -> impl Iterator<Item = (u32, usize)> {
        let counts = self.apps.iter();
        counts.map(move |(app, count)| {
            let count = &count.by_gateway[gateway as usize];
            (app, count.load(Ordering::Relaxed))
        })
    }
}

impl Admitted {
    /// The door by which the connection came.
    pub fn gateway(&self) -> Kind {
        self.gateway
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.app.all.fetch_sub(1, Ordering::Relaxed);
        self.app.by_gateway[self.gateway as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds one unless that would pass `max`; 0 is no limit.
fn raise(count: &AtomicUsize, max: usize) -> bool {
    let raised = |now: usize| (max == 0 || now < max).then_some(now + 1);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised)
        .is_ok()
}
