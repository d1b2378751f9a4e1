//! The webhooks of one app: what happens in its channels passes the grace and lands in the queue of each receiver that wants
//! it. A source begins with its app's first webhook, and ends with the last once all is delivered or given up; the receivers come
//! and go meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use reqwest::Client;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::event::Event;
use super::grace::{Absence, Grace};
use super::log::{Delivery, Log};
use super::misses::Misses;
use super::receivers::Receivers;
use super::sender::Sender;
use super::{Lasted, Settings, Totals};
use crate::apps::App;

/// Absences told in one go, before others get at the lock.
const AT_ONCE: usize = 64;

/// One app: what its receivers have in common.
pub(super) struct Source {
    /// The app's number.
    app: u32,
    settings: Settings,
    client: Client,
    /// With other nodes: where absences go that have lasted.
    claims: Option<mpsc::Sender<Lasted>>,
    /// The server ends, and absences are left to the other nodes.
    others_inherit: AtomicBool,
    held_back: Mutex<HeldBack>,
    /// An absence is held, or the server ends.
    wake: Notify,
    receivers: RwLock<Receivers>,
    /// Some are new.
    renewed: Notify,
    log: Arc<Log>,
}

struct HeldBack {
    grace: Grace,
    misses: Misses,
    ending: bool,
}

impl Source {
    pub(super) fn new(
        app: &Arc<App>,
        client: &Client,
        settings: &Settings,
        claims: Option<&mpsc::Sender<Lasted>>,
    ) -> Source {
        let source = Source {
            app: app.index,
            settings: *settings,
            client: client.clone(),
            claims: claims.cloned(),
            others_inherit: AtomicBool::new(false),
            held_back: Mutex::new(HeldBack {
                grace: Grace::new(settings.grace),
                misses: Misses::new(settings.cache_miss_pause),
                ending: false,
            }),
            wake: Notify::new(),
            receivers: RwLock::default(),
            renewed: Notify::new(),
            log: Arc::default(),
        };
        source.renew(app);
        source
    }

