//! Lays the sources of the configuration over each other: defaults, file, environment, flags.
//! Keys and types are checked here, against the structs of `raw`, and every value keeps the place it came from.

use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::{Table as TomlTable, Value};

use super::error::{ConfigError, Place, Problem, nearest};
use super::raw::{self, Keys, Kind, Raw, RawApp, Table, join};

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
pub(super) struct Places(HashMap<String, Place>);

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
        let at = |span: Range<usize>| {
            let (line, column) = line_and_column(text, span.start);
            place(line, column)
        };
        let document = DeTable::parse(text).map_err(|error| Problem::Syntax {
            at: at(error.span().unwrap_or(0..0)),
            message: error.message().trim().replace('\n', ", "),
        })?;
        let mut reader = Reader {
            place: &at,
            places: Places::default(),
            problems: Vec::new(),
        };
        let read = reader.table(Raw::KEYS, document.get_ref(), "");
        let Reader {
            places, problems, ..
        } = reader;
        ConfigError::unless_none((), problems)?;
        self.merge(read, places);
        Ok(())
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
            keys.iter()
                .filter(|(_, kind)| !matches!(kind, Kind::Table(_) | Kind::Tables(_)))
                .map(|(key, kind)| (Slot::Section(section, key), *kind))
        });
        let in_apps = (0..apps).flat_map(|index| {
            RawApp::KEYS
                .iter()
                .map(move |(key, kind)| (Slot::App(index, key), *kind))
        });
        in_sections.chain(in_apps)
    }
}

