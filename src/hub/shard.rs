//! A shard: one task that owns its connections and their subscriptions without locks, and is the only
//! writer of their sockets. Everyone else sends it [`Command`]s.
//!
//! A publish puts the shared frame on each subscriber's outbox and lists that connection as [`dirty`](super::dirty).
//! Dirty connections are flushed a few at a time; what arrives in between joins sockets not flushed yet.
//! So an idle server writes at once and a busy one writes many frames by one call, without any timer.

use std::collections::HashMap;
use std::time::Duration;

use ahash::RandomState;
use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use gema_protocol::liveness::Tick;
use slab::Slab;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::debug;

use super::command::Command;
use super::connection::{Connection, Phase};
use super::dirty::{Dirty, Lane};
use super::draining::Draining;
use super::inspect;
use super::outbox::Flush;
use super::pool::{FrameNumber, Pool};
use super::subscribers::Subscribers;
use super::{ConnectionId, Farewell, Report, Settings, Topic};
use crate::clock;

/// Commands applied before sockets are looked at.
const BATCH: usize = 256;

/// Sockets written before new commands are looked at. 32 writes are about 50 us; with 512 the other
/// sockets of a saturated shard waited 5 ms.
const FLUSH: usize = 32;

/// Subscribers of a channel in one shard up to which its events are written before those of larger ones: no more than are
/// written between two looks at new commands.
const FEW: usize = FLUSH;

/// How often a tenth of the connections is looked at for silence and deadlines. The shard keeps its own time:
/// under load a command could wait behind all others.
const TICK: Duration = Duration::from_millis(100);

/// A tick looks at one part in this many of the connections.
const SLICES: usize = 10;

/// Pusher's words.
const NOT_AUTHORIZED: &str = "Connection not authorized within timeout";

#[derive(Debug)]
pub(super) struct Shard {
    settings: Settings,
    connections: Slab<Connection>,
    indexes: HashMap<ConnectionId, u32, RandomState>,
    subscribers: Subscribers,
    pool: Pool,
    dirty: Dirty,
    /// Where the next tick goes on.
    cursor: usize,
    draining: Option<Draining>,
    /// Apps of which nobody may stay. Who does is found as the ticks go round, so that a hundred thousand are not closed in
    /// one go.
    closed_apps: HashMap<u32, Farewell, RandomState>,
    /// `outbox_bytes` is left zero: it is summed up when somebody asks.
    done: Report,
    /// For the tasks that wait until a socket is writable.
    inbox: mpsc::WeakSender<Command>,
}

impl Shard {
    pub(super) fn new(settings: Settings, inbox: mpsc::WeakSender<Command>) -> Shard {
        Shard {
            settings,
            connections: Slab::new(),
            indexes: HashMap::default(),
            subscribers: Subscribers::default(),
            pool: Pool::default(),
            dirty: Dirty::default(),
            cursor: 0,
            draining: None,
            closed_apps: HashMap::default(),
            done: Report::default(),
            inbox,
        }
    }

