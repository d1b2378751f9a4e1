//! The outbox: a back end inserts rows into the table `broadcasts` in its own transaction, and they are published once
//! that has been committed; never when it is rolled back.
//!
//! # Layout
//!
//! * [`Outbox`]: the task that looks for rows, and how it ends.
//! * `turn`: a transaction with the table, in the SQL of each database.
//! * `event`: what a row says, or why it cannot be published.
//!
//! One node has the turn: it reads rows in the order of their ids, publishes them, waits until the other nodes can have
//! them, deletes them and commits. A node that dies on the way leaves them to the next, which publishes them again: at
//! least once. docs/outbox.md says what that means for a back end.

mod event;
mod turn;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

pub(crate) use self::event::Event;
pub(crate) use self::turn::Row;

use self::turn::Turn;
use crate::apps::{Apps, Asker, Missing};
use crate::broker::Broker;
use crate::bus::{Bus, BusError};
use crate::clock;
use crate::config;
use crate::hub::Topic;
use crate::metrics::{Metrics, Source};
use crate::store::{Notices, Pool, Store, StoreError};

/// The longest wait for other nodes to have been given what was published.
const GIVING: Duration = Duration::from_secs(5);

/// Between two looks at whether they have.
const GLANCE: Duration = Duration::from_millis(20);

/// The pause after a failure; shorter ones would only fill the log of the database.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Where no poll is needed since PostgreSQL tells: how often to look nonetheless.
const LOOK: Duration = Duration::from_secs(5);

/// What the trigger on `broadcasts` calls its notices.
const NOTICES: &str = "gema_broadcasts";

/// What the outbox works with.
pub struct Means {
    /// Where the rows are.
    pub store: Arc<Store>,
    /// Where their events go.
    pub broker: Arc<Broker>,
    /// The other nodes.
    pub bus: Option<Arc<Bus>>,
    /// Whose events they are.
    pub apps: Arc<Apps>,
    /// Whose those are that name no app: the id of the first of the configuration.
    pub first_app: String,
    /// What is refused.
    pub limits: config::Limits,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// The running outbox of a node.
pub struct Outbox {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// For how long the oldest row has been waiting.
#[derive(Debug, Default)]
pub struct Lag {
    /// When that row was made, in unix milliseconds; 0 = none waits.
    since_ms: AtomicU64,
}

struct Worker {
    means: Means,
    settings: config::Outbox,
    lag: Arc<Lag>,
    /// What was last complained of, to say it once.
    said: Option<String>,
}

/// What a look at the table came to.
enum Look {
    /// Nothing waits.
    Empty,
    /// As many rows as are taken at a time: there may be more.
    Full,
    /// All that waited has been published.
    Done,
    /// Something waits, and another node has the turn.
    Others,
}

/// Why a turn came to nothing. The rows are still there.
#[derive(Debug, thiserror::Error)]
enum OutboxError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the other nodes cannot be reached: {0}")]
    Cut(String),
    #[error("the other nodes cannot be reached: {0}")]
    Bus(#[from] BusError),
    #[error("the app '{0}' cannot be looked up at the moment (database.apps)")]
    UnreadApp(String),
    #[error("the other nodes have not been given the events within {} s", GIVING.as_secs())]
    NotGiven,
}

impl Outbox {
    /// Begins to look for rows, in a task of its own. `lag` tells how long they wait.
    pub fn start(means: Means, settings: config::Outbox, lag: Arc<Lag>) -> Outbox {
        let (stop, stopped) = watch::channel(false);
        let worker = Worker {
            means,
            settings,
            lag,
            said: None,
        };
        Outbox {
            stop,
            task: tokio::spawn(worker.run(stopped)),
        }
    }

