//! One link: a connection to one server, for life. Whoever has a command puts it in the queue; the link's task takes
//! what is there into one pipeline, waits for the replies, and takes what has gathered meanwhile.
//!
//! `serve` is what the task does while it has a connection. It polls the connection itself; so nothing is heard of a
//! connection once the link has said `Down`.

mod serve;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::command::{Answer, Command};
use super::connect::Connection;
use super::inbox::{Feed, Happening};
use super::queue::{Job, Queue, SETTLE};
use super::route::{Outcome, Refusal, Route};

/// Between two attempts; half of it is up to chance, so that nodes do not come in step.
const BACKOFF: [u64; 4] = [50, 100, 200, 250];
/// A connection that lasted this long worked.
const LASTING: Duration = Duration::from_secs(1);

/// One of the links, for as long as the process lives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LinkId(u32);

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub id: LinkId,
    ties: Ties,
    sharded: bool,
    state: Mutex<State>,
    /// There is something for the task.
    wake: Notify,
    /// Channels whose subscription is being taken back, and how often.
    leaving: Mutex<HashMap<Vec<u8>, u32>>,
}

/// What all links have in common.
#[derive(Clone, Debug)]
pub(super) struct Ties {
    pub feed: Feed,
    /// Tells whoever knows the topology that it may have changed.
    pub doubt: Arc<Notify>,
    /// Publications that were given up.
    pub dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    condition: Condition,
    order: Option<Order>,
    /// Publications wait after the next `Up`: somebody may have missed some.
    unsettled: bool,
    /// The outage is in the log.
    told_away: bool,
    /// So is the loss of publications in it.
    told_loss: bool,
}

#[derive(Debug)]
enum Condition {
    Up,
    Away { since: Instant, why: String },
}

/// What the task shall do when it looks next.
#[derive(Clone, Debug)]
enum Order {
    Reconnect(String),
    End(String),
}

impl Link {
    /// A link that is away until its task runs. `unsettled` if other nodes may be without one as well.
    pub(super) fn new(ties: Ties, sharded: bool, unsettled: bool) -> Arc<Link> {
        static IDS: AtomicU32 = AtomicU32::new(0);
        Arc::new(Link {
            id: LinkId(IDS.fetch_add(1, Ordering::Relaxed)),
            ties,
            sharded,
            state: Mutex::new(State {
                queue: Queue::default(),
                condition: Condition::Away {
                    since: Instant::now(),
                    why: "not connected yet".into(),
                },
                order: None,
                unsettled,
                told_away: false,
                told_loss: false,
            }),
            wake: Notify::new(),
            leaving: Mutex::default(),
        })
    }

    /// Queues a question.
    pub(super) fn ask(&self, slot: u16, command: Command) -> Answer {
        let mut state = self.state();
        if !matches!(state.condition, Condition::Up) {
            return Answer::away();
        }
        let (asker, answer) = Answer::pending();
        state.queue.ask(slot, command, asker);
        drop(state);
        self.wake.notify_one();
        answer
    }

    /// Queues a publication, whether or not there is a connection.
    pub(super) fn keep(&self, slot: u16, command: Command) {
        let mut state = self.state();
        let lost = state.queue.keep(slot, command);
        self.count_loss(&mut state, lost);
        drop(state);
        self.wake.notify_one();
    }

    /// Whether publications wait.
    pub(super) fn keeps_any(&self) -> bool {
        self.state().queue.keeps_any()
    }

