//! One link: a connection to one server, for life. Whoever has a command puts it in the queue; the link's task takes
//! what is there into one pipeline, waits for the replies, and takes what has gathered meanwhile.
//!
//! The task polls the connection itself. So nothing is heard of a connection once the link has said `Down`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Pipeline, PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::command::{Answer, AskError, Command, Remedy, remedy, words};
use super::connect::{Connection, LOST, describe};
use super::inbox::{Feed, Happening};
use super::queue::{Job, Queue, SETTLE};
use super::route::{Outcome, Refusal, Route};

/// A link without commands asks this often whether the server is there.
const PROBE: Duration = Duration::from_secs(1);
/// A server that says nothing for this long while it has something to answer is dead.
const PATIENCE: Duration = Duration::from_secs(2);
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

enum Next {
    Send(Vec<Job>),
    Wait(Option<Instant>),
    Stop(String),
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

    /// Uses a connection until it is of no use; says why it is not.
    async fn serve(&self, mut connection: Connection) -> String {
        let mut probe_at = Instant::now() + PROBE;
        loop {
            let jobs = match self.next() {
                Next::Send(jobs) => jobs,
                Next::Stop(why) => return why,
                Next::Wait(due) => {
                    let until = due.map_or(probe_at, |due| due.min(probe_at));
                    tokio::select! {
                        () = &mut connection.driver => return LOST.into(),
                        () = self.wake.notified() => continue,
                        () = tokio::time::sleep_until(until.into()) => {}
                    }
                    if Instant::now() < probe_at {
                        continue;
                    }
                    Vec::new()
                }
            };
            if let Err(why) = self.carry_out(&mut connection, jobs).await {
                return why;
            }
            probe_at = Instant::now() + PROBE;
        }
    }

    fn next(&self) -> Next {
        let mut state = self.state();
        if let Some(Order::Reconnect(why) | Order::End(why)) = &state.order {
            return Next::Stop(why.clone());
        }
        let jobs = state.queue.take(Instant::now());
        if jobs.is_empty() {
            Next::Wait(state.queue.due())
        } else {
            Next::Send(jobs)
        }
    }

    /// Sends the jobs, or a `PING` when there are none, and deals with the replies.
    async fn carry_out(&self, connection: &mut Connection, jobs: Vec<Job>) -> Result<(), String> {
        let mut pipeline = Pipeline::with_capacity(jobs.len().max(1));
        for job in &jobs {
            if let (true, Command::Unlisten(channel)) = (self.sharded, &job.command) {
                *self.leaving().entry(channel.clone().into()).or_default() += 1;
            }
            pipeline.add_command(job.command.encode(self.sharded));
        }
        if jobs.is_empty() {
            pipeline.add_command(redis::cmd("PING"));
        }
        let replies = connection.exchange(&pipeline, PATIENCE).await;
        let replies = replies.and_then(|replies| match self.reason_to_stop() {
            // What came in meanwhile says that these replies cannot be relied upon.
            Some(why) => Err(why),
            None if !jobs.is_empty() && !in_step(&jobs, &replies) => {
                Err("the replies are out of step".into())
            }
            None => Ok(replies),
        });
        match replies {
            Ok(replies) => self.settle(jobs, replies),
            Err(why) => {
                self.give_back(jobs);
                Err(why)
            }
        }
    }

    /// Hands the replies out; an error says why the connection is of no use any more.
    fn settle(&self, jobs: Vec<Job>, replies: Vec<Value>) -> Result<(), String> {
        let (mut again, mut refused, mut last) = (Vec::new(), Vec::new(), Ok(()));
        let mut doubtful = false;
        for (job, reply) in jobs.into_iter().zip(replies) {
            let error = match reply {
                Value::ServerError(error) => error,
                Value::Push { .. } => {
                    job.answer(Ok(Value::Okay));
                    continue;
                }
                value => {
                    let value = value.extract_error();
                    job.answer(value.map_err(|error| AskError::Refused(describe(&error))));
                    continue;
                }
            };
            let text = words(&error);
            let remedy = remedy(&error);
            match remedy {
                Remedy::None => {}
                Remedy::Topology if self.sharded => doubtful = true,
                Remedy::Topology | Remedy::Reconnect => last = Err(text.clone()),
            }
            if job.asker.is_some() {
                job.answer(Err(AskError::Refused(text)));
            } else if remedy == Remedy::None {
                refused.push(text);
            } else {
                again.push(job);
            }
        }
        if doubtful || last.is_err() {
            self.ties.doubt.notify_one();
        }
        let mut state = self.state();
        if let Some(why) = refused.first() {
            let count = refused.len() as u64;
            self.ties.dropped.fetch_add(count, Ordering::Relaxed);
            if !std::mem::replace(&mut state.told_loss, true) {
                warn!(why, "Redis refuses publications; they are dropped");
            }
        }
        if !again.is_empty() {
            state.queue.hold_until(Instant::now() + SETTLE);
            let lost = state.queue.put_back(again);
            self.count_loss(&mut state, lost);
        }
        last
    }

    /// No replies will come for these.
    fn give_back(&self, jobs: Vec<Job>) {
        let (asked, kept): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.asker.is_some());
        for job in asked {
            job.answer(Err(AskError::Away));
        }
        let mut state = self.state();
        let lost = state.queue.put_back(kept);
        self.count_loss(&mut state, lost);
    }

    /// Takes a push from the connection; called by its driver.
    fn hear(&self, push: PushInfo) {
        let mut data = push.data.into_iter();
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                if let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                    && !self
                        .ties
                        .feed
                        .message(Bytes::from(channel), Bytes::from(payload))
                {
                    self.reconnect("messages come in faster than they are read");
                }
            }
            // A slot that leaves the server takes its subscriptions with it, and its farewell looks like a reply.
            PushKind::SUnsubscribe => {
                let channel = match data.next() {
                    Some(Value::BulkString(channel)) => channel,
                    _ => Vec::new(),
                };
                if !self.was_leaving(&channel) {
                    self.reconnect("the server gave a slot up");
                    self.ties.doubt.notify_one();
                }
            }
            _ => {}
        }
    }

    fn was_leaving(&self, channel: &[u8]) -> bool {
        let mut leaving = self.leaving();
        let Some(count) = leaving.get_mut(channel) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            leaving.remove(channel);
        }
        true
    }

    fn count_loss(&self, state: &mut State, lost: u64) {
        self.ties.dropped.fetch_add(lost, Ordering::Relaxed);
        if lost > 0 && !std::mem::replace(&mut state.told_loss, true) {
            warn!("too many publications wait for Redis; the oldest are dropped");
        }
    }

    fn reason_to_stop(&self) -> Option<String> {
        match &self.state().order {
            Some(Order::Reconnect(why) | Order::End(why)) => Some(why.clone()),
            None => None,
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

/// Whether each reply can be the job's.
fn in_step(jobs: &[Job], replies: &[Value]) -> bool {
    jobs.len() == replies.len()
        && jobs.iter().zip(replies).all(|(job, reply)| match reply {
            Value::ServerError(_) => true,
            Value::Push { .. } => job.command.subscribes(),
            _ => !job.command.subscribes(),
        })
}

fn backoff(attempt: usize) -> Duration {
    let most = BACKOFF[attempt.min(BACKOFF.len() - 1)];
    // Without a random number the pauses are only less spread.
    let random = u64::from(getrandom::u32().unwrap_or_default());
    Duration::from_millis(most / 2 + random % (most / 2 + 1))
}
