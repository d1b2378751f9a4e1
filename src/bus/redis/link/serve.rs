//! What a link's task does while it has a connection: one pipeline after the other, and what the connection says by itself.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Pipeline, PushInfo, PushKind, Value};
use tracing::warn;

use super::{Link, Order};
use crate::bus::redis::command::{AskError, Command, Remedy, remedy, words};
use crate::bus::redis::connect::{Connection, LOST, describe};
use crate::bus::redis::queue::{Job, SETTLE};

/// A link without commands asks this often whether the server is there.
const PROBE: Duration = Duration::from_secs(1);
/// A server that says nothing for this long while it has something to answer is dead.
const PATIENCE: Duration = Duration::from_secs(2);
enum Next {
    Send(Vec<Job>),
    Wait(Option<Instant>),
    Stop(String),
}

impl Link {
    /// Uses a connection until it is of no use; says why it is not.
    pub(super) async fn serve(&self, mut connection: Connection) -> String {
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
    pub(super) fn hear(&self, push: PushInfo) {
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

    fn reason_to_stop(&self) -> Option<String> {
        match &self.state().order {
            Some(Order::Reconnect(why) | Order::End(why)) => Some(why.clone()),
            None => None,
        }
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