    /// Whether questions are taken.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state().condition, Condition::Up)
    }

    /// Since when and why it is away.
    pub(super) fn away(&self) -> Option<(Instant, String)> {
        match &self.state().condition {
            Condition::Up => None,
            Condition::Away { since, why } => Some((*since, why.clone())),
        }
    }

    /// Takes out publications whose slot another link serves now.
    pub(super) fn take_strays(&self, ours: impl Fn(u16) -> bool) -> Vec<Job> {
        self.state().queue.take_strays(ours)
    }

    /// Takes publications over from another link.
    pub(super) fn adopt(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut state = self.state();
        let lost = state.queue.put_back(jobs);
        self.count_loss(&mut state, lost);
        drop(state);
        self.wake.notify_one();
    }

    /// Has the connection made anew, if there is one.
    pub(super) fn reconnect(&self, why: &str) {
        let mut state = self.state();
        if state.order.is_none() && matches!(state.condition, Condition::Up) {
            state.order = Some(Order::Reconnect(why.to_owned()));
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Ends the link: `Down`, and its task returns.
    pub(super) fn end(&self, why: &str) {
        self.state().order = Some(Order::End(why.to_owned()));
        self.wake.notify_one();
    }

    /// Notes why there is no connection, and says so once per outage.
    pub(super) fn failed(&self, server: &str, why: &str) {
        let mut state = self.state();
        state.unsettled = true;
        if !state.told_away {
            state.told_away = true;
            warn!(server, why, "cannot reach Redis; trying until it works");
        }
        if let Condition::Away { why: known, .. } = &mut state.condition {
            known.clear();
            known.push_str(why);
        }
    }

    /// The link's task.
    pub(super) async fn run(self: Arc<Self>, route: Route) -> Outcome {
        let mut attempt = 0;
        loop {
            if self.is_ended() {
                return Outcome::Ended;
            }
            match self.open(&route).await {
                Ok((server, connection)) => {
                    let since = Instant::now();
                    self.up(&server);
                    let why = self.serve(connection).await;
                    self.down(&server, &why);
                    self.ties.doubt.notify_one();
                    if since.elapsed() > LASTING {
                        attempt = 0;
                    }
                }
                Err(Refusal::IsCluster) => return Outcome::IsCluster,
                Err(Refusal::Why { server, why }) => self.failed(&server, &why),
            }
            let pause = backoff(attempt);
            attempt += 1;
            let deadline = Instant::now() + pause;
            while !self.is_ended()
                && tokio::time::timeout_at(deadline.into(), self.wake.notified())
                    .await
                    .is_ok()
            {}
        }
    }

    async fn open(self: &Arc<Self>, route: &Route) -> Result<(String, Connection), Refusal> {
        if !self.ties.feed.has_room() {
            return Err(Refusal::Why {
                server: String::new(),
                why: "messages come in faster than they are read".into(),
            });
        }
        self.leaving().clear();
        let link = Arc::clone(self);
        route.open(move |push| link.hear(push)).await
    }

    fn up(&self, server: &str) {
        let mut state = self.state();
        if state.order.as_ref().is_some_and(Order::is_reconnect) {
            state.order = None;
        }
        if state.unsettled || state.queue.keeps_any() {
            state.queue.hold_until(Instant::now() + SETTLE);
        }
        state.condition = Condition::Up;
        state.told_away = false;
        state.told_loss = false;
        // Under the lock: who sees the link up finds the consumer told.
        self.ties.feed.state(Happening::Up { link: self.id });
        info!(server, "connected to Redis");
    }

    fn down(&self, server: &str, why: &str) {
        let mut state = self.state();
        state.condition = Condition::Away {
            since: Instant::now(),
            why: why.to_owned(),
        };
        state.unsettled = true;
        state.told_away = true;
        state.told_loss = false;
        state.queue.cut();
        self.ties.feed.state(Happening::Down {
            link: self.id,
            why: why.to_owned(),
        });
        warn!(server, why, "cut off from Redis");
    }

    fn count_loss(&self, state: &mut State, lost: u64) {
        self.ties.dropped.fetch_add(lost, Ordering::Relaxed);
        if lost > 0 && !std::mem::replace(&mut state.told_loss, true) {
            warn!("too many publications wait for Redis; the oldest are dropped");
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self.state().order, Some(Order::End(_)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in there is a mistake of ours; the link is needed nonetheless.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, HashMap<Vec<u8>, u32>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn is_reconnect(&self) -> bool {
        matches!(self, Order::Reconnect(_))
    }
}

fn backoff(attempt: usize) -> Duration {
    let most = BACKOFF[attempt.min(BACKOFF.len() - 1)];
    // Without a random number the pauses are only less spread.
    let random = u64::from(getrandom::u32().unwrap_or_default());
    Duration::from_millis(most / 2 + random % (most / 2 + 1))
}
