//! Whose table of apps it is, told by its columns, and what its columns mean here: a row becomes the keys and values of an
//! `[[apps]]`. Gema's own; Soketi's (<https://docs.soketi.app/app-management/sql-drivers>); and that of laravel-websockets 2
//! (its migration `create_websockets_apps_table`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::columns::Reader;
use crate::config::RowError;

/// A row as the database gives it: texts by the names of their columns in small letters, null left out.
pub(super) type Row = BTreeMap<String, String>;

/// The keys of an `[[apps]]`.
pub(super) type Keys = Map<String, Value>;

/// How long Soketi leaves an app's connections that have to sign in, unless it is told otherwise, in seconds.
const SOKETI_PATIENCE_S: u64 = 30;

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The one that gema makes: columns as the keys of `[[apps]]`.
    Gema,
    /// Soketi's.
    Soketi,
    /// That of laravel-websockets.
    LaravelWebsockets,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layout::Gema => "gema's own",
            Layout::Soketi => "Soketi's",
            Layout::LaravelWebsockets => "that of laravel-websockets",
        })
    }
}

impl Layout {
    /// The one with these columns.
    ///
    /// # Errors
    ///
    /// The column without which no app can be made.
    pub(super) fn of(columns: &BTreeSet<String>) -> Result<Layout, &'static str> {
        let needed = ["id", "key", "secret"];
        if let Some(missing) = needed.into_iter().find(|name| !columns.contains(*name)) {
            return Err(missing);
        }
        let has = |name: &str| columns.contains(name);
        Ok(if has("capacity") || has("enable_statistics") {
            Layout::LaravelWebsockets
        } else if has("enable_client_messages") {
            Layout::Soketi
        } else {
            Layout::Gema
        })
    }

    /// What the row means. What it asks for and gema cannot do goes into `unheeded`, by its column.
    ///
    /// # Errors
    ///
    /// What is wrong with which column.
    pub(super) fn app(self, row: &Row, unheeded: &mut BTreeSet<String>) -> Result<Keys, RowError> {
        let mut reader = Reader {
            row,
            unheeded,
            keys: Keys::new(),
        };
        for name in ["id", "key", "secret"] {
            reader.text(name, name);
        }
        match self {
            Layout::Gema => reader.gema()?,
            Layout::Soketi => reader.soketi()?,
            Layout::LaravelWebsockets => reader.laravel()?,
        }
        Ok(reader.keys)
    }
}

