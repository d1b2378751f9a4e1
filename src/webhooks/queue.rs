//! What one receiver has yet to be told, and when: pure, the time comes in and jobs go out.
//!
//! Invariant: of a lane at most one request exists, and what arrived later waits behind it, also while it is tried
//! again. A lane is one channel, so a channel's events arrive in their order and no channel waits for another. With a
//! batching window all channels share one lane, because one request then holds events of many. `lane` is one of them.

mod lane;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gema_protocol::channel::ChannelName;

use self::lane::{Lane, Request, State, Waiting};
use super::{Settings, Totals};

/// Events in one request. As many as keep a receiver that handles them one by one within its ten seconds.
const BATCH_EVENTS: usize = 100;

/// The channel, or `None` for all channels together.
type LaneName = Option<ChannelName>;

/// The events for one receiver.
pub(super) struct Queue {
    settings: Settings,
    batch: Duration,
    lanes: HashMap<LaneName, Lane>,
    ready: VecDeque<LaneName>,
    /// When parked lanes are due; entries of lanes that were woken earlier stay until their time.
    alarms: BinaryHeap<Reverse<(Instant, LaneName)>>,
    events: usize,
    bytes: usize,
    sending: usize,
    ending: bool,
    overflow: Option<u64>,
    trouble: Option<Trouble>,
    /// The last attempt brought no answer at all.
    silent: bool,
    notes: Vec<Note>,
    totals: Totals,
}

/// The time from the first failure until nothing is left to be tried again.
struct Trouble {
    retrying: usize,
    given_up: u64,
    /// Said again when this many events are given up: twice as many as last time, so that a long outage is no flood.
    next_note: u64,
}

/// What the log is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// An attempt failed, the first in a while.
    Failing { reason: String },
    /// So many events of this outage were given up.
    GivenUp { events: u64 },
    /// All is delivered again, but for what was given up.
    Recovered { given_up: u64 },
    /// There is no room for more events.
    Full,
    /// There is again; so many found none.
    RoomAgain { lost: u64 },
}

/// What the sender does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this, and report with [`Queue::delivered`] or [`Queue::failed`].
    Send(Job),
    /// Nothing to do until then, or until something is pushed or reported.
    Wait(Option<Instant>),
    /// All is settled and the server ends.
    End,
}

/// One attempt to deliver.
#[derive(Debug)]
pub(super) struct Job {
    lane: LaneName,
    /// What to send.
    pub(super) body: Bytes,
}

/// Why an attempt failed.
pub(super) struct Failure {
    /// For the log.
    pub(super) reason: String,
    /// Whether the receiver said anything at all.
    pub(super) answered: bool,
}

