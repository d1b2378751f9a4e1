//! Figures about the server, for `GET /metrics` of the admin listener.
//!
//! # Layout
//!
//! * [`requests`]: HTTP requests by route and status.
//! * [`process`]: memory, CPU time and open files of this process.
//! * [`exposition`]: everything as Prometheus text.
//!
//! A leaf: it is told and asks nobody. Here is what the callers count, once a request, a message or a publication. What
//! a delivery raises is counted by its shard in plain integers, and what is there now by whoever keeps it; both are
//! read at the moment of a scrape and come in as a [`Reading`]. So no gauge drifts, and no counter is shared by
//! deliveries.

mod exposition;
mod process;
mod requests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use prometheus_client::metrics::histogram::Histogram;

use self::requests::Requests;

/// Bounds of the histogram, in seconds: from an idle shard's 20 us to an inbox that has been full for a second.
const PUBLISH_BOUNDS: [f64; 13] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5,
    1.0,
];

/// What callers count; one per process, shared by `Arc`.
#[derive(Debug)]
pub struct Metrics {
    received: AtomicU64,
    publishes: [AtomicU64; Source::ALL.len()],
    publish_seconds: Histogram,
    rejected: [AtomicU64; Refused::ALL.len()],
    requests: Requests,
    started: SystemTime,
}

/// Who published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A back end, through the HTTP API.
    Api,
    /// A client, with a client event.
    Client,
    /// A back end, by a row of the table `broadcasts`.
    Outbox,
    /// The chat.
    Chat,
    /// Somebody at the console.
    Console,
}

/// What kept a connection or a call of the API out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `limits.handshakes_per_s`.
    HandshakeRate,
    /// The path is not that of an app.
    Path,
    /// A protocol version that is not spoken here.
    Protocol,
    /// No app has this key.
    UnknownApp,
    /// No app has this key as far as can be told: the table of apps cannot be read.
    UnreadApp,
    /// The app is switched off.
    DisabledApp,
    /// `apps.allowed_origins`.
    Origin,
    /// The token in the connection's URL.
    Token,
    /// The keys for that token cannot be had at the moment.
    TokenKeys,
    /// `limits.max_connections`.
    ServerFull,
    /// `apps.max_connections`.
    AppFull,
    /// The server is shutting down.
    Draining,
    /// `limits.api_requests_per_s`.
    ApiRate,
}

/// What is only known elsewhere, read at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What `/ready` says.
    pub ready: bool,
    /// Open connections: the app's id, the gateway, how many.
    pub connections: Vec<(String, &'static str, u64)>,
    /// Occupied channels.
    pub channels: u64,
    /// Subscriptions by the kind of their channel.
    pub subscriptions: Vec<(&'static str, u64)>,
    /// Unsent bytes of all connections.
    pub outbox_bytes: u64,
    /// Connections since the start.
    pub connected: u64,
    /// Those that have ended, by close code; 0 stands for the codes that clients make up.
    pub disconnected: Vec<(u16, u64)>,
    /// Frames handed to the kernel or to a connection's writing task.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Connections closed since they did not read.
    pub slow_consumers: u64,
    /// Webhooks by what became of them.
    pub webhooks: Vec<(&'static str, u64)>,
    /// `None` on a node alone.
    pub bus: Option<BusReading>,
    /// How long the oldest row of the outbox has been waiting; `None` when the outbox is off.
    pub outbox_lag_ms: Option<u64>,
}

/// What has gone between this node and the others since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct BusReading {
    /// Connected now.
    pub up: bool,
    /// Events published to other nodes.
    pub sent: u64,
    /// Messages of other nodes.
    pub received: u64,
    /// Events that never left, since too many waited for the bus to come back.
    pub dropped: u64,
    /// Events of other nodes that are known to be missing.
    pub gaps: u64,
    /// Nodes found dead whose members this node has removed.
    pub sweeps: u64,
}

impl Metrics {
    /// All zero. `routes`: the labels of HTTP routes, by the index that [`Metrics::answered`] is told.
    pub fn new(routes: &'static [&'static str]) -> Metrics {
        Metrics {
            received: AtomicU64::default(),
            publishes: Default::default(),
            publish_seconds: Histogram::new(PUBLISH_BOUNDS),
            rejected: Default::default(),
            requests: Requests::new(routes),
            started: SystemTime::now(),
        }
    }

    /// A client has sent a message.
    pub fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Events have got their place in the order of so many channels.
    pub fn published(&self, source: Source, channels: usize) {
        self.publishes[source as usize].fetch_add(channels as u64, Ordering::Relaxed);
    }

    /// Events of all sources so far, each channel counted.
    pub fn publications(&self) -> u64 {
        let publishes = self.publishes.iter();
        publishes.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// So long it took from the acceptance of an API call to the shards.
    pub fn handed_over(&self, took: Duration) {
        self.publish_seconds.observe(took.as_secs_f64());
    }

    /// Somebody was kept out.
    pub fn refused(&self, why: Refused) {
        self.rejected[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered.
    pub fn answered(&self, route: usize, status: StatusCode) {
        self.requests.answered(route, status);
    }

    /// All figures in the Prometheus text format 0.0.4.
    pub fn expose(&self, reading: &Reading) -> String {
        exposition::text(self, reading)
    }
}

impl Source {
    const ALL: [Source; 5] = [
        Source::Api,
        Source::Client,
        Source::Outbox,
        Source::Chat,
        Source::Console,
    ];

    /// Its name in figures.
    pub fn label(self) -> &'static str {
        match self {
            Source::Api => "api",
            Source::Client => "client",
            Source::Outbox => "outbox",
            Source::Chat => "chat",
            Source::Console => "console",
        }
    }
}

impl Refused {
    const ALL: [Refused; 13] = [
        Refused::HandshakeRate,
        Refused::Path,
        Refused::Protocol,
        Refused::UnknownApp,
        Refused::UnreadApp,
        Refused::DisabledApp,
        Refused::Origin,
        Refused::Token,
        Refused::TokenKeys,
        Refused::ServerFull,
        Refused::AppFull,
        Refused::Draining,
        Refused::ApiRate,
    ];

    fn label(self) -> &'static str {
        match self {
            Refused::HandshakeRate => "handshake_rate",
            Refused::Path => "path",
            Refused::Protocol => "protocol",
            Refused::UnknownApp => "unknown_app",
            Refused::UnreadApp => "unread_app",
            Refused::DisabledApp => "disabled_app",
            Refused::Origin => "origin",
            Refused::Token => "token",
            Refused::TokenKeys => "token_keys",
            Refused::ServerFull => "server_full",
            Refused::AppFull => "app_full",
            Refused::Draining => "draining",
            Refused::ApiRate => "api_rate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_has_the_place_of_its_variant() {
        for (index, source) in Source::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, index, "{source:?}");
        }
        for (index, why) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index, "{why:?}");
        }
    }
}
