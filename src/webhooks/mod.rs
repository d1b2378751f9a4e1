//! Webhooks: an app's back end is told what happens in its channels, by signed requests to its URLs.
//!
//! # Layout
//!
//! * [`event`]: what can happen, and its form in a request.
//! * [`grace`], [`misses`]: what is held back, or told once for many.
//! * [`queue`]: what one receiver has yet to be told, and when; pure.
//! * [`sender`]: carries a queue out over HTTP.
//! * [`log`]: the last deliveries of each app, to be looked at and sent again by hand.
//!
//! [`Webhooks::emit`] never waits: it takes short locks and queues. One task a receiver sends, and one task an app tells
//! of absences that have lasted. Of what is sent, a channel's events arrive in the order in which they were emitted,
//! except that an absence takes its place when it has lasted: events of the same channel do not wait for it.

mod event;
mod grace;
mod log;
mod misses;
mod queue;
mod sender;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

pub use self::event::Event;
pub use self::log::{Delivery as Attempt, Outcome};

use self::grace::{Absence, Grace};
use self::log::Log;
use self::misses::Misses;
use self::sender::Sender;
use crate::apps::{App, Apps, WebhookEvent, WebhookEvents};

/// Absences told in one go, before others get at the lock.
const AT_ONCE: usize = 64;

/// Times and bounds. The defaults are what a server uses; tests have less patience.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a channel must stay empty, or a user away, to be told of.
    pub grace: Duration,
    /// For how long one miss in a cache channel stands for all.
    pub cache_miss_pause: Duration,
    /// The pause after the first failed attempt; it doubles with each one.
    pub first_retry: Duration,
    /// The longest pause.
    pub longest_retry: Duration,
    /// An event is given up this long after it happened.
    pub give_up: Duration,
    /// How long a receiver may take for its answer.
    pub patience: Duration,
    /// Requests under way to one receiver.
    pub in_flight: usize,
    /// Events that may wait for one receiver.
    pub queue_events: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
}

/// The grace, the five minutes and the growing pauses are Pusher's; SDKs refuse bodies older than five minutes.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            grace: Duration::from_secs(3),
            cache_miss_pause: Duration::from_secs(1),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
            give_up: Duration::from_secs(5 * 60),
            patience: Duration::from_secs(10),
            // A receiver that takes 50 ms then gets 160 a second, and is not flooded after an outage.
            in_flight: 8,
            // An outage of a minute at 160 events a second, and memory that a small machine has.
            queue_events: 10_000,
            queue_bytes: 16 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// The pause after this many failed attempts: half of it fixed, half as `random` says.
    fn backoff(&self, attempts: u32, random: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let longest = self.first_retry.saturating_mul(doubled);
        let half = longest.min(self.longest_retry) / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// What became of the events, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that a receiver took.
    pub delivered: u64,
    /// Requests that failed, to be sent again or not.
    pub failed_attempts: u64,
    /// Events dropped because their receiver failed for too long.
    pub given_up: u64,
    /// Events dropped because their receiver's queue was full.
    pub overflowed: u64,
}

