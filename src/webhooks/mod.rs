//! Webhooks: an app's back end is told what happens in its channels, by signed requests to its URLs.
//!
//! # Layout
//!
//! * [`event`]: what can happen, and its form in a request.
//! * [`grace`], [`misses`]: what is held back, or told once for many.
//! * [`queue`]: what one receiver has yet to be told, and when; pure.
//! * [`sender`]: carries a queue out over HTTP. [`receivers`]: those of one app, whose list may change.
//! * [`source`]: one app: what is held back, and whom it is told to.
//! * [`log`]: the last deliveries of each app, to be looked at and sent again by hand.
//! * [`settings`]: times and bounds.
//!
//! [`Webhooks::emit`] never waits: it takes short locks and queues. One task a receiver sends, and one task an app tells
//! of absences that have lasted. Of what is sent, a channel's events arrive in the order in which they were emitted,
//! except that an absence takes its place when it has lasted: events of the same channel do not wait for it.

mod event;
mod grace;
mod log;
mod misses;
mod queue;
mod receivers;
mod sender;
mod settings;
mod source;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::warn;

pub use self::event::Event;
pub use self::log::{Delivery as Attempt, Outcome};
pub use self::settings::Settings;

use self::source::Source;
use crate::apps::{App, Apps, PerApp};

/// Sources that end at a time. Each has what waits for it and a task, for the five minutes of [`Settings::give_up`] at most;
/// apps that come and go every few seconds, of receivers that do not answer, come to this.
const MOST_ENDING: usize = 256;

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

/// The webhooks of all apps; for an app that never had any, a look into a table.
pub struct Webhooks {
    settings: Settings,
    /// With other nodes: where absences go that have lasted.
    claims: Option<mpsc::Sender<Lasted>>,
    /// Made for the first app that has webhooks.
    client: OnceLock<Client>,
    sources: PerApp<Slot>,
    running: Mutex<Running>,
}

/// An app's source and its task, if it has webhooks now.
type Slot = RwLock<Option<(Arc<Source>, AbortHandle)>>;

/// The tasks, one a source, and what is left of those that end.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    /// The oldest first.
    ending: VecDeque<(Arc<Source>, AbortHandle)>,
    /// Of those that have ended.
    past: Totals,
    /// The server ends: nothing is begun any more.
    closed: bool,
}

/// An absence that has lasted here. With other nodes it is told only by who can claim it in Redis.
#[derive(Debug)]
pub struct Lasted {
    /// The app's number.
    pub app: u32,
    /// What is to be told.
    pub event: Event,
}

