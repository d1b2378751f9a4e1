//! Lays the sources of the configuration over each other: defaults, file, environment, flags.
//! Every value keeps the place it came from, so that a mistake found later still names it.

use std::collections::HashMap;

use serde::Deserialize;
use toml::{Table as TomlTable, Value};

use super::document;
use super::error::{ConfigError, Place, Problem};
use super::raw::{Keys, Kind, Raw, RawApp, Table, join};

/// The embedded defaults.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The keys of an app that no default may stand in for: a secret that everybody knows is none.
const OWN_TO_AN_APP: [&str; 3] = ["id", "key", "secret"];

/// The sources read so far, the later over the earlier.
pub(super) struct Layers {
    table: TomlTable,
    /// What an app of the file is unless it says otherwise.
    app_defaults: TomlTable,
    places: Places,
}

/// Where each value stands, by its full path.
#[derive(Default)]
pub(super) struct Places(pub(super) HashMap<String, Place>);

/// A key that the environment or the command line can set.
pub(super) enum Slot {
    /// `section.key`
    Section(&'static str, &'static str),
    /// `apps[index].key`
    App(usize, &'static str),
}

impl Layers {
    /// The embedded defaults alone.
    ///
    /// # Errors
    ///
    /// None as long as config/default.toml is in order, which a test sees to.
    pub(super) fn defaults() -> Result<Layers, ConfigError> {
        let mut layers = Layers {
            table: TomlTable::new(),
            app_defaults: TomlTable::new(),
            places: Places::default(),
        };
        layers.lay_document(DEFAULTS, |line, column| Place::Defaults { line, column })?;
        if let Some(Value::Table(app)) = layers.apps().first() {
            layers.app_defaults = app.clone();
            for key in OWN_TO_AN_APP {
                layers.app_defaults.remove(key);
            }
        }
        Ok(layers)
    }

    /// A TOML document. Its keys take the place of those below; so do its lists, as a whole.
    /// `place` says where a line and a column of it are.
    ///
    /// # Errors
    ///
    /// Text that is not TOML, or all unknown keys and wrong types in it.
    pub(super) fn lay_document(
        &mut self,
        text: &str,
        place: impl Fn(usize, usize) -> Place,
    ) -> Result<(), ConfigError> {
        let (read, places) = document::read(text, place)?;
        self.merge(read, places);
        Ok(())
    }

    /// What an app is unless it says otherwise: everything but its id, key and secret.
    pub(super) fn into_app_defaults(self) -> TomlTable {
        self.app_defaults
    }

    /// The number of apps there are so far.
    pub(super) fn app_count(&self) -> usize {
        self.apps().len()
    }

    /// One key, over what the documents say; nothing if it is of an app that is not there.
    pub(super) fn lay_value(&mut self, slot: &Slot, value: Value, place: Place) {
        let (table, key) = match *slot {
            Slot::Section(section, key) => (self.table.get_mut(section), key),
            Slot::App(index, key) => (
                self.table
                    .get_mut("apps")
                    .and_then(|apps| apps.get_mut(index)),
                key,
            ),
        };
        if let Some(Value::Table(table)) = table {
            table.insert(key.to_owned(), value);
            self.places.0.insert(slot.path(), place);
        }
    }

    /// What all sources say together.
    ///
    /// # Errors
    ///
    /// None in practice: the types have been checked on the way in.
    pub(super) fn into_raw(self) -> Result<(Raw, Places), ConfigError> {
        let raw = Raw::deserialize(Value::Table(self.table)).map_err(|error| Problem::Syntax {
            at: Place::Defaults { line: 1, column: 1 },
            message: error.message().to_owned(),
        })?;
        Ok((raw, self.places))
    }

    fn apps(&self) -> &[Value] {
        match self.table.get("apps") {
            Some(Value::Array(apps)) => apps,
            _ => &[],
        }
    }

    fn merge(&mut self, read: TomlTable, places: Places) {
        for (name, value) in read {
            match (self.table.get_mut(&name), value) {
                (Some(Value::Table(below)), Value::Table(above)) => {
                    for (key, value) in above {
                        self.places.forget_entries(&join(&name, &key));
                        below.insert(key, value);
                    }
                }
                (_, value) => {
                    self.places.forget_entries(&name);
                    self.table.insert(name, value);
                }
            }
        }
        self.places.0.extend(places.0);
        if let Some(Value::Array(apps)) = self.table.get_mut("apps") {
            for app in apps.iter_mut().filter_map(Value::as_table_mut) {
                for (key, value) in &self.app_defaults {
                    app.entry(key).or_insert_with(|| value.clone());
                }
            }
        }
    }
}

impl Places {
    /// Where the value with this path stands, or else the table it would stand in.
    pub(super) fn at(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Place::Defaults { line: 1, column: 1 },
            }
        }
    }

    fn forget_entries(&mut self, list: &str) {
        self.0.retain(|path, _| {
            path.strip_prefix(list)
                .is_none_or(|rest| !rest.starts_with('['))
        });
    }
}

impl Slot {
    /// The full path of the key.
    pub(super) fn path(&self) -> String {
        match self {
            Slot::Section(section, key) => format!("{section}.{key}"),
            Slot::App(index, key) => format!("apps[{index}].{key}"),
        }
    }

    /// Every slot there is with this many apps, and what it takes.
    pub(super) fn all(apps: usize) -> impl Iterator<Item = (Slot, Kind)> {
        let in_sections = Raw::KEYS.iter().flat_map(|(section, kind)| {
            let keys: Keys = match kind {
                Kind::Table(keys) => keys,
                _ => &[],
            };
            let one_value = keys.iter().filter(|(_, kind)| is_one_value(*kind));
            one_value.map(|(key, kind)| (Slot::Section(section, key), *kind))
        });
        let in_apps = (0..apps).flat_map(|index| {
            let one_value = RawApp::KEYS.iter().filter(|(_, kind)| is_one_value(*kind));
            one_value.map(move |(key, kind)| (Slot::App(index, key), *kind))
        });
        in_sections.chain(in_apps)
    }
}

/// Whether a variable can hold it; tables come from files alone.
fn is_one_value(kind: Kind) -> bool {
    !matches!(kind, Kind::Table(_) | Kind::Tables(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw;

    #[test]
    fn the_embedded_file_has_every_key() {
        let layers = Layers::defaults().unwrap();
        let mut known = Vec::new();
        raw::paths(Raw::KEYS, "", &mut known);
        // Rules differ in their conditions, and there is no guard or webhook that would harm nobody.
        let optional = |path: &String| {
            let only_in_files = ["auth.channels[0].", "auth.guards", "apps[0].webhooks"];
            only_in_files.iter().any(|list| path.starts_with(list))
        };
        let missing: Vec<_> = known
            .iter()
            .filter(|path| !optional(path) && !layers.places.0.contains_key(*path))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        for (slot, _) in Slot::all(layers.app_count()) {
            assert!(known.contains(&slot.path()), "{}", slot.path());
        }
    }
}
