//! PostgreSQL tells at the end of a transaction that it has changed something. Notices are a quicker poll and no more:
//! one that is lost costs time, since the table is looked at nonetheless.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::debug;

use super::Pool;

/// The pause before listening is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Notices of one table, from when they are listened to.
pub struct Notices {
    /// What the table's trigger calls it.
    channel: &'static str,
    heard: Arc<Heard>,
    task: Option<AbortHandle>,
}

#[derive(Default)]
struct Heard {
    /// The connection that hears them is there.
    up: AtomicBool,
    /// One or more have come.
    news: Notify,
}

impl Notices {
    /// Those that a trigger sends to this channel.
    pub fn of(channel: &'static str) -> Notices {
        Notices {
            channel,
            heard: Arc::default(),
            task: None,
        }
    }

    /// Listens from now on, if this database tells anything. Repeated calls do nothing.
    pub fn listen(&mut self, pool: &Pool) {
        if let (None, Pool::Postgres(pool)) = (&self.task, pool) {
            let task = tokio::spawn(listen(pool.clone(), self.channel, self.heard.clone()));
            self.task = Some(task.abort_handle());
        }
    }

    /// Whether a change would be told.
    pub fn are_heard(&self) -> bool {
        self.heard.up.load(Ordering::Acquire)
    }

    /// Waits for the next, which may be one that came before.
    pub async fn next(&self) {
        self.heard.news.notified().await;
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn listen(pool: PgPool, channel: &'static str, heard: Arc<Heard>) {
    loop {
        let ended = hear(&pool, channel, &heard).await;
        heard.up.store(false, Ordering::Release);
        // Whoever waits for a notice shall poll.
        heard.news.notify_one();
        if let Err(why) = ended {
            debug!(channel, %why, "no notices from the database; the table is polled");
        }
        sleep(PAUSE).await;
    }
}

async fn hear(pool: &PgPool, channel: &str, heard: &Heard) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    heard.up.store(true, Ordering::Release);
    // What was inserted before this was told to nobody.
    heard.news.notify_one();
    while listener.try_recv().await?.is_some() {
        heard.news.notify_one();
    }
    Ok(())
}