impl Reader<'_> {
    fn gema(&mut self) -> Result<(), RowError> {
        for name in [
            "enabled",
            "client_events",
            "subscription_count",
            "watchlist",
        ] {
            self.flag(name, name)?;
        }
        for name in ["max_connections", "authorized_only_s"] {
            if let Some(number) = self.number(name)? {
                self.put(name, json!(number));
            }
        }
        self.text("encryption_master_key", "encryption_master_key");
        self.origins()?;
        if let Some(webhooks) = self.json_list("webhooks")? {
            self.put("webhooks", Value::Array(webhooks));
        }
        const KNOWN: [&str; 12] = [
            "id",
            "key",
            "secret",
            "enabled",
            "client_events",
            "subscription_count",
            "watchlist",
            "max_connections",
            "authorized_only_s",
            "encryption_master_key",
            "allowed_origins",
            "webhooks",
        ];
        // Notes of whoever has added them; or a slip, which should not go unseen.
        let others = self.row.keys();
        let others = others.filter(|name| !KNOWN.contains(&name.as_str()));
        self.unheeded.extend(others.cloned());
        Ok(())
    }

    fn soketi(&mut self) -> Result<(), RowError> {
        self.flag("enabled", "enabled")?;
        self.client_messages()?;
        match self.number("max_connections")? {
            Some(0) => {
                let none = "max_connections is 0, which lets nobody in; say enabled = 0 for that, or -1 for any number";
                return Err(RowError::new(none));
            }
            // -1: any number.
            Some(number) => self.put("max_connections", json!(number.max(0))),
            None => {}
        }
        if self.bool("enable_user_authentication")? == Some(true) {
            self.put("authorized_only_s", json!(SOKETI_PATIENCE_S));
        }
        // What gema limits for all apps alike ([limits]).
        let limits = self.row.iter().filter(|(name, value)| {
            name.starts_with("max_") && *name != "max_connections" && is_set(value)
        });
        self.unheeded.extend(limits.map(|(name, _)| name.clone()));
        let Some(given) = self.json_list("webhooks")? else {
            return Ok(());
        };
        let mut webhooks = Vec::with_capacity(given.len());
        for webhook in given {
            webhooks.extend(self.soketi_webhook(&webhook)?);
        }
        self.put("webhooks", Value::Array(webhooks));
        Ok(())
    }

    /// `None` for one that only AWS could be sent.
    fn soketi_webhook(&mut self, given: &Value) -> Result<Option<Value>, RowError> {
        let Value::Object(given) = given else {
            return Err(RowError::new("webhooks must be a list of objects"));
        };
        let filled = |name: &str| given.get(name).filter(|value| !is_empty(value));
        let Some(url) = filled("url") else {
            if filled("lambda_function").is_some() {
                self.unheeded.insert("webhooks.lambda_function".to_owned());
                return Ok(None);
            }
            return Err(RowError::new("webhooks has an entry without url"));
        };
        // Without types there is nothing that it is told of.
        let Some(events) = filled("event_types") else {
            return Ok(None);
        };
        let mut webhook = json!({ "url": url, "events": events });
        if let Some(headers) = filled("headers") {
            webhook["headers"] = headers.clone();
        }
        if let Some(Value::Object(filter)) = filled("filter") {
            if let Some(prefix) = filter.get("channel_name_starts_with") {
                webhook["channel_prefix"] = prefix.clone();
            }
            let others = filter.iter();
            let others = others
                .filter(|(name, value)| *name != "channel_name_starts_with" && !is_empty(value));
            let others = others.map(|(name, _)| format!("webhooks.filter.{name}"));
            self.unheeded.extend(others);
        }
        Ok(Some(webhook))
    }

    fn laravel(&mut self) -> Result<(), RowError> {
        self.client_messages()?;
        // Null: any number.
        if let Some(capacity) = self.number("capacity")? {
            self.put("max_connections", json!(capacity.max(0)));
        }
        // Host names; none of them means all.
        self.origins()?;
        if self.bool("enable_statistics")? == Some(true) {
            self.unheeded.insert("enable_statistics".to_owned());
        }
        Ok(())
    }

    /// Off unless it is said, as in both.
    fn client_messages(&mut self) -> Result<(), RowError> {
        let messages = self.bool("enable_client_messages")?.unwrap_or(false);
        self.put("client_events", json!(messages));
        Ok(())
    }
}