/// Reads one document, and gathers what is wrong with it.
struct Reader<'a> {
    place: &'a dyn Fn(Range<usize>) -> Place,
    places: Places,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, keys: Keys, table: &DeTable<'_>, path: &str) -> TomlTable {
        let mut read = TomlTable::new();
        // In the order of the text, as somebody reads it who has several lines to mend.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name: &str = key.get_ref();
            let full = join(path, name);
            match keys.iter().find(|(known, _)| *known == name) {
                Some((_, kind)) => {
                    if let Some(value) = self.value(*kind, value, &full) {
                        read.insert(name.to_owned(), value);
                    }
                }
                None => self.problems.push(Problem::UnknownKey {
                    at: (self.place)(key.span()),
                    nearest: nearest_key(keys, path, name),
                    path: full,
                }),
            }
        }
        read
    }

    fn value(&mut self, kind: Kind, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Value> {
        let at = (self.place)(value.span());
        self.places.0.insert(path.to_owned(), at.clone());
        match (kind, value.get_ref()) {
            (Kind::Text, DeValue::String(text)) => return Some(Value::String(text.to_string())),
            (Kind::Flag, DeValue::Boolean(flag)) => return Some(Value::Boolean(*flag)),
            (Kind::Whole(max), DeValue::Integer(number)) => {
                if let Ok(number) = i64::from_str_radix(number.as_str(), number.radix())
                    && u64::try_from(number).is_ok_and(|number| number <= max)
                {
                    return Some(Value::Integer(number));
                }
            }
            (Kind::TextList, DeValue::Array(list)) => return self.list(Kind::Text, list, path),
            (Kind::TextMap, DeValue::Table(table)) => {
                let mut read = TomlTable::new();
                for (key, value) in table {
                    let value = self.value(Kind::Text, value, &join(path, key.get_ref()))?;
                    read.insert(key.get_ref().to_string(), value);
                }
                return Some(Value::Table(read));
            }
            (Kind::Table(keys), DeValue::Table(table)) => {
                return Some(Value::Table(self.table(keys, table, path)));
            }
            (Kind::Tables(keys), DeValue::Array(list)) => {
                return self.list(Kind::Table(keys), list, path);
            }
            _ => {}
        }
        self.problems.push(Problem::WrongType {
            at,
            path: path.to_owned(),
            expected: expected(kind, path),
            found: found(kind, value.get_ref()),
        });
        None
    }

    fn list(&mut self, kind: Kind, list: &[Spanned<DeValue<'_>>], path: &str) -> Option<Value> {
        let entries: Vec<Option<Value>> = list
            .iter()
            .enumerate()
            .map(|(index, entry)| self.value(kind, entry, &format!("{path}[{index}]")))
            .collect();
        let entries: Option<Vec<Value>> = entries.into_iter().collect();
        entries.map(Value::Array)
    }
}

/// What a key of this kind takes, to read on after "must be".
pub(super) fn expected(kind: Kind, path: &str) -> String {
    match kind {
        Kind::Text => "a text in quotes".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Whole(max) if max < i64::MAX as u64 => format!("a whole number from 0 to {max}"),
        Kind::Whole(_) => "a whole number from 0 up".to_owned(),
        Kind::TextList => "a list of texts such as [\"a\", \"b\"]".to_owned(),
        Kind::TextMap => "a table of texts such as { name = \"text\" }".to_owned(),
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tables(_) => format!("a list of tables, each under [[{path}]]"),
    }
}

/// What stands there, to read on after "found". Where a text is meant or stands the value is not shown:
/// it may be a secret.
fn found(kind: Kind, value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a text".to_owned(),
        DeValue::Integer(number) if matches!(kind, Kind::Whole(_)) => format!("{number}"),
        DeValue::Integer(_) => "a number".to_owned(),
        DeValue::Float(_) => "a number with a fraction".to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The valid path most like `path.name`: a key of the same table before one of another,
/// and the same key elsewhere before one that is only spelled alike.
fn nearest_key(siblings: Keys, path: &str, name: &str) -> String {
    let here: Vec<String> = siblings.iter().map(|(key, _)| join(path, key)).collect();
    let mut everywhere = Vec::new();
    raw::paths(Raw::KEYS, "", &mut everywhere);
    let likeness = |candidate: &str| {
        let key = candidate.rsplit('.').next().unwrap_or(candidate);
        let nearby = if here.iter().any(|path| path == candidate) {
            0.2
        } else {
            0.0
        };
        strsim::normalized_damerau_levenshtein(key, name) + nearby
    };
    nearest(here.iter().chain(&everywhere).map(String::as_str), likeness)
}

/// Line and character in the line, both from 1, of a byte of the text.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one() {
        assert_eq!(
            complaint("[server]\n  prot = 1"),
            "config:2:3: unknown key server.prot; the nearest valid name is server.port"
        );
        assert_eq!(
            complaint("[servr]\nport = 1"),
            "config:1:2: unknown key servr; the nearest valid name is server"
        );
        assert_eq!(
            complaint("[[apps]]\n[[apps]]\nsecrt = 'x'"),
            "config:3:1: unknown key apps[1].secrt; the nearest valid name is apps[1].secret"
        );
    }

    #[test]
    fn a_key_in_the_wrong_table_is_shown_the_right_one() {
        assert_eq!(
            complaint("port = 1"),
            "config:1:1: unknown key port; the nearest valid name is server.port"
        );
        assert_eq!(
            complaint("[server]\njwt_secret = 'x'"),
            "config:2:1: unknown key server.jwt_secret; the nearest valid name is auth.jwt_secret"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_place() {
        let said = |text: &str| complaint(text).replace("config:", "");
        assert_eq!(
            said("server.port = 'x'"),
            "1:15: server.port must be a whole number from 0 to 65535, found a text"
        );
        assert_eq!(
            said("server.port = 65536"),
            "1:15: server.port must be a whole number from 0 to 65535, found 65536"
        );
        assert_eq!(
            said("limits.outbox_bytes = -1"),
            "1:23: limits.outbox_bytes must be a whole number from 0 up, found -1"
        );
        assert_eq!(
            said("server.host = 1.5"),
            "1:15: server.host must be a text in quotes, found a number with a fraction"
        );
        assert_eq!(
            said("server = 1"),
            "1:10: server must be a table, found a number"
        );
        assert_eq!(
            said("[apps]\nid = 'a'"),
            "1:1: apps must be a list of tables, each under [[apps]], found a table"
        );
        assert_eq!(
            said("[[apps]]\nenabled = 'yes'\nallowed_origins = ['*', 1]"),
            "2:11: apps[0].enabled must be true or false, found a text\n\
             3:25: apps[0].allowed_origins[1] must be a text in quotes, found a number"
        );
        assert_eq!(
            said("[[auth.channels]]\nclaim = 'x'"),
            "2:9: auth.channels[0].claim must be a table of texts such as { name = \"text\" }, found a text"
        );
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        assert!(!complaint("server.port = 'hush'").contains("hush"));
        assert!(!complaint("[[apps]]\nsecret = 20041889").contains("20041889"));
    }

    #[test]
    fn text_that_is_not_toml_is_named_with_its_place() {
        let said = complaint("[server]\nport = \n");
        assert!(said.starts_with("config:2:8: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    #[test]
    fn columns_count_characters() {
        let said = complaint("server = { host = 'é', prot = 1 }");
        assert!(
            said.starts_with("config:1:24: unknown key server.prot"),
            "{said}"
        );
    }

    #[test]
    fn the_embedded_file_has_every_key() {
        let layers = Layers::defaults().unwrap();
        let mut known = Vec::new();
        raw::paths(Raw::KEYS, "", &mut known);
        // Rules differ in their conditions, and there is no guard that would harm nobody.
        let optional = |path: &String| {
            path.starts_with("auth.channels[0].") || path.starts_with("auth.guards")
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