    /// From now on the receivers of this app's list are told, and requests are signed with its key and secret. A receiver that
    /// stays as it was keeps what waits for it; one that is named no more is given that, and nothing after it.
    pub(super) fn renew(&self, app: &Arc<App>) {
        self.receivers_mut().renew(app, |webhook, number, place| {
            Sender::new(
                app,
                webhook,
                (number, place),
                &self.client,
                &self.settings,
                &self.log,
            )
        });
        self.renewed.notify_one();
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// As [`Webhooks::replay`](super::Webhooks::replay).
    pub(super) async fn replay(&self, number: u64) -> Option<Arc<Delivery>> {
        let attempt = self.log.get(number)?;
        let sender = self.receivers().numbered(attempt.sender)?.clone();
        Some(sender.replay(&attempt).await)
    }

    pub(super) fn take(&self, event: Event) {
        let concerns = self.receivers().concerns(event.kind());
        if let Some(absence) = Absence::ended_by(&event) {
            // Told under the lock, or an absence that is told at this moment could come after the return. An absence that was
            // held ends whatever the list names now: it may name such events again before that absence has lasted.
            let mut held_back = self.held_back();
            if !held_back.grace.cancel(&absence) && concerns {
                self.tell(&event);
            }
            return;
        }
        if !concerns {
            return;
        }
        let now = Instant::now();
        if let Some(absence) = Absence::begun_by(&event) {
            self.hold(&mut self.held_back(), absence, now);
        } else if let Event::CacheMiss { channel } = &event {
            if self.held_back().misses.is_first(channel, now) {
                self.tell(&event);
            }
        } else {
            self.tell(&event);
        }
    }

    fn hold(&self, held_back: &mut HeldBack, absence: Absence, now: Instant) {
        let was_empty = held_back.grace.next_due().is_none();
        held_back.grace.hold(absence, now);
        // Usually nothing has lasted yet that the task has not told; there is something without room or grace.
        self.tell_some(&mut held_back.grace, now);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// Queues the event for every receiver that wants it.
    pub(super) fn tell(&self, event: &Event) {
        let mut json = None;
        let receivers = self.receivers();
        for sender in receivers.named().iter().filter(|one| one.wants(event)) {
            let json = json.get_or_insert_with(|| event.to_json());
            sender.push(event, json.clone());
        }
    }

    /// Tells of absences that have lasted, of [`AT_ONCE`] at most.
    fn tell_some(&self, grace: &mut Grace, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some(absence) = grace.release(now) else {
                return;
            };
            match &self.claims {
                None => self.tell(&absence.into_event()),
                // The others, who live on, inherit what they find.
                Some(_) if self.others_inherit.load(Ordering::Relaxed) => {}
                Some(claims) => match claims.try_reserve() {
                    Ok(place) => place.send(Lasted {
                        app: self.app,
                        event: absence.into_event(),
                    }),
                    // Another grace, after which there will be room.
                    Err(TrySendError::Full(())) => grace.hold(absence, now),
                    // Nobody claims any more.
                    Err(TrySendError::Closed(())) => self.tell(&absence.into_event()),
                },
            }
        }
    }

    /// Begins the grace of an absence that Redis holds, if somebody wants to know.
    pub(super) fn hold_claimable(&self, event: &Event) {
        let is_relevant = self.receivers().concerns(event.kind());
        if is_relevant && let Some(absence) = Absence::begun_by(event) {
            self.hold(&mut self.held_back(), absence, Instant::now());
        }
    }

    /// A return on any node: an absence held here is forgotten.
    pub(super) fn forget(&self, event: &Event) {
        if let Some(absence) = Absence::ended_by(event) {
            self.held_back().grace.cancel(&absence);
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.held_back().grace.is_ending()
    }

    pub(super) fn holds_back(&self) -> bool {
        self.held_back().grace.next_due().is_some()
    }

    /// Absences are not told from here any more.
    pub(super) fn leave_to_others(&self) {
        self.others_inherit.store(true, Ordering::Relaxed);
    }

    /// Events that are neither delivered nor given up.
    pub(super) fn waiting(&self) -> usize {
        self.receivers().waiting()
    }

    pub(super) fn totals(&self) -> Totals {
        self.receivers().totals()
    }

    /// Delivers until the end, in a task for each receiver; dropped, they end at once.
    pub(super) async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        let absences = self.clone().tell_absences();
        let mut absences = std::pin::pin!(absences);
        let mut is_ending = false;
        loop {
            let new = self.receivers_mut().take_new();
            for sender in new {
                tasks.spawn(sender.run());
            }
            if is_ending && tasks.is_empty() {
                return;
            }
            tokio::select! {
                () = &mut absences, if !is_ending => {
                    // Only now: what was held is in the queues, so that they do not find themselves empty too early.
                    self.receivers_mut().end();
                    is_ending = true;
                }
                Some(_) = tasks.join_next() => self.receivers_mut().settle(),
                () = self.renewed.notified() => {}
            }
        }
    }

    /// Tells of absences when they have lasted, until the end.
    async fn tell_absences(self: Arc<Self>) {
        loop {
            let (due, ending, hurry) = {
                let mut held_back = self.held_back();
                let now = Instant::now();
                self.tell_some(&mut held_back.grace, now);
                let hurry = held_back.grace.is_ending();
                (held_back.grace.next_due(), held_back.ending, hurry)
            };
            match due {
                None if ending => break,
                None => self.wake.notified().await,
                // More than fits in one go: let others at the lock in between.
                Some(_) if hurry => tokio::task::yield_now().await,
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => {}
                        () = self.wake.notified() => {}
                    }
                }
            }
        }
    }

    pub(super) fn end_grace(&self) {
        self.held_back().grace.end();
        self.wake.notify_one();
    }

    /// What is held is told at once, no window and no pause is waited for, and [`Source::run`] returns when nothing is left.
    pub(super) fn end(&self) {
        let mut held_back = self.held_back();
        held_back.grace.end();
        held_back.ending = true;
        drop(held_back);
        self.wake.notify_one();
    }

    fn held_back(&self) -> MutexGuard<'_, HeldBack> {
        // As with the queues: what others wait for goes on after a mistake of ours.
        self.held_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn receivers(&self) -> RwLockReadGuard<'_, Receivers> {
        self.receivers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn receivers_mut(&self) -> RwLockWriteGuard<'_, Receivers> {
        self.receivers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