impl Queue {
    pub(super) fn new(settings: Settings, batch: Duration) -> Queue {
        Queue {
            settings,
            batch,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            alarms: BinaryHeap::new(),
            events: 0,
            bytes: 0,
            sending: 0,
            ending: false,
            overflow: None,
            trouble: None,
            silent: false,
            notes: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Takes an event that happened now, unless the queue is full. True: the sender has something to see to.
    pub(super) fn push(
        &mut self,
        channel: &ChannelName,
        json: Arc<str>,
        now: Instant,
        time_ms: u64,
    ) -> bool {
        let full = self.events >= self.settings.queue_events
            || self.bytes + json.len() > self.settings.queue_bytes;
        if full {
            self.totals.overflowed += 1;
            if self.overflow.is_none() {
                self.notes.push(Note::Full);
            }
            let lost = self.overflow.get_or_insert(0);
            *lost += 1;
            return *lost == 1;
        }
        self.events += 1;
        self.bytes += json.len();
        let event = Waiting {
            json,
            happened: now,
            time_ms,
        };
        let name = self.batch.is_zero().then(|| channel.clone());
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.waiting.push_back(event);
            let is_collecting = lane.request.is_none() && matches!(lane.state, State::Parked(_));
            if !is_collecting || lane.waiting.len() < BATCH_EVENTS {
                return false;
            }
            lane.state = State::Ready;
            self.ready.push_back(name);
            return true;
        }
        let lane = Lane {
            waiting: VecDeque::from([event]),
            request: None,
            state: State::Ready,
        };
        self.lanes.insert(name.clone(), lane);
        self.arm(name, now);
        true
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        while let Some(Reverse((due, name))) = self.alarms.peek()
            && *due <= now
        {
            if let Some(lane) = self.lanes.get_mut(name)
                && lane.state == State::Parked(*due)
            {
                lane.state = State::Ready;
                self.ready.push_back(name.clone());
            }
            self.alarms.pop();
        }
        let most = if self.batch.is_zero() {
            1
        } else {
            BATCH_EVENTS
        };
        while let Some(name) = self.ready.pop_front() {
            if self.silent {
                self.give_up_on_old(&name, now);
            }
            if let Some(lane) = self.lanes.get_mut(&name)
                && let Some(body) = lane.body(most)
            {
                lane.state = State::Sending;
                self.sending += 1;
                return Next::Send(Job { lane: name, body });
            }
            self.lanes.remove(&name);
        }
        if self.ending && self.lanes.is_empty() {
            return Next::End;
        }
        Next::Wait(self.alarms.peek().map(|Reverse((due, _))| *due))
    }

    /// The receiver took the job.
    pub(super) fn delivered(&mut self, job: Job, now: Instant) {
        self.sending -= 1;
        self.silent = false;
        let Some(request) = self.settle(&job.lane) else {
            return;
        };
        self.totals.delivered += request.events as u64;
        if let Some(trouble) = &mut self.trouble {
            trouble.retrying -= usize::from(request.attempts > 0);
            if trouble.retrying == 0 {
                let given_up = trouble.given_up;
                self.notes.push(Note::Recovered { given_up });
                self.trouble = None;
            }
        }
        self.arm(job.lane, now);
    }

    /// The attempt failed; the same request is tried again later, or given up. `random` is any number.
    pub(super) fn failed(&mut self, job: Job, failure: Failure, random: u32, now: Instant) {
        self.sending -= 1;
        self.silent = !failure.answered;
        self.totals.failed_attempts += 1;
        if self.trouble.is_none() {
            let reason = failure.reason;
            self.notes.push(Note::Failing { reason });
        }
        let trouble = self.trouble.get_or_insert(Trouble {
            retrying: 0,
            given_up: 0,
            next_note: 1,
        });
        let Some(lane) = self.lanes.get_mut(&job.lane) else {
            return;
        };
        let Some(request) = &mut lane.request else {
            return;
        };
        request.attempts += 1;
        trouble.retrying += usize::from(request.attempts == 1);
        let last = request.happened + self.settings.give_up;
        if now < last {
            let due = last.min(now + self.settings.backoff(request.attempts, random));
            lane.state = State::Parked(due);
            self.alarms.push(Reverse((due, job.lane)));
            return;
        }
        if let Some(request) = self.settle(&job.lane) {
            self.give_up(request.events, 1);
        }
        self.arm(job.lane, now);
    }

    /// The server ends: no window and no pause is waited for, and [`Next::End`] comes when nothing is left.
    pub(super) fn end(&mut self) {
        self.ending = true;
        for (name, lane) in &mut self.lanes {
            if matches!(lane.state, State::Parked(_)) {
                lane.state = State::Ready;
                self.ready.push_back(name.clone());
            }
        }
    }

    /// Nothing more is begun: [`Next::End`] comes once the requests under way have ended. Gives the number of events that were
    /// dropped; those of the requests under way are among them, though the receiver may still take them.
    pub(super) fn give_up_all(&mut self) -> usize {
        self.ending = true;
        self.lanes.clear();
        self.bytes = 0;
        let dropped = std::mem::take(&mut self.events);
        self.totals.given_up += dropped as u64;
        dropped
    }

    /// Events that are neither delivered nor given up.
    pub(super) fn len(&self) -> usize {
        self.events
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// What there is to log since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Puts a lane that has no request where it belongs: ready, waiting for its window to close, or gone.
    fn arm(&mut self, name: LaneName, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&name) else {
            return;
        };
        let Some(first) = lane.waiting.front() else {
            self.lanes.remove(&name);
            return;
        };
        let due = first.happened + self.batch;
        if due <= now || self.ending || lane.waiting.len() >= BATCH_EVENTS {
            lane.state = State::Ready;
            self.ready.push_back(name);
        } else {
            lane.state = State::Parked(due);
            self.alarms.push(Reverse((due, name)));
        }
    }

    /// Takes the lane's request out, and with it what it held of the queue's room.
    fn settle(&mut self, name: &LaneName) -> Option<Request> {
        let request = self.lanes.get_mut(name)?.request.take()?;
        self.make_room(request.events, request.bytes);
        Some(request)
    }

    /// While a receiver does not answer at all, every attempt costs the whole patience. What is too old then is given up
    /// without another one; else a receiver that was dead for an hour would get the oldest events, and lose the newest.
    fn give_up_on_old(&mut self, name: &LaneName, now: Instant) {
        let give_up = self.settings.give_up;
        let is_old = |happened: Instant| happened + give_up <= now;
        let mut events = 0;
        let mut retried = 0;
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        let request = lane.request.take_if(|request| is_old(request.happened));
        let mut bytes = 0;
        if let Some(request) = request {
            (events, bytes, retried) = (request.events, request.bytes, 1);
        }
        while lane.request.is_none()
            && let Some(event) = lane.waiting.pop_front_if(|event| is_old(event.happened))
        {
            events += 1;
            bytes += event.json.len();
        }
        if events > 0 {
            self.make_room(events, bytes);
            self.give_up(events, retried);
        }
    }

    /// Counts events that are given up, and `requests` that are tried no more.
    fn give_up(&mut self, events: usize, requests: usize) {
        self.totals.given_up += events as u64;
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        trouble.retrying -= requests;
        trouble.given_up += events as u64;
        if trouble.given_up >= trouble.next_note {
            trouble.next_note = trouble.given_up * 2;
            let events = trouble.given_up;
            self.notes.push(Note::GivenUp { events });
        }
    }

    fn make_room(&mut self, events: usize, bytes: usize) {
        self.events -= events;
        self.bytes -= bytes;
        // Said at half only: at the brim every delivery would end one overflow and begin the next.
        let settings = &self.settings;
        if self.events <= settings.queue_events / 2
            && self.bytes <= settings.queue_bytes / 2
            && let Some(lost) = self.overflow.take()
        {
            self.notes.push(Note::RoomAgain { lost });
        }
    }
}

#[cfg(test)]
mod tests;