/// A limit of Soketi's that limits something: -1, null and '' are none.
fn is_set(value: &str) -> bool {
    !value.trim().is_empty() && !value.trim().starts_with('-')
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[(&str, &str)]) -> Row {
        let columns = columns.iter();
        columns
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    const CREDENTIALS: [(&str, &str); 3] = [("id", "1"), ("key", "k"), ("secret", "s")];

    /// What these columns and those of every app mean, without these; and what is not heeded.
    fn read(layout: Layout, columns: &[(&str, &str)]) -> Result<(Value, Vec<String>), String> {
        let row = row(&[&CREDENTIALS, columns].concat());
        let mut unheeded = BTreeSet::new();
        let app = layout
            .app(&row, &mut unheeded)
            .map_err(|error| error.to_string())?;
        let mut app = Value::Object(app);
        for (name, value) in CREDENTIALS {
            assert_eq!(app[name], value);
            app.as_object_mut().unwrap().remove(name);
        }
        Ok((app, unheeded.into_iter().collect()))
    }

    fn layout(columns: &[&str]) -> Result<Layout, &'static str> {
        let names = CREDENTIALS
            .iter()
            .map(|(name, _)| *name)
            .chain(columns.iter().copied());
        Layout::of(&names.map(str::to_owned).collect())
    }

    #[test]
    fn a_layout_is_told_by_its_columns() {
        assert_eq!(layout(&[]), Ok(Layout::Gema));
        assert_eq!(layout(&["enabled", "client_events"]), Ok(Layout::Gema));
        let soketi = [
            "enabled",
            "enable_client_messages",
            "max_backend_events_per_sec",
        ];
        assert_eq!(layout(&soketi), Ok(Layout::Soketi));
        let laravel = [
            "name",
            "enable_client_messages",
            "enable_statistics",
            "capacity",
        ];
        assert_eq!(layout(&laravel), Ok(Layout::LaravelWebsockets));
        let strange = BTreeSet::from(["id".to_owned(), "title".to_owned()]);
        assert_eq!(Layout::of(&strange), Err("key"));
    }

    #[test]
    fn gemas_own_columns_are_the_keys_of_apps() {
        let columns = [
            ("enabled", "t"),
            ("client_events", "0"),
            ("watchlist", "FALSE"),
            ("max_connections", "7"),
            ("authorized_only_s", "3.0"),
            ("allowed_origins", "a.b, https://c.d ,"),
            ("webhooks", r#"[{"url":"http://x","batch_ms":5}]"#),
            ("note", "whose it is"),
        ];
        let (app, unheeded) = read(Layout::Gema, &columns).unwrap();
        let wanted = json!({
            "enabled": true, "client_events": false, "watchlist": false, "max_connections": 7, "authorized_only_s": 3,
            "allowed_origins": ["a.b", "https://c.d"], "webhooks": [{ "url": "http://x", "batch_ms": 5 }],
        });
        assert_eq!((app, unheeded), (wanted, vec!["note".to_owned()]));
        let (app, _) = read(Layout::Gema, &[("allowed_origins", r#"["a.b"]"#)]).unwrap();
        assert_eq!(app, json!({ "allowed_origins": ["a.b"] }));
    }

    #[test]
    fn soketis_columns_are_read_as_soketi_means_them() {
        let webhooks = r#"[
            {"url":"http://x","event_types":["member_added"],"headers":{"X-A":"b"},
             "filter":{"channel_name_starts_with":"a-","channel_name_ends_with":"-z"}},
            {"url":"http://y","event_types":["cache_miss"]},
            {"url":"http://z","event_types":[]},
            {"lambda_function":"f","event_types":["member_added"]}]"#;
        let columns = [
            ("enabled", "1"),
            ("enable_client_messages", "1"),
            ("max_connections", "-1"),
            ("max_backend_events_per_sec", "-1"),
            ("max_client_events_per_sec", "100"),
            ("max_event_payload_in_kb", ""),
            ("enable_user_authentication", "1"),
            ("webhooks", webhooks),
        ];
        let (app, unheeded) = read(Layout::Soketi, &columns).unwrap();
        let wanted = json!({
            "enabled": true, "client_events": true, "max_connections": 0, "authorized_only_s": 30,
            "webhooks": [
                { "url": "http://x", "events": ["member_added"], "headers": { "X-A": "b" }, "channel_prefix": "a-" },
                { "url": "http://y", "events": ["cache_miss"] },
            ],
        });
        assert_eq!(app, wanted);
        let wanted = [
            "max_client_events_per_sec",
            "webhooks.filter.channel_name_ends_with",
            "webhooks.lambda_function",
        ];
        assert_eq!(unheeded, wanted);
        let (app, _) = read(Layout::Soketi, &[("max_connections", "200")]).unwrap();
        assert_eq!(
            app,
            json!({ "client_events": false, "max_connections": 200 })
        );
        let error = read(Layout::Soketi, &[("max_connections", "0")]).unwrap_err();
        assert!(error.starts_with("max_connections is 0"), "{error}");
    }

    #[test]
    fn laravels_columns_are_read_as_laravel_websockets_means_them() {
        let columns = [
            ("name", "Shop"),
            ("host", "a.b"),
            ("enable_client_messages", "0"),
            ("enable_statistics", "1"),
            ("capacity", "50"),
            ("allowed_origins", "a.b,c.d"),
        ];
        let (app, unheeded) = read(Layout::LaravelWebsockets, &columns).unwrap();
        let wanted = json!({ "client_events": false, "max_connections": 50, "allowed_origins": ["a.b", "c.d"] });
        assert_eq!(
            (app, unheeded),
            (wanted, vec!["enable_statistics".to_owned()])
        );
        let (app, _) = read(Layout::LaravelWebsockets, &[("allowed_origins", "")]).unwrap();
        assert_eq!(app, json!({ "client_events": false }));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_column_and_not_shown() {
        let wrong = |column, value| read(Layout::Gema, &[(column, value)]).unwrap_err();
        assert_eq!(wrong("enabled", "perhaps"), "enabled must be true or false");
        assert_eq!(
            wrong("max_connections", "1.5"),
            "max_connections must be a whole number"
        );
        assert_eq!(wrong("webhooks", "{hush"), "webhooks must be a JSON list");
        assert_eq!(
            wrong("allowed_origins", "[hush"),
            "allowed_origins must be a JSON list"
        );
    }
}
