//! The apps in force: found by id, key or index, and replaced as a whole while others look.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::{App, Asker, OriginPatterns, PerApp, Refresh};

/// Distinct ids in the life of a process. An id keeps its index for good, since connections and other nodes go by it; at
/// about a KiB each this bounds what a table of apps that changes all the time can make of that.
pub const MOST_IDS: usize = 65_536;

/// The apps of a server. Ids are unique and so are keys; who fills it sees to that.
pub struct Apps {
    /// By index; what is there never changes.
    ids: PerApp<Arc<str>>,
    /// The indexes of all ids there have been. Held while apps are replaced, so that this is done one at a time.
    indexes: Mutex<HashMap<Arc<str>, u32>>,
    /// Replaced as a whole: readers hold the lock for one look into a map.
    now: RwLock<Arc<Snapshot>>,
    /// When apps are read from elsewhere: how to ask for that.
    refresh: OnceLock<Refresh>,
}

/// The apps at one moment.
#[derive(Debug, Default)]
struct Snapshot {
    all: Vec<Arc<App>>,
    by_id: HashMap<Arc<str>, Arc<App>>,
    by_key: HashMap<String, Arc<App>>,
    /// The pages that may use any enabled app.
    origins: OriginPatterns,
    /// Those that are gone, too, as they were last: connections of theirs may still be here.
    by_index: Vec<Option<Arc<App>>>,
}

/// What became of the apps when they were replaced.
#[derive(Debug, Default)]
pub struct Changes {
    /// Not there before.
    pub added: Vec<Arc<App>>,
    /// There before, and otherwise.
    pub changed: Vec<Arc<App>>,
    /// Not there any more.
    pub removed: Vec<Arc<App>>,
    /// The ids for which there was no index left ([`MOST_IDS`]); they are not in force.
    pub left_out: Vec<String>,
}

/// Why an app is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is none.
    Unknown,
    /// There may be one: where apps come from does not answer.
    Unread,
}

impl Apps {
    /// A registry of these apps. Of two with the same id or key the later is found.
    pub fn new(apps: Vec<App>) -> Apps {
        let registry = Apps {
            ids: PerApp::default(),
            indexes: Mutex::default(),
            now: RwLock::default(),
            refresh: OnceLock::new(),
        };
        registry.replace(apps);
        registry
    }

    /// From now on apps come from elsewhere as well, and who misses one asks for a look there.
    pub fn refreshed(&self) -> &Refresh {
        self.refresh.get_or_init(Refresh::new)
    }

    /// The app with this id, enabled or not.
    pub fn by_id(&self, id: &str) -> Option<Arc<App>> {
        self.look(|now| now.by_id.get(id).cloned())
    }

    /// The app with this key, enabled or not.
    pub fn by_key(&self, key: &str) -> Option<Arc<App>> {
        self.look(|now| now.by_key.get(key).cloned())
    }

    /// The app with this index; one that is gone as it was last.
    pub fn by_index(&self, index: u32) -> Option<Arc<App>> {
        self.look(|now| now.by_index.get(index as usize).cloned().flatten())
    }

    /// Whether something is so of the app with this index.
    pub fn is(&self, index: u32, so: impl FnOnce(&App) -> bool) -> bool {
        self.look(|now| now.by_index.get(index as usize)?.as_deref().map(so))
            .unwrap_or(false)
    }

    /// As [`Apps::by_id`]; an app that is not known is asked for where apps come from.
    ///
    /// # Errors
    /// There is none, or that cannot be told now.
    pub async fn find_by_id(&self, id: &str, asker: Asker) -> Result<Arc<App>, Missing> {
        self.find(|| self.by_id(id), asker).await
    }

    /// As [`Apps::by_key`]; an app that is not known is asked for where apps come from.
    ///
    /// # Errors
    /// There is none, or that cannot be told now.
    pub async fn find_by_key(&self, key: &str) -> Result<Arc<App>, Missing> {
        self.find(|| self.by_key(key), Asker::Client).await
    }

