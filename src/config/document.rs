//! Reads one TOML document against the keys and types of `raw`.
//! Done by hand over the parsed document, because serde's errors know neither the full path nor all mistakes.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table as TomlTable, Value};

use super::error::{ConfigError, Place, Problem, nearest};
use super::layers::Places;
use super::raw::{self, Keys, Kind, Raw, Table, join};

/// The document's values and where each stands. `place` says where a line and a column of the text are.
///
/// # Errors
///
/// Text that is not TOML, or all unknown keys and wrong types in it.
pub(super) fn read(
    text: &str,
    place: impl Fn(usize, usize) -> Place,
) -> Result<(TomlTable, Places), ConfigError> {
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
    let values = reader.table(Raw::KEYS, document.get_ref(), "");
    ConfigError::unless_none((values, reader.places), reader.problems)
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
        Kind::Tables(_) => {
            let mut header = path.to_owned();
            while let (Some(open), Some(close)) = (header.find('['), header.find(']')) {
                header.replace_range(open..=close, "");
            }
            format!("a list of tables, each under [[{header}]]")
        }
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
}