/// The end of the tasks that deliver. Dropped, they end at once.
pub struct Delivery {
    webhooks: Arc<Webhooks>,
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
        let webhooks = Arc::new(Webhooks {
            settings: *settings,
            claims: claims.cloned(),
            client: OnceLock::new(),
            sources: PerApp::default(),
            running: Mutex::default(),
        });
        for app in apps.all() {
            webhooks.set(&app)?;
        }
        let delivery = Delivery {
            webhooks: webhooks.clone(),
        };
        Ok((webhooks, delivery))
    }

    /// Tells this app's receivers from now on, and signs as it does. Those that stay as they were keep what waits for them and
    /// its order; the others get what waits for them.
    ///
    /// # Errors
    ///
    /// The system's TLS set-up cannot be used; nothing has changed.
    pub fn set(self: &Arc<Self>, app: &Arc<App>) -> Result<(), WebhookSetupError> {
        if !app.enabled || app.webhooks.is_empty() {
            self.retire(app.index);
            return Ok(());
        }
        if let Some(source) = self.source(app.index) {
            source.renew(app);
            return Ok(());
        }
        let client = self.client()?;
        let source = Source::new(app, client, &self.settings, self.claims.as_ref());
        self.put(app.index, Some(Arc::new(source)));
        Ok(())
    }

    /// Whether other nodes tell the same receivers.
    pub fn are_shared(&self) -> bool {
        self.claims.is_some()
    }

    /// The app has no webhooks any more. What waits for its receivers is still delivered, absences are told at once, and
    /// what fails is tried again for as long as ever; then the tasks end.
    pub fn retire(self: &Arc<Self>, app: u32) {
        if self.wanted(app) {
            self.put(app, None);
        }
    }

    /// Tells the app's webhooks of an event. Never waits; to be called in the order of the event's channel.
    pub fn emit(&self, app: u32, event: Event) {
        if let Some(source) = self.source(app) {
            source.take(event);
        }
    }

    /// Tells of an event at once, whatever is held back. With other nodes, where the grace is held in Redis.
    pub fn tell(&self, app: u32, event: &Event) {
        if let Some(source) = self.source(app) {
            source.tell(event);
        }
    }

    /// Begins the grace of an absence that Redis knows this node to hold. It is told if it lasts, and if it can then be
    /// claimed.
    pub fn hold(&self, app: u32, event: &Event) {
        if let Some(source) = self.source(app) {
            source.hold_claimable(event);
        }
    }

    /// An absence has ended by a return on any node: if it was held here, it is forgotten.
    pub fn forget(&self, app: u32, event: &Event) {
        if let Some(source) = self.source(app) {
            source.forget(event);
        }
    }

    /// Holds nothing back any more: what is held is told, or claimed, at once.
    pub fn end_graces(&self) {
        for source in self.live() {
            source.end_grace();
        }
    }

    /// Whether graces have been ended.
    pub fn is_ending(&self) -> bool {
        self.live().any(|source| source.is_ending())
    }

    /// Whether absences are held back.
    pub fn holds_back(&self) -> bool {
        self.live().any(|source| source.holds_back())
    }

    /// Absences are not told from here any more: other nodes, which go on, find them in Redis.
    pub fn leave_to_others(&self) {
        for source in self.live() {
            source.leave_to_others();
        }
    }

    /// Whether the app has webhooks; if not, no event needs to be made.
    pub fn wanted(&self, app: u32) -> bool {
        let slot = self.sources.get(app);
        slot.is_some_and(|slot| read(slot).is_some())
    }

    /// What became of all events so far.
    pub fn totals(&self) -> Totals {
        let running = self.running();
        let ending = running.ending.iter().map(|(source, _)| source.totals());
        let live = self.live().map(|source| source.totals());
        ending.chain(live).fold(running.past, Totals::and)
    }

    /// The last attempts to deliver to an app's receivers, the newest first.
    pub fn log(&self, app: u32) -> Vec<Arc<Attempt>> {
        let source = self.source(app);
        source.map_or_else(Vec::new, |source| source.log().newest_first())
    }

    /// Sends the request of an attempt once more: the same body, signed anew, once. `None`: the log has no such attempt.
    /// SDKs that go by the time in a body refuse one of five minutes ago, Python's among them.
    pub async fn replay(&self, app: u32, number: u64) -> Option<Arc<Attempt>> {
        self.source(app)?.replay(number).await
    }

    fn source(&self, app: u32) -> Option<Arc<Source>> {
        let slot = read(self.sources.get(app)?);
        slot.as_ref().map(|(source, _)| source.clone())
    }

    fn live(&self) -> impl Iterator<Item = Arc<Source>> {
        let slots = self.sources.iter();
        slots.filter_map(|(_, slot)| Some(read(slot).as_ref()?.0.clone()))
    }

    /// Puts a source where another was, which ends; or none.
    fn put(self: &Arc<Self>, app: u32, next: Option<Arc<Source>>) {
        let mut running = self.running();
        if running.closed {
            return;
        }
        // Those that have ended by now.
        while running.tasks.try_join_next().is_some() {}
        let abort = next.clone().map(|source| {
            let webhooks = Arc::downgrade(self);
            running.tasks.spawn(async move {
                source.clone().run().await;
                if let Some(webhooks) = webhooks.upgrade() {
                    webhooks.running().bury(&source);
                }
            })
        });
        let slot = self.sources.get_or_init(app, RwLock::default);
        let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *slot, next.zip(abort));
        drop(slot);
        if let Some((last, abort)) = last {
            last.end();
            running.ending.push_back((last, abort));
        }
        if running.ending.len() > MOST_ENDING
            && let Some((oldest, abort)) = running.ending.pop_front()
        {
            abort.abort();
            running.past = running.past.and(oldest.totals());
            let dropped = oldest.waiting();
            warn!(
                dropped,
                "too many webhooks that are gone wait for their receivers; the oldest are given up"
            );
        }
    }

    fn client(&self) -> Result<&Client, WebhookSetupError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client(&self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // Nothing in there can be left half done.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Keeps of a source that has ended what has become of its events.
    fn bury(&mut self, source: &Arc<Source>) {
        let place = self
            .ending
            .iter()
            .position(|(one, _)| Arc::ptr_eq(one, source));
        if place.is_some_and(|place| self.ending.remove(place).is_some()) {
            self.past = self.past.and(source.totals());
        }
    }
}

impl Totals {
    /// Both together.
    fn and(self, other: Totals) -> Totals {
        Totals {
            delivered: self.delivered + other.delivered,
            failed_attempts: self.failed_attempts + other.failed_attempts,
            given_up: self.given_up + other.given_up,
            overflowed: self.overflowed + other.overflowed,
        }
    }
}

impl Delivery {
    /// Delivers what is left, to be called when nothing more is emitted: absences are told at once, and no window and no
    /// pause is waited for. What is not delivered at the deadline is dropped, with a line in the log.
    pub async fn finish(self, deadline: Duration) {
        let mut tasks = {
            let mut running = self.webhooks.running();
            running.closed = true;
            std::mem::take(&mut running.tasks)
        };
        for source in self.webhooks.live() {
            source.end();
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(deadline, all).await.is_err() {
            let live: usize = self.webhooks.live().map(|source| source.waiting()).sum();
            let running = self.webhooks.running();
            let ending = running.ending.iter().map(|(source, _)| source.waiting());
            let dropped = live + ending.sum::<usize>();
            warn!(dropped, "webhooks were not all delivered before the end");
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut running = self.webhooks.running();
        running.closed = true;
        running.tasks.abort_all();
    }
}

fn read(slot: &Slot) -> RwLockReadGuard<'_, Option<(Arc<Source>, AbortHandle)>> {
    slot.read().unwrap_or_else(PoisonError::into_inner)
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