    async fn find(
        &self,
        look: impl Fn() -> Option<Arc<App>>,
        asker: Asker,
    ) -> Result<Arc<App>, Missing> {
        if let Some(app) = look() {
            return Ok(app);
        }
        let Some(refresh) = self.refresh.get() else {
            return Err(Missing::Unknown);
        };
        let is_read = refresh.look(asker).await;
        look().ok_or(match is_read {
            true => Missing::Unknown,
            false => Missing::Unread,
        })
    }

    /// All apps in force, in the order in which they were given.
    pub fn all(&self) -> Vec<Arc<App>> {
        self.look(|now| Some(now.all.clone())).unwrap_or_default()
    }

    /// Whether pages of this origin may use any of the enabled apps.
    pub fn allow_origin(&self, origin: &str) -> bool {
        let now = self.now.read();
        let now = now.unwrap_or_else(PoisonError::into_inner).clone();
        now.origins.allows(Some(origin))
    }

    /// The id that goes with an index, for as long as the process lives; empty when there is none.
    pub fn id_of(&self, index: u32) -> &str {
        self.ids.get(index).map_or("", |id| id)
    }

    /// The index that goes with an id, whether there is such an app here or not: other nodes may know more.
    /// `None` when there are too many ([`MOST_IDS`]).
    pub fn index_of(&self, id: &str) -> Option<u32> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        self.number(&mut indexes, id)
    }

    /// Puts these apps in force instead of all that were. Each keeps the index its id has had.
    pub fn replace(&self, apps: Vec<App>) -> Changes {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.look(|now| Some(now.by_id.clone())).unwrap_or_default();
        let mut changes = Changes::default();
        let mut next = Snapshot {
            by_index: self
                .look(|now| Some(now.by_index.clone()))
                .unwrap_or_default(),
            ..Snapshot::default()
        };
        for mut app in apps {
            let Some(index) = self.number(&mut indexes, &app.id) else {
                changes.left_out.push(app.id);
                continue;
            };
            app.index = index;
            let app = match before.get(&*app.id) {
                // The very same, so that what was made of it is known to be still right.
                Some(same) if **same == app => same.clone(),
                Some(_) => {
                    let app = Arc::new(app);
                    changes.changed.push(app.clone());
                    app
                }
                None => {
                    let app = Arc::new(app);
                    changes.added.push(app.clone());
                    app
                }
            };
            next.put(app, index);
        }
        let gone = before.into_values();
        changes.removed = gone
            .filter(|app| !next.by_id.contains_key(&*app.id))
            .collect();
        let enabled = next.all.iter().filter(|app| app.enabled);
        next.origins = OriginPatterns::any_of(enabled.map(|app| &app.allowed_origins));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        changes
    }

    fn number(&self, indexes: &mut HashMap<Arc<str>, u32>, id: &str) -> Option<u32> {
        if let Some(index) = indexes.get(id) {
            return Some(*index);
        }
        if indexes.len() >= MOST_IDS {
            return None;
        }
        let (index, id): (u32, Arc<str>) = (indexes.len() as u32, id.into());
        self.ids.get_or_init(index, || id.clone());
        indexes.insert(id, index);
        Some(index)
    }

    fn look<T>(&self, look: impl FnOnce(&Snapshot) -> Option<T>) -> Option<T> {
        look(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot {
    fn put(&mut self, app: Arc<App>, index: u32) {
        self.by_id.insert(app.id.as_str().into(), app.clone());
        self.by_key.insert(app.key.clone(), app.clone());
        let index = index as usize;
        if self.by_index.len() <= index {
            self.by_index.resize(index + 1, None);
        }
        self.by_index[index] = Some(app.clone());
        self.all.push(app);
    }
}

impl Changes {
    /// Whether anything is otherwise.
    pub fn any(&self) -> bool {
        !self.added.is_empty() || !self.changed.is_empty() || !self.removed.is_empty()
    }
}

/// Shows no secret, as [`App`] does not.
impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::app;
    use super::*;

    fn indexes(apps: &[Arc<App>]) -> Vec<u32> {
        apps.iter().map(|app| app.index).collect()
    }

    #[test]
    fn an_app_is_found_by_its_id_and_by_its_key() {
        let apps = Apps::new(vec![app("1", "a"), app("2", "b")]);
        assert_eq!(apps.by_id("2").map(|app| app.index), Some(1));
        assert_eq!(apps.by_key("b").map(|app| app.index), Some(1));
        assert!(apps.by_id("b").is_none());
        assert!(apps.by_key("2").is_none());
        assert_eq!(indexes(&apps.all()), [0, 1]);
    }

    #[test]
    fn an_app_keeps_its_index_also_when_it_goes_and_comes_back() {
        let apps = Apps::new(vec![app("1", "a"), app("2", "b")]);
        let changes = apps.replace(vec![app("3", "c"), app("1", "a")]);
        assert_eq!(indexes(&changes.added), [2]);
        assert_eq!(indexes(&changes.removed), [1]);
        assert!(changes.changed.is_empty());
        assert!(apps.by_id("2").is_none() && apps.by_key("b").is_none());
        assert_eq!(apps.by_index(1).map(|app| app.id.clone()).unwrap(), "2");
        assert_eq!(apps.id_of(1), "2");
        let changes = apps.replace(vec![app("2", "new")]);
        assert_eq!(indexes(&changes.added), [1]);
        assert_eq!(indexes(&changes.removed).len(), 2);
        assert_eq!(apps.by_key("new").map(|app| app.index), Some(1));
    }

    #[test]
    fn an_app_that_is_as_it_was_stays_the_very_same() {
        let apps = Apps::new(vec![app("1", "a"), app("2", "b")]);
        let before = apps.by_id("1").unwrap();
        let changes = apps.replace(vec![app("2", "other"), app("1", "a")]);
        assert_eq!(indexes(&changes.changed), [1]);
        assert!(changes.any() && changes.added.is_empty() && changes.removed.is_empty());
        assert!(Arc::ptr_eq(&before, &apps.by_id("1").unwrap()));
        assert!(apps.by_key("b").is_none());
        assert!(!apps.replace(vec![app("2", "other"), app("1", "a")]).any());
    }

    #[test]
    fn the_ids_of_a_process_have_a_bound() {
        let apps = Apps::new(vec![app("1", "a")]);
        for number in 0..MOST_IDS - 1 {
            assert!(apps.index_of(&format!("x{number}")).is_some());
        }
        assert!(apps.index_of("one more").is_none());
        assert!(apps.by_index(5).is_none());
        let changes = apps.replace(vec![app("1", "a"), app("2", "b")]);
        assert_eq!(changes.left_out, ["2"]);
        assert!(apps.by_id("2").is_none() && apps.by_id("1").is_some());
    }

    #[tokio::test]
    async fn an_app_that_is_missed_is_asked_for_where_apps_come_from() {
        let apps = Arc::new(Apps::new(vec![app("1", "a")]));
        assert_eq!(
            apps.find_by_id("2", Asker::Caller).await.unwrap_err(),
            Missing::Unknown
        );
        apps.refreshed();
        let reader = apps.clone();
        tokio::spawn(async move {
            for found in [true, true, false] {
                reader.refreshed().asked().await;
                reader.refreshed().begin();
                reader.replace(vec![app("2", "b")]);
                reader.refreshed().end(found);
            }
        });
        assert_eq!(apps.find_by_key("b").await.unwrap().id, "2");
        assert_eq!(
            apps.find_by_id("3", Asker::Caller).await.unwrap_err(),
            Missing::Unknown
        );
        assert_eq!(
            apps.find_by_id("3", Asker::Caller).await.unwrap_err(),
            Missing::Unread
        );
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let shown = format!("{:?}", Apps::new(vec![app("1", "a")]));
        assert!(!shown.contains("hush"), "{shown}");
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