    /// Ends after the turn under way, or after `patience`; then its rows are published again by whoever is next.
    pub async fn finish(mut self, patience: Duration) {
        self.stop.send_replace(true);
        drop(timeout(patience, &mut self.task).await);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lag {
    /// In milliseconds; 0 when nothing waits.
    pub fn ms(&self) -> u64 {
        match self.since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since => clock::unix_ms().saturating_sub(since),
        }
    }

    fn is_since(&self, created_at: Option<i64>) {
        let since = created_at.map_or(0, |at| u64::try_from(at).unwrap_or(0).max(1));
        self.since_ms.store(since, Ordering::Relaxed);
    }
}

impl Worker {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut notices = Notices::of(NOTICES);
        loop {
            let pause = match self.look(&mut notices).await {
                Ok(look) => {
                    if self.said.take().is_some() {
                        info!("the outbox is published again");
                    }
                    match look {
                        Look::Full => Duration::ZERO,
                        Look::Empty | Look::Done if notices.are_heard() => LOOK,
                        Look::Empty | Look::Done | Look::Others => self.settings.poll,
                    }
                }
                Err(error) => {
                    self.complain(error.to_string());
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = notices.next(), if pause == LOOK => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn complain(&mut self, why: String) {
        if self.said.as_ref() != Some(&why) {
            warn!(%why, "the outbox waits; its rows stay in the table");
            self.said = Some(why);
        }
    }

    async fn look(&mut self, notices: &mut Notices) -> Result<Look, OutboxError> {
        let store = self.means.store.clone();
        let pool = store.pool().await?;
        notices.listen(pool);
        let oldest = turn::oldest(pool).await;
        let oldest = oldest.map_err(StoreError::Query)?;
        self.lag.is_since(oldest);
        if oldest.is_none() {
            return Ok(Look::Empty);
        }
        // What other nodes cannot hear would be deleted, or be heard here again and again.
        if let Some(bus) = &self.means.bus {
            bus.health().map_err(OutboxError::Cut)?;
        }
        self.take_turn(pool).await
    }

    async fn take_turn(&self, pool: &Pool) -> Result<Look, OutboxError> {
        let failed = StoreError::Query;
        let Some(mut turn) = Turn::take(pool).await.map_err(failed)? else {
            return Ok(Look::Others);
        };
        let batch = self.settings.batch;
        let rows = turn.rows(batch, self.means.limits.event_data_bytes).await;
        let rows = rows.map_err(failed)?;
        let (mut topics, mut published) = (HashSet::new(), Vec::with_capacity(rows.len()));
        let found = rows.len();
        self.look_for_new_apps(&rows).await?;
        for row in &rows {
            let app = self.means.apps.by_id(self.app_of(row));
            match Event::read(row, app.as_deref(), &self.means.limits) {
                Ok(event) => {
                    let broker = &self.means.broker;
                    broker
                        .publish(&event.topic, &event.frame, event.except, Source::Outbox)
                        .await;
                    self.means.metrics.published(Source::Outbox, 1);
                    topics.insert(event.topic);
                    published.push(row.id);
                }
                Err(why) => {
                    let (id, why) = (row.id, why.to_string());
                    warn!(id, %why, "a row of the outbox is set aside");
                    turn.set_aside(id, &why).await.map_err(failed)?;
                }
            }
        }
        self.given(&topics).await?;
        turn.finish(&published).await.map_err(failed)?;
        Ok(if found < batch as usize {
            self.lag.is_since(None);
            Look::Done
        } else {
            Look::Full
        })
    }

    /// One look for all the rows whose apps are not known, before anything is published: the turn is not long.
    async fn look_for_new_apps(&self, rows: &[Row]) -> Result<(), OutboxError> {
        let apps = &self.means.apps;
        let mut ids = rows.iter().map(|row| self.app_of(row));
        let Some(unknown) = ids.find(|id| apps.by_id(id).is_none()) else {
            return Ok(());
        };
        match apps.find_by_id(unknown, Asker::Outbox).await {
            Ok(_) | Err(Missing::Unknown) => Ok(()),
            Err(Missing::Unread) => Err(OutboxError::UnreadApp(unknown.to_owned())),
        }
    }

    fn app_of<'a>(&'a self, row: &'a Row) -> &'a str {
        row.app.as_deref().unwrap_or(&self.means.first_app)
    }

    /// Waits until what was published in these channels has left for the other nodes: until then this node is the only one
    /// that has it.
    async fn given(&self, topics: &HashSet<Topic>) -> Result<(), OutboxError> {
        let Some(bus) = &self.means.bus else {
            return Ok(());
        };
        let all = async {
            for topic in topics {
                while !bus.has_had(topic).await? {
                    sleep(GLANCE).await;
                }
            }
            Ok(())
        };
        let given = timeout(GIVING, all).await;
        given.map_err(|_| OutboxError::NotGiven)?
    }
}
