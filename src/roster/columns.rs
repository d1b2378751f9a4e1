//! The values of a row: what databases, and those who fill them, write for a text, a flag, a number or a list.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::layout::{Keys, Row};
use crate::config::RowError;

/// Reads one row. A column that is not there, and one that is empty, says nothing.
pub(super) struct Reader<'a> {
    pub(super) row: &'a Row,
    /// What it asks for and gema cannot do, by its column.
    pub(super) unheeded: &'a mut BTreeSet<String>,
    /// What it has come to so far.
    pub(super) keys: Keys,
}

impl Reader<'_> {
    /// The app gets this value under this key.
    pub(super) fn put(&mut self, key: &str, value: Value) {
        self.keys.insert(key.to_owned(), value);
    }

    /// What stands in the column is the app's under this key.
    pub(super) fn text(&mut self, column: &str, key: &str) {
        if let Some(text) = self.row.get(column) {
            self.put(key, json!(text));
        }
    }

    /// The same of a yes or a no.
    pub(super) fn flag(&mut self, column: &str, key: &str) -> Result<(), RowError> {
        if let Some(flag) = self.bool(column)? {
            self.put(key, json!(flag));
        }
        Ok(())
    }

    /// A yes or a no as databases write it, of which not all have the type.
    pub(super) fn bool(&self, column: &str) -> Result<Option<bool>, RowError> {
        let Some(text) = self.row.get(column) else {
            return Ok(None);
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "1" | "t" | "true" | "y" | "yes" | "on" | "\u{1}" => Ok(Some(true)),
            "0" | "f" | "false" | "n" | "no" | "off" | "\0" => Ok(Some(false)),
            _ => Err(RowError::new(format!("{column} must be true or false"))),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, column: &str) -> Result<Option<i64>, RowError> {
        let text = self.row.get(column).map(|text| text.trim());
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        // 7.0 where the column has a fraction.
        let whole = text
            .split_once('.')
            .filter(|(_, rest)| rest.bytes().all(|b| b == b'0'));
        let number = whole.map_or(text, |(whole, _)| whole).parse();
        number
            .map(Some)
            .map_err(|_| RowError::new(format!("{column} must be a whole number")))
    }

    /// The app's origins: a JSON list, or texts with commas between; nothing is all.
    pub(super) fn origins(&mut self) -> Result<(), RowError> {
        let column = "allowed_origins";
        let text = self.row.get(column).map(|text| text.trim());
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        let list = match text.starts_with('[') {
            true => self.json_list(column)?.unwrap_or_default(),
            false => {
                let parts = text.split(',').map(str::trim);
                parts
                    .filter(|part| !part.is_empty())
                    .map(|part| json!(part))
                    .collect()
            }
        };
        self.put(column, Value::Array(list));
        Ok(())
    }

    /// A JSON list, or `null`.
    pub(super) fn json_list(&self, column: &str) -> Result<Option<Vec<Value>>, RowError> {
        let text = self.row.get(column).map(|text| text.trim());
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        // What the parser says could repeat a secret.
        let list: Option<Vec<Value>> = serde_json::from_str(text)
            .map_err(|_| RowError::new(format!("{column} must be a JSON list")))?;
        Ok(list)
    }
}
