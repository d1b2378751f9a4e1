//! The task that reads the table of apps: every so often, when somebody asks for an app that is not known, and when the
//! database tells of a change. While it cannot be read, the apps known so far go on serving.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::Roster;
use super::layout::{Layout, Row};
use super::rows::{self, MOST_ROWS, Rows};
use crate::apps::{App, Apps};
use crate::config::{self, AppRows, RowError};
use crate::store::{Notices, Store, StoreError};

/// What the trigger on gema's own table calls its notices; a trigger on another's may do so, too.
const NOTICES: &str = "gema_apps";

/// The least time between two looks: whoever asks for apps that are not there costs the database no more than that.
const SPACING: Duration = Duration::from_secs(1);

/// Nor do they keep it busy for more than one part in this many of the time: a large table takes a while to read.
const SHARE: u32 = 10;

/// The pause after a failure, if looks are not closer together anyway.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Rows judged in one go, before others get at the thread.
const AT_ONCE: usize = 32;

/// Lines about bad rows at a time.
const MOST_LINES: usize = 20;

/// The running task; dropped, it ends.
pub struct AppTable {
    task: JoinHandle<()>,
}

struct Reader {
    store: Arc<Store>,
    roster: Arc<Roster>,
    apps: Arc<Apps>,
    table: config::AppTable,
    judge: AppRows,
    /// What was read last.
    last: Option<Rows>,
    /// How long that took.
    reading: Duration,
    /// What each row came to, by the row: most have not changed since the last look.
    judged: HashMap<Arc<Row>, Result<App, RowError>>,
    /// What has been complained of, to say it once.
    said: HashSet<String>,
    /// Whose table it is, and what is not heeded in it, as it was said.
    described: Option<(Layout, BTreeSet<String>)>,
    is_failing: bool,
}

impl AppTable {
    /// Begins to read.
    pub fn start(
        store: Arc<Store>,
        roster: Arc<Roster>,
        table: config::AppTable,
        judge: AppRows,
    ) -> AppTable {
        let reader = Reader {
            apps: roster.gateway.apps.clone(),
            store,
            roster,
            table,
            judge,
            last: None,
            reading: Duration::ZERO,
            judged: HashMap::new(),
            said: HashSet::new(),
            described: None,
            is_failing: false,
        };
        // From now on, whoever misses an app waits for the first look.
        reader.apps.refreshed();
        AppTable {
            task: tokio::spawn(reader.run()),
        }
    }
}

impl Drop for AppTable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    async fn run(mut self) {
        let apps = self.apps.clone();
        let refresh = apps.refreshed();
        let mut notices = Notices::of(NOTICES);
        loop {
            let begun = Instant::now();
            refresh.begin();
            let looked = self.look(&mut notices).await;
            let succeeded = looked.is_ok();
            self.tell(looked.err());
            refresh.end(succeeded);
            let spacing = SPACING.max((self.reading * SHARE).min(self.table.refresh));
            let pause = match succeeded {
                true => self.table.refresh,
                false => self.table.refresh.min(AFTER_FAILURE),
            };
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = refresh.asked() => sleep_until(begun + spacing).await,
                () = notices.next() => sleep_until(begun + spacing).await,
            }
        }
    }

    async fn look(&mut self, notices: &mut Notices) -> Result<(), StoreError> {
        let store = self.store.clone();
        let pool = store.pool().await?;
        notices.listen(pool);
        let begun = Instant::now();
        let found = rows::read(pool, &self.table.name).await?;
        self.reading = begun.elapsed();
        if self.last.as_ref() != Some(&found) {
            self.take(&found).await;
            self.last = Some(found);
        }
        Ok(())
    }

    async fn take(&mut self, found: &Rows) {
        let name = self.table.name.join(".");
        let mut complaints = Vec::new();
        if found.is_cut {
            error!(
                table = name,
                most = MOST_ROWS,
                "the table of apps has too many rows; the first by id serve"
            );
        }
        let apps = match Layout::of(&found.columns) {
            _ if found.rows.is_empty() => Vec::new(),
            Ok(layout) => self.judge_all(layout, &found.rows, &mut complaints).await,
            Err(column) => {
                complaints.push(format!(
                    "it is no table of apps: there is no column '{column}'"
                ));
                Vec::new()
            }
        };
        complaints.extend(self.roster.set_table(apps).await);
        self.complain(&name, complaints);
    }

    async fn judge_all(
        &mut self,
        layout: Layout,
        rows: &[Arc<Row>],
        complaints: &mut Vec<String>,
    ) -> Vec<App> {
        if self
            .described
            .as_ref()
            .is_none_or(|(last, _)| *last != layout)
        {
            self.judged.clear();
        }
        let mut unheeded = BTreeSet::new();
        let mut judged = HashMap::with_capacity(rows.len());
        let mut apps = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            if number % AT_ONCE == 0 {
                yield_now().await;
            }
            let keys = layout.app(row, &mut unheeded);
            let known = self.judged.remove(&**row);
            let app = known.unwrap_or_else(|| self.judge.read(keys?));
            match &app {
                Ok(app) => apps.push(app.clone()),
                Err(why) => {
                    let id = row.get("id").map_or("", String::as_str);
                    complaints.push(format!("the row with the id '{id}': {why}"));
                }
            }
            judged.insert(row.clone(), app);
        }
        self.judged = judged;
        self.describe(layout, unheeded);
        apps
    }

    /// Says once whose table it is, and what gema does not heed in it.
    fn describe(&mut self, layout: Layout, unheeded: BTreeSet<String>) {
        let described = Some((layout, unheeded));
        if self.described != described {
            if let Some((layout, unheeded)) = &described {
                let table = self.table.name.join(".");
                let unheeded = unheeded.iter().map(String::as_str).collect::<Vec<_>>();
                let unheeded = unheeded.join(", ");
                info!(table, %layout, unheeded, "apps are read from a table; what is not heeded in it has no meaning here");
            }
            self.described = described;
        }
    }

    /// One line for each that is new; what is mended is forgotten.
    fn complain(&mut self, table: &str, complaints: Vec<String>) {
        let new = complaints.iter().filter(|why| !self.said.contains(*why));
        let new: Vec<_> = new.collect();
        for why in new.iter().take(MOST_LINES) {
            warn!(table, %why, "left out of the table of apps");
        }
        if let Some(more) = new.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
            warn!(
                table,
                more, "left out of the table of apps, for reasons of their own"
            );
        }
        self.said = complaints.into_iter().collect();
    }

    /// One line when it begins to fail, and one when it works again.
    fn tell(&mut self, failure: Option<StoreError>) {
        let table = self.table.name.join(".");
        match failure {
            Some(why) if !self.is_failing => {
                warn!(table, %why, "the table of apps cannot be read; the apps known so far go on serving");
                self.is_failing = true;
            }
            None if self.is_failing => {
                info!(table, "the table of apps is read again");
                self.is_failing = false;
            }
            _ => {}
        }
    }
}

/// Up to a tenth less, so that nodes do not look in step.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    pause.mul_f64(1.0 - share / 10.0)
}