    /// Works until the hub is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticked_ms = 0;
        loop {
            tokio::select! {
                received = inbox.recv_many(&mut batch, BATCH) => if received == 0 {
                    return;
                },
                _ = ticks.tick() => {}
            }
            loop {
                let now_ms = clock::now_ms();
                if now_ms >= ticked_ms + TICK.as_millis() as u64 {
                    ticked_ms = now_ms;
                    self.tick(now_ms);
                }
                for command in batch.drain(..) {
                    self.apply(command);
                }
                for _ in 0..FLUSH {
                    let Some((index, lane)) = self.dirty.next() else {
                        break;
                    };
                    // It may have been removed since it was listed.
                    if let Some(connection) = self.connections.get_mut(index as usize) {
                        connection.listed.take_turn(lane);
                        self.flush(index);
                    }
                }
                if self.dirty.is_empty() && inbox.is_empty() {
                    break;
                }
                tokio::task::yield_now().await;
                while batch.len() < BATCH {
                    match inbox.try_recv() {
                        Ok(command) => batch.push(command),
                        Err(_) => break,
                    }
                }
            }
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Add {
                id,
                app,
                link,
                hello,
                patience,
            } => self.add(Connection::new(id, app, link, patience), hello),
            Command::Authorized { id } => {
                if let Some(index) = self.index(id) {
                    self.connections[index as usize].authorize_by_ms = None;
                }
            }
            Command::Remove { id, code } => self.remove(id, code),
            Command::Subscribe { id, topic, ack } => {
                if let Some(index) = self.index(id) {
                    self.push_one(index, ack);
                    self.subscribers.add(topic, index);
                }
            }
            Command::Unsubscribe { id, topic } => {
                if let Some(index) = self.index(id) {
                    self.subscribers.remove(&topic, index);
                }
            }
            Command::Publish {
                topic,
                frame,
                except,
            } => self.publish(&topic, frame, except),
            Command::Send { id, frame } => {
                if let Some(index) = self.index(id) {
                    self.push_one(index, frame);
                }
            }
            Command::Close { id, farewell } => {
                if let Some(index) = self.index(id) {
                    self.close(index, &farewell);
                }
            }
            Command::Writable { id } => {
                if let Some(index) = self.index(id) {
                    self.connections[index as usize].blocked = false;
                    self.mark(index);
                }
            }
            Command::Drain { farewell, grace } => {
                let (now_ms, connections) = (clock::now_ms(), self.connections.len());
                self.draining = Some(Draining::new(farewell, grace, now_ms, connections));
            }
            Command::CloseApp { app, farewell } => drop(self.closed_apps.insert(app, farewell)),
            Command::ReopenApp { app } => drop(self.closed_apps.remove(&app)),
            // Who asked may have given up.
            Command::Inspect { report } => drop(report.send(self.report())),
            Command::Search {
                search,
                from,
                found,
            } => {
                let seen = inspect::search(&self.connections, &self.subscribers, &search, from);
                drop(found.send(seen));
            }
            Command::Show { id, seen } => {
                let index = self.index(id);
                let show = |index| inspect::show(&self.connections, &self.subscribers, index);
                drop(seen.send(index.and_then(show)));
            }
        }
    }

    fn index(&self, id: ConnectionId) -> Option<u32> {
        self.indexes.get(&id).copied()
    }

    fn add(&mut self, connection: Connection, hello: Frame) {
        let id = connection.id;
        // Bounded by the file descriptors of the process, far below 2^32.
        let index = self.connections.insert(connection) as u32;
        self.indexes.insert(id, index);
        self.done.connected += 1;
        self.push_one(index, hello);
        // One that slipped in while the listener was closing.
        if let Some(draining) = &self.draining {
            let farewell = draining.farewell.clone();
            self.close(index, &farewell);
        }
    }

    fn remove(&mut self, id: ConnectionId, code: Option<oneshot::Sender<u16>>) {
        if let Some(index) = self.indexes.remove(&id) {
            self.subscribers.forget(index);
            let mut connection = self.connections.remove(index as usize);
            self.done.count_end(connection.code());
            if let Some(code) = code {
                // Who asked may have given up.
                code.send(connection.code()).ok();
            }
            connection.outbox.clear(&mut self.pool);
        }
    }

    fn report(&self) -> Report {
        let connections = self.connections.iter();
        let unsent = connections.map(|(_, connection)| connection.outbox.bytes(&connection.link));
        Report {
            outbox_bytes: unsent.sum::<usize>() as u64,
            ..self.done.clone()
        }
    }

    fn publish(&mut self, topic: &Topic, frame: Frame, except: Option<ConnectionId>) {
        let bytes = frame.len();
        let number = self.pool.insert(frame);
        let mut over = Vec::new();
        let subscribers = self.subscribers.of(topic);
        let lane = match subscribers.len() {
            ..=FEW => Lane::Prompt,
            _ => Lane::Bulk,
        };
        for index in subscribers {
            let connection = &mut self.connections[index as usize];
            if connection.phase != Phase::Open || except == Some(connection.id) {
                continue;
            }
            if connection.outbox.bytes(&connection.link) + bytes > self.settings.outbox_bytes {
                over.push(index);
                continue;
            }
            connection.outbox.push(&mut self.pool, number);
            if !connection.blocked {
                self.dirty.list(index, &mut connection.listed, lane);
            }
        }
        for index in over {
            self.push_over(index, number);
        }
        self.pool.release(number);
    }

    fn push_one(&mut self, index: u32, frame: Frame) {
        let connection = &mut self.connections[index as usize];
        if connection.phase != Phase::Open {
            return;
        }
        let bytes = connection.outbox.bytes(&connection.link) + frame.len();
        let number = self.pool.insert(frame);
        if bytes > self.settings.outbox_bytes {
            self.push_over(index, number);
        } else {
            connection.outbox.push(&mut self.pool, number);
            self.mark(index);
        }
        self.pool.release(number);
    }

    /// A frame for an outbox that is full. It may be full only because this batch has not been flushed:
    /// then writing makes room. Otherwise the peer reads too slowly and the connection ends.
    fn push_over(&mut self, index: u32, number: FrameNumber) {
        self.flush(index);
        let connection = &mut self.connections[index as usize];
        if connection.phase != Phase::Open {
            return;
        }
        let unsent = connection.outbox.bytes(&connection.link);
        if unsent == 0 || unsent + self.pool.bytes(number).len() <= self.settings.outbox_bytes {
            connection.outbox.push(&mut self.pool, number);
            self.mark(index);
            return;
        }
        debug!(connection = connection.id.0, unsent, "slow consumer closed");
        self.done.slow_consumers += 1;
        connection.outbox.cut(&connection.link, &mut self.pool);
        self.close(index, &Farewell::of(Code::OverCapacity));
    }

    fn close(&mut self, index: u32, farewell: &Farewell) {
        let connection = &mut self.connections[index as usize];
        if connection.phase != Phase::Open {
            return;
        }
        for frame in farewell.error.iter().chain([&farewell.close]) {
            let number = self.pool.insert(frame.clone());
            connection.outbox.push(&mut self.pool, number);
            self.pool.release(number);
        }
        connection.begin_closing(farewell.code());
        self.mark(index);
    }

    /// Lists a connection that has been given something of its own.
    fn mark(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if !connection.blocked {
            self.dirty.list(index, &mut connection.listed, Lane::Prompt);
        }
    }

    fn flush(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.blocked || matches!(connection.phase, Phase::Severed { .. }) {
            return;
        }
        let (frames, bytes) = connection.outbox.unwritten();
        let flushed = connection.outbox.flush(&connection.link, &mut self.pool);
        let (frames_left, bytes_left) = connection.outbox.unwritten();
        self.done.sent += (frames - frames_left) as u64;
        self.done.sent_bytes += (bytes - bytes_left) as u64;
        match flushed {
            Flush::Drained => connection.drained(),
            Flush::Blocked => connection.wait_writable(&self.inbox),
            Flush::Broken => connection.sever(&mut self.pool),
        }
    }

    /// Looks at a slice of the connections: who is silent, whose farewell has lasted too long, who goes next.
    fn tick(&mut self, now_ms: u64) {
        self.drain_some(now_ms);
        let slice = self.connections.capacity().div_ceil(SLICES);
        let end = self.cursor + slice;
        for index in self.cursor..end {
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            match connection.phase {
                Phase::Severed { .. } => {}
                Phase::Closing { until_ms, .. } if now_ms >= until_ms => {
                    connection.sever(&mut self.pool);
                }
                Phase::Closing { .. } => {}
                Phase::Open => self.check_open(index as u32, now_ms),
            }
        }
        self.cursor = if end >= self.connections.capacity() {
            0
        } else {
            end
        };
    }

    /// Whose app is closed, who has not shown in time who it is, or is silent.
    fn check_open(&mut self, index: u32, now_ms: u64) {
        let connection = &mut self.connections[index as usize];
        if let Some(farewell) = self.closed_apps.get(&connection.app) {
            let farewell = farewell.clone();
            return self.close(index, &farewell);
        }
        if connection.authorize_by_ms.is_some_and(|by| now_ms >= by) {
            let farewell = Farewell::with(Code::Unauthorized, NOT_AUTHORIZED);
            return self.close(index, &farewell);
        }
        let heard_ms = connection.link.heard_ms();
        let tick = self
            .settings
            .liveness
            .on_tick(now_ms, heard_ms, connection.pinged_ms);
        match tick {
            Tick::Nothing => {}
            Tick::Ping => {
                connection.pinged_ms = Some(now_ms);
                self.push_one(index, Frame::ping());
            }
            Tick::Dead => self.close(index, &Farewell::of(Code::PongTimeout)),
        }
    }

    /// Closes as many connections as the grace period that has passed asks for.
    fn drain_some(&mut self, now_ms: u64) {
        let Some(draining) = &self.draining else {
            return;
        };
        let left = draining.may_stay(now_ms);
        let farewell = draining.farewell.clone();
        let open: Vec<u32> = self
            .connections
            .iter()
            .filter_map(|(index, connection)| {
                (connection.phase == Phase::Open).then_some(index as u32)
            })
            .collect();
        for index in open.iter().skip(left) {
            self.close(*index, &farewell);
        }
    }
}
