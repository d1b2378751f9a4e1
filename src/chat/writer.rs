//! The one task that writes. What concurrent callers want goes into one transaction: while it is under way the next
//! gathers, so the batching comes from the load. What is stored is announced here too, in the order of the ids, and
//! whether the caller is still there or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::ChatError;
use super::announce::Announcer;
use super::table::{self, Change, Done};
use crate::clock;
use crate::store::{Store, StoreError};

/// Changes that wait. At 1,000 a second it is the work of a second; whoever finds no room waits outside.
const QUEUE: usize = 1024;

/// Changes in one transaction: what is locked is locked for some milliseconds.
const BATCH: usize = 128;

/// How long a caller waits for room in the queue.
const ROOM: Duration = Duration::from_secs(2);

/// How long a transaction may take. A database that takes longer is as good as away.
const TRANSACTION: Duration = Duration::from_secs(5);

/// The way to the task, which ends when this is dropped and what was accepted has been done.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    change: Change,
    /// Nobody waits for it when there is none.
    answer: Option<oneshot::Sender<Result<Done, ChatError>>>,
}

impl Writer {
    pub(super) fn start(store: Arc<Store>, announcer: Announcer) -> Writer {
        let (jobs, accepted) = mpsc::channel(QUEUE);
        let task = Task {
            store,
            announcer,
            is_away: false,
        };
        tokio::spawn(task.run(accepted));
        Writer { jobs }
    }

    /// Makes a change and gives what became of it, once it is stored and announced. A caller that goes away after the
    /// change was accepted does not take it back.
    pub(super) async fn write(&self, change: Change) -> Result<Done, ChatError> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            change,
            answer: Some(answer),
        };
        let busy = |_| ChatError::Away("too many changes wait for the database".into());
        self.jobs.send_timeout(job, ROOM).await.map_err(busy)?;
        let ended = |_| ChatError::Away("the chat has ended".into());
        answered.await.map_err(ended)?
    }

    /// Makes a change some time, or not at all when there is much to do.
    pub(super) fn note(&self, change: Change) {
        let job = Job {
            change,
            answer: None,
        };
        if self.jobs.try_send(job).is_err() {
            debug!("a profile was not kept: too many changes wait for the database");
        }
    }
}

struct Task {
    store: Arc<Store>,
    announcer: Announcer,
    /// What the log says.
    is_away: bool,
}

impl Task {
    async fn run(mut self, mut accepted: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while accepted.recv_many(&mut batch, BATCH).await > 0 {
            let changes = batch.iter().map(|job| job.change.clone()).collect();
            match self.write(changes).await {
                Ok(done) => {
                    self.found_back();
                    for (job, done) in batch.drain(..).zip(done) {
                        self.finish(job, Ok(done)).await;
                    }
                }
                // One of them may be what the database refuses; the others must not suffer from it.
                Err(error) if error.is_about_data() => {
                    self.found_back();
                    for job in batch.drain(..) {
                        let done = self.write_alone(&job.change).await;
                        self.finish(job, done).await;
                    }
                }
                Err(error) => {
                    let why = self.found_away(&error);
                    // Those behind them would wait as long for the same answer.
                    while batch.len() < QUEUE {
                        match accepted.try_recv() {
                            Ok(job) => batch.push(job),
                            Err(_) => break,
                        }
                    }
                    for job in batch.drain(..) {
                        self.finish(job, Err(why.clone())).await;
                    }
                }
            }
        }
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Done>, WriteError> {
        let pool = self.store.chat_pool().await?;
        let now_ms = clock::unix_ms() as i64;
        let changing = table::change(pool, &changes, now_ms);
        Ok(timeout(TRANSACTION, changing).await??)
    }

    /// A second time when it is refused: another node may have stored the message with this `client_id` just now, and
    /// then it is found, or may have held a lock.
    async fn write_alone(&self, change: &Change) -> Result<Done, ChatError> {
        let mut result = self.write(vec![change.clone()]).await;
        if result.as_ref().is_err_and(WriteError::is_about_data) {
            result = self.write(vec![change.clone()]).await;
        }
        let done = result.map_err(|error| {
            warn!(%error, "the database refuses a change of the chat");
            ChatError::Away(error.to_string())
        })?;
        let none = || ChatError::Away("nothing was done".into());
        done.into_iter().next().ok_or_else(none)
    }

    async fn finish(&self, job: Job, done: Result<Done, ChatError>) {
        match (&job.change, &done) {
            (_, Ok(Done::Inserted(message, sender))) => self.announcer.sent(message, sender).await,
            (
                Change::Mark {
                    reader_id,
                    message_id,
                },
                Ok(Done::Marked { author_id }),
            ) => {
                let announcer = &self.announcer;
                announcer.read(*author_id, *message_id, *reader_id).await;
            }
            _ => {}
        }
        if let Some(answer) = job.answer {
            // Who asked may have gone.
            drop(answer.send(done));
        }
    }

    /// One line in the log a change of state, not one a message.
    fn found_away(&mut self, error: &WriteError) -> ChatError {
        if !std::mem::replace(&mut self.is_away, true) {
            warn!(%error, "messages cannot be stored");
        }
        ChatError::Away(error.to_string())
    }

    fn found_back(&mut self) {
        if std::mem::replace(&mut self.is_away, false) {
            info!("messages can be stored again");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database has not answered within {} s", TRANSACTION.as_secs())]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("{0}")]
    Query(#[from] sqlx::Error),
}

impl WriteError {
    /// Whether the database is there and does not like what it is given.
    fn is_about_data(&self) -> bool {
        matches!(self, WriteError::Query(sqlx::Error::Database(_)))
    }
}