/// The HTTP client for the webhooks cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for the webhooks: {0}")]
pub struct WebhookSetupError(#[from] reqwest::Error);

/// The webhooks of all apps; for an app without any, a look into a map.
pub struct Webhooks {
    sources: HashMap<u32, Arc<Source>>,
}

/// An absence that has lasted here. With other nodes it is told only by who can claim it in Redis.
#[derive(Debug)]
pub struct Lasted {
    /// The app's number.
    pub app: u32,
    /// What is to be told.
    pub event: Event,
}

/// The tasks that deliver. Dropped, they end at once.
pub struct Delivery {
    webhooks: Arc<Webhooks>,
    tasks: JoinSet<()>,
}

impl Webhooks {
    /// Starts the tasks that deliver, for the enabled apps that have webhooks. With other nodes, absences that have lasted
    /// go to `claims`.
    ///
    /// # Errors
    ///
    /// The system's TLS set-up cannot be used.
    pub fn start(
        apps: &Apps,
        settings: &Settings,
        claims: Option<&mpsc::Sender<Lasted>>,
    ) -> Result<(Arc<Webhooks>, Delivery), WebhookSetupError> {
        let mut sources = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut apps = apps
            .iter()
            .filter(|app| app.enabled && !app.webhooks.is_empty())
            .peekable();
        if apps.peek().is_some() {
            let client = client(settings)?;
            for app in apps {
                let source = Arc::new(Source::new(app, &client, settings, claims));
                for sender in &source.senders {
                    tasks.spawn(sender.clone().run());
                }
                tasks.spawn(source.clone().tell_absences());
                sources.insert(app.index, source);
            }
        }
        let webhooks = Arc::new(Webhooks { sources });
        let delivery = Delivery {
            webhooks: webhooks.clone(),
            tasks,
        };
        Ok((webhooks, delivery))
    }

    /// Tells the app's webhooks of an event. Never waits; to be called in the order of the event's channel.
    pub fn emit(&self, app: u32, event: Event) {
        if let Some(source) = self.sources.get(&app) {
            source.take(event);
        }
    }

    /// Tells of an event at once, whatever is held back. With other nodes, where the grace is held in Redis.
    pub fn tell(&self, app: u32, event: &Event) {
        if let Some(source) = self.sources.get(&app) {
            source.tell(event);
        }
    }

    /// Begins the grace of an absence that Redis knows this node to hold. It is told if it lasts, and if it can then be
    /// claimed.
    pub fn hold(&self, app: u32, event: &Event) {
        if let Some(source) = self.sources.get(&app)
            && source.relevant.contains(event.kind())
            && let Some(absence) = Absence::begun_by(event)
        {
            let mut held_back = source.held_back();
            source.hold(&mut held_back, absence, Instant::now());
        }
    }

    /// An absence has ended by a return on any node: if it was held here, it is forgotten.
    pub fn forget(&self, app: u32, event: &Event) {
        if let Some(source) = self.sources.get(&app)
            && let Some(absence) = Absence::ended_by(event)
        {
            source.held_back().grace.cancel(&absence);
        }
    }

    /// Holds nothing back any more: what is held is told, or claimed, at once.
    pub fn end_graces(&self) {
        for source in self.sources.values() {
            source.end_grace();
        }
    }

    /// Whether graces have been ended.
    pub fn is_ending(&self) -> bool {
        let mut sources = self.sources.values();
        sources.any(|source| source.held_back().grace.is_ending())
    }

    /// Whether absences are held back.
    pub fn holds_back(&self) -> bool {
        let mut sources = self.sources.values();
        sources.any(|source| source.held_back().grace.next_due().is_some())
    }

    /// Absences are not told from here any more: other nodes, which go on, find them in Redis.
    pub fn leave_to_others(&self) {
        for source in self.sources.values() {
            source.others_inherit.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the app has webhooks; if not, no event needs to be made.
    pub fn wanted(&self, app: u32) -> bool {
        self.sources.contains_key(&app)
    }

    /// What became of all events so far.
    pub fn totals(&self) -> Totals {
        let each = self.senders().map(Sender::totals);
        each.fold(Totals::default(), |sum, one| Totals {
            delivered: sum.delivered + one.delivered,
            failed_attempts: sum.failed_attempts + one.failed_attempts,
            given_up: sum.given_up + one.given_up,
            overflowed: sum.overflowed + one.overflowed,
        })
    }

    /// The last attempts to deliver to an app's receivers, the newest first.
    pub fn log(&self, app: u32) -> Vec<Arc<Attempt>> {
        let source = self.sources.get(&app);
        source.map_or_else(Vec::new, |source| source.log.newest_first())
    }

    /// Sends the request of an attempt once more: the same body, signed anew, once. `None`: the log has no such attempt.
    /// SDKs that go by the time in a body refuse one of five minutes ago, Python's among them.
    pub async fn replay(&self, app: u32, number: u64) -> Option<Arc<Attempt>> {
        let source = self.sources.get(&app)?;
        let attempt = source.log.get(number)?;
        let sender = source.senders.get(attempt.webhook)?;
        Some(sender.replay(&attempt).await)
    }

    fn senders(&self) -> impl Iterator<Item = &Sender> {
        let sources = self.sources.values();
        sources.flat_map(|source| source.senders.iter().map(Arc::as_ref))
    }
}

impl Delivery {
    /// Delivers what is left, to be called when nothing more is emitted: absences are told at once, and no window and no
    /// pause is waited for. What is not delivered at the deadline is dropped, with a line in the log.
    pub async fn finish(mut self, deadline: Duration) {
        for source in self.webhooks.sources.values() {
            source.end();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(deadline, all).await.is_err() {
            let dropped: usize = self.webhooks.senders().map(Sender::waiting).sum();
            warn!(dropped, "webhooks were not all delivered before the end");
        }
    }
}

fn client(settings: &Settings) -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(settings.patience)
        // A redirect is no 2xx, and a signed body is for the URL that was configured.
        .redirect(Policy::none())
        .pool_max_idle_per_host(settings.in_flight)
        .user_agent(concat!("gema/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// One app: what its receivers have in common.
struct Source {
    /// The app's number.
    app: u32,
    /// With other nodes: where absences go that have lasted.
    claims: Option<mpsc::Sender<Lasted>>,
    /// The server ends, and absences are left to the other nodes.
    others_inherit: AtomicBool,
    /// Events that have to be looked at, which are more than those somebody wants: a return ends an absence.
    relevant: WebhookEvents,
    held_back: Mutex<HeldBack>,
    /// An absence is held, or the server ends.
    wake: Notify,
    senders: Vec<Arc<Sender>>,
    log: Arc<Log>,
}

struct HeldBack {
    grace: Grace,
    misses: Misses,
    ending: bool,
}

impl Source {
    fn new(
        app: &Arc<App>,
        client: &Client,
        settings: &Settings,
        claims: Option<&mpsc::Sender<Lasted>>,
    ) -> Source {
        let wanted = app.webhooks.iter().map(|webhook| webhook.events);
        let log = Arc::new(Log::default());
        Source {
            app: app.index,
            claims: claims.cloned(),
            others_inherit: AtomicBool::new(false),
            relevant: with_opposites(wanted.fold(WebhookEvents::default(), WebhookEvents::union)),
            held_back: Mutex::new(HeldBack {
                grace: Grace::new(settings.grace),
                misses: Misses::new(settings.cache_miss_pause),
                ending: false,
            }),
            wake: Notify::new(),
            senders: Sender::all_of(app, client, settings, &log),
            log,
        }
    }

    fn take(&self, event: Event) {
        if !self.relevant.contains(event.kind()) {
            return;
        }
        let now = Instant::now();
        if let Some(absence) = Absence::begun_by(&event) {
            self.hold(&mut self.held_back(), absence, now);
        } else if let Some(absence) = Absence::ended_by(&event) {
            // Told under the lock, or an absence that is told at this moment could come after the return.
            let mut held_back = self.held_back();
            if !held_back.grace.cancel(&absence) {
                self.tell(&event);
            }
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
    fn tell(&self, event: &Event) {
        let mut json = None;
        for sender in self.senders.iter().filter(|sender| sender.wants(event)) {
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
        // Only now: what was held is in the queues, so that they do not find themselves empty too early.
        for sender in &self.senders {
            sender.end();
        }
    }

    fn end_grace(&self) {
        self.held_back().grace.end();
        self.wake.notify_one();
    }

    fn end(&self) {
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
}

/// With whichever of occupied and vacated, of added and removed, is missing from the pair.
fn with_opposites(events: WebhookEvents) -> WebhookEvents {
    use WebhookEvent::{ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved};
    let pairs = [
        [ChannelOccupied, ChannelVacated],
        [MemberAdded, MemberRemoved],
    ];
    let touched = pairs
        .into_iter()
        .filter(|pair| pair.iter().any(|event| events.contains(*event)));
    events.union(touched.flatten().collect())
}
