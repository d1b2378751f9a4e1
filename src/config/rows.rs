//! Apps from elsewhere than the configuration, held to the very same rules: an app's keys are those of `[[apps]]`, and what it
//! does not say is as in the embedded defaults.

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use toml::{Table as TomlTable, Value};

use super::apps::{DEVELOPMENT_SECRET, is_loopback};
use super::check::Check;
use super::document;
use super::error::{ConfigError, Place, Problem};
use super::layers::{Layers, Places};
use super::raw::RawApp;
use crate::apps::App;

/// Reads apps out of rows of a table.
#[derive(Clone, Debug)]
pub struct AppRows {
    /// What an app is unless its row says otherwise.
    defaults: TomlTable,
    /// Nobody but this machine reaches the server.
    is_private: bool,
}

/// What is wrong with a row; names columns, and shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowError(String);

impl RowError {
    /// In words that begin with the column.
    pub fn new(what: impl Into<String>) -> RowError {
        RowError(what.into())
    }
}

impl AppRows {
    /// For a server that listens on `host`.
    ///
    /// # Errors
    ///
    /// None as long as config/default.toml is in order, which a test sees to.
    pub fn new(host: &str) -> Result<AppRows, ConfigError> {
        Ok(AppRows {
            defaults: Layers::defaults()?.into_app_defaults(),
            is_private: is_loopback(host),
        })
    }

    /// The app that these keys and values make; null is as if it were not there. The app has no index yet.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn read(&self, row: Map<String, Json>) -> Result<App, RowError> {
        let row = without_nulls(Json::Object(row));
        let unwritable = |_| RowError::new("webhooks cannot be read");
        let row = Value::try_from(row).map_err(unwritable)?;
        let list = TomlTable::from_iter([("apps".to_owned(), Value::Array(vec![row]))]);
        let text = toml::to_string(&list).map_err(unwritable)?;
        // Through the reader of documents, which knows the keys, their types, and how to speak of what is wrong.
        let place = |line, column| Place::Defaults { line, column };
        let (mut read, places) = document::read(&text, place).map_err(|error| said(&error))?;
        let Some(Value::Array(apps)) = read.get_mut("apps") else {
            return Err(RowError::new("id is missing"));
        };
        let Some(Value::Table(mut app)) = apps.pop() else {
            return Err(RowError::new("id is missing"));
        };
        for (key, value) in &self.defaults {
            app.entry(key).or_insert_with(|| value.clone());
        }
        let raw = RawApp::deserialize(Value::Table(app));
        let raw = raw.map_err(|_| RowError::new("webhooks cannot be read"))?;
        self.check(&raw, &places)
    }

    fn check(&self, raw: &RawApp, places: &Places) -> Result<App, RowError> {
        let mut check = Check::new(places);
        let app = check.app(0, raw);
        let app = ConfigError::unless_none(app, check.into_problems()).map_err(|e| said(&e))?;
        if app.secret == DEVELOPMENT_SECRET && !self.is_private {
            let known = "secret is \"app-secret\", which the whole world knows; it is taken on loopback only";
            return Err(RowError::new(known));
        }
        Ok(app)
    }
}

/// The problems without the places, which are nobody's: "key is missing; enabled must be …".
fn said(error: &ConfigError) -> RowError {
    let texts = error.problems().iter().map(|problem| {
        let text = match problem {
            Problem::Invalid { path, why, .. } => format!("{path} {why}"),
            Problem::WrongType {
                path,
                expected,
                found,
                ..
            } => format!("{path} must be {expected}, found {found}"),
            Problem::UnknownKey { path, nearest, .. } => {
                format!("{path} is unknown; the nearest valid name is {nearest}")
            }
            // Never: what is read has just been written.
            _ => "it cannot be read".to_owned(),
        };
        text.replace("apps[0].", "")
    });
    RowError::new(texts.collect::<Vec<_>>().join("; "))
}

fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let there = fields.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(
                there
                    .map(|(key, value)| (key, without_nulls(value)))
                    .collect(),
            )
        }
        Json::Array(list) => {
            let there = list.into_iter().filter(|value| !value.is_null());
            Json::Array(there.map(without_nulls).collect())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn read(row: Json) -> Result<App, String> {
        let Json::Object(row) = row else {
            panic!("an object")
        };
        let rows = AppRows::new("127.0.0.1").unwrap();
        rows.read(row).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_is_the_app_that_the_same_keys_make_in_a_file() {
        let toml = "[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'c'\nclient_events = false\nmax_connections = 7\n\
                    allowed_origins = ['https://a.b']\n[[apps.webhooks]]\nurl = 'https://c.d/e'\nevents = ['cache_miss']";
        let row = json!({
            "id": "a", "key": "b", "secret": "c", "client_events": false, "max_connections": 7, "enabled": null,
            "allowed_origins": ["https://a.b"], "webhooks": [{ "url": "https://c.d/e", "events": ["cache_miss"] }],
        });
        assert_eq!(read(row).unwrap(), Config::from_toml(toml).unwrap().apps[0]);
        let row = json!({ "id": "a", "key": "b", "secret": "c" });
        let toml = "[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'c'";
        assert_eq!(read(row).unwrap(), Config::from_toml(toml).unwrap().apps[0]);
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_by_its_columns_and_without_secrets() {
        assert_eq!(
            read(json!({ "key": "b c", "secret": "" })).unwrap_err(),
            "id is missing; key is \"b c\"; use letters, digits, and the characters - . _ ~; secret is empty"
        );
        let row = json!({ "id": "a", "key": "b", "secret": "hush", "webhooks": [{ "url": "ftp://u:hush@c" }] });
        assert_eq!(
            read(row).unwrap_err(),
            "webhooks[0].url is \"ftp://***@c\", which is not an http:// or https:// address"
        );
        let row = json!({ "id": "a", "key": "b", "secret": "hush", "webhooks": ["hush"] });
        assert!(!read(row).unwrap_err().contains("hush"));
        let row = json!({ "id": "a", "key": "b", "secret": "c", "webhooks": [{ "uri": "hush" }] });
        assert_eq!(
            read(row).unwrap_err(),
            "webhooks[0].uri is unknown; the nearest valid name is webhooks[0].url"
        );
    }

    #[test]
    fn the_development_secret_is_for_loopback_here_too() {
        let row = || {
            let row = json!({ "id": "a", "key": "b", "secret": DEVELOPMENT_SECRET });
            row.as_object().unwrap().clone()
        };
        let read = |host: &str| AppRows::new(host).unwrap().read(row());
        assert!(read("localhost").is_ok());
        assert!(
            read("0.0.0.0")
                .unwrap_err()
                .to_string()
                .contains("loopback")
        );
    }
}
