//! Many clients at once: opened as quickly as the server takes them, with the time each took and why some did not come.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    client::Client,
    error::BenchError,
    report::histogram,
    target::{App, Target},
};

/// Connections being set up at the same time; fewer than the backlog of any server.
pub(crate) const AT_ONCE: usize = 64;
/// How long one connection may take to be subscribed.
pub(crate) const SETUP: Duration = Duration::from_secs(10);

/// What came of opening clients.
pub(crate) struct Crowd {
    /// Those that are subscribed, in the order of their index.
    pub(crate) clients: Vec<Client>,
    /// Why the others are not.
    pub(crate) errors: Vec<BenchError>,
    /// From the first connect to the last subscription.
    pub(crate) took: Duration,
    /// From the connect of one to its subscription.
    pub(crate) setup_us: Histogram<u64>,
}

impl Crowd {
    /// The clients, or an error when not all of them are there.
    pub(crate) fn complete(self) -> Result<Vec<Client>, BenchError> {
        match self.errors.first() {
            None => Ok(self.clients),
            Some(first) => Err(BenchError::Subscribers {
                failed: self.errors.len(),
                wanted: self.errors.len() + self.clients.len(),
                first: first.to_string(),
            }),
        }
    }

    /// How many failed; says why the first did on stderr.
    pub(crate) fn failed(&self) -> u64 {
        if let Some(first) = self.errors.first() {
            eprintln!("{} clients failed, the first: {first}", self.errors.len());
        }
        self.errors.len() as u64
    }
}

/// Opens clients 0..count, `at_once` at a time; `channels` names the channels of each.
pub(crate) async fn open(
    target: &Target,
    count: usize,
    at_once: usize,
    channels: impl Fn(usize) -> Vec<String> + 'static,
) -> Crowd {
    let target = Rc::new(target.clone());
    gather(count, at_once, move |index| {
        let (target, names) = (target.clone(), channels(index));
        async move { Client::open(&target, index, &names).await }
    })
    .await
}

/// Opens connections that ask for nothing, with TLS where the app has it.
pub(crate) async fn bare(app: &App, count: usize, at_once: usize) -> Crowd {
    let app = Rc::new(app.clone());
    gather(count, at_once, move |index| {
        let app = app.clone();
        async move { Client::bare(&app, index, None).await }
    })
    .await
}

async fn gather<Opening>(
    count: usize,
    at_once: usize,
    open: impl Fn(usize) -> Opening + 'static,
) -> Crowd
where
    Opening: Future<Output = Result<Client, BenchError>>,
{
    let started = Instant::now();
    let next = Rc::new(Cell::new(0));
    let open = Rc::new(open);
    let mut workers = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (next, open) = (next.clone(), open.clone());
        workers.spawn_local(async move {
            let mut opened = Vec::new();
            loop {
                let index = next.replace(next.get() + 1);
                if index >= count {
                    return opened;
                }
                let begun = Instant::now();
                let result = match timeout(SETUP, open(index)).await {
                    Ok(result) => result,
                    Err(_) => Err(BenchError::Deadline {
                        what: "subscribing",
                        seconds: SETUP.as_secs(),
                    }),
                };
                opened.push(result.map(|client| (client, begun.elapsed())));
            }
        });
    }
    let mut crowd = Crowd {
        clients: Vec::with_capacity(count),
        errors: Vec::new(),
        took: Duration::ZERO,
        setup_us: histogram(),
    };
    for result in workers.join_all().await.into_iter().flatten() {
        match result {
            Ok((client, took)) => {
                crowd.setup_us.saturating_record(took.as_micros() as u64);
                crowd.clients.push(client);
            }
            Err(error) => crowd.errors.push(error),
        }
    }
    crowd.took = started.elapsed();
    crowd.clients.sort_unstable_by_key(|client| client.index);
    crowd
}

/// Opens `count` subscribers of one channel; an error when not all of them are subscribed.
pub(crate) async fn of_channel(
    target: &Target,
    count: usize,
    channel: &str,
) -> Result<Vec<Client>, BenchError> {
    let channel = channel.to_owned();
    open(target, count, AT_ONCE, move |_| vec![channel.clone()])
        .await
        .complete()
}
