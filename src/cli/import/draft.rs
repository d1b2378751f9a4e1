//! A gema.toml in the making: keys by section, apps, and what has no place in it.

use std::fmt::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use toml::Value;

use crate::config::DEVELOPMENT_SECRET;

/// Keys of a table and their values, in the order of writing.
pub(super) type Keys = Vec<(&'static str, Value)>;

/// The sections that an import can fill, in the order of config/default.toml.
const SECTIONS: [&str; 5] = ["server", "limits", "auth", "redis", "admin"];

/// The file so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    keys: Vec<(&'static str, &'static str, Value)>,
    apps: Vec<DraftApp>,
    left: Vec<String>,
}

/// An app and its webhooks.
#[derive(Clone, Debug, Default)]
pub(super) struct DraftApp {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) secret: String,
    /// Its other keys.
    pub(super) keys: Keys,
    pub(super) webhooks: Vec<Keys>,
}

impl Draft {
    /// Sets a key; what was set before is replaced.
    pub(super) fn set(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
    ) {
        self.keys
            .retain(|(at, known, _)| (*at, *known) != (section, key));
        self.keys.push((section, key, value.into()));
    }

    /// Notes what cannot be carried over, and why.
    pub(super) fn leave(&mut self, what: &str) {
        let line = what.split_whitespace().collect::<Vec<_>>().join(" ");
        if !self.left.contains(&line) {
            self.left.push(line);
        }
    }

    /// What cannot be carried over, one line each.
    pub(super) fn left(&self) -> &[String] {
        &self.left
    }

    /// Adds an app, unless there is one with its id or key already.
    pub(super) fn add(&mut self, app: DraftApp) {
        match self
            .apps
            .iter()
            .find(|known| known.id == app.id || known.key == app.key)
        {
            None => self.apps.push(app),
            // The same credentials under two names are one app.
            Some(known) if (&known.id, &known.key, &known.secret) == (&app.id, &app.key, &app.secret) => {}
            Some(_) => self.leave(&format!(
                "the app with the id \"{}\" and the key \"{}\": another one has the same id or key, and every app needs its \
                 own",
                app.id, app.key
            )),
        }
    }

    pub(super) fn has_no_app(&self) -> bool {
        self.apps.is_empty()
    }

    /// With the secret that everybody knows, gema listens on loopback only; anything else would not start.
    pub(super) fn keep_the_development_secret_at_home(&mut self) {
        if self.apps.iter().any(|app| app.secret == DEVELOPMENT_SECRET) {
            self.set("server", "host", "127.0.0.1");
            self.leave(&format!(
                "listening on every address: an app has the secret \"{DEVELOPMENT_SECRET}\"; give it one of its own, and \
                 set server.host"
            ));
        }
    }

    /// The whole file; `from` names what it was made of.
    pub(super) fn to_toml(&self, from: &str) -> String {
        let mut text = format!(
            "# Made by gema import from {from}. gema check --config FILE shows all that is in effect;\n\
             # config/default.toml explains every key.\n"
        );
        if !self.left.is_empty() {
            text.push_str("#\n# Not carried over:\n");
            for line in &self.left {
                // A comment cannot hold control characters.
                let line = line.replace(char::is_control, " ");
                writeln!(text, "# - {line}").ok();
            }
        }
        for section in SECTIONS {
            let keys: Vec<_> = self.keys.iter().filter(|(at, ..)| *at == section).collect();
            if keys.is_empty() {
                continue;
            }
            writeln!(text, "\n[{section}]").ok();
            for (_, key, value) in keys {
                writeln!(text, "{key} = {value}").ok();
            }
        }
        for app in &self.apps {
            text.push_str("\n[[apps]]\n");
            for (key, value) in [("id", &app.id), ("key", &app.key), ("secret", &app.secret)] {
                writeln!(text, "{key} = {}", Value::from(value.as_str())).ok();
            }
            table(&mut text, &app.keys);
            for webhook in &app.webhooks {
                text.push_str("\n[[apps.webhooks]]\n");
                table(&mut text, webhook);
            }
        }
        text
    }
}

fn table(text: &mut String, keys: &Keys) {
    for (key, value) in keys {
        writeln!(text, "{key} = {value}").ok();
    }
}

/// Credentials for a URL of Redis, with the `@` behind them; "" without any.
pub(super) fn userinfo(user: Option<&str>, password: Option<&str>) -> String {
    let encoded = |text: Option<&str>| {
        utf8_percent_encode(text.unwrap_or_default(), NON_ALPHANUMERIC).to_string()
    };
    match (user, password) {
        (None, None) => String::new(),
        _ => format!("{}:{}@", encoded(user), encoded(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_cannot_end_its_comment() {
        let mut draft = Draft::default();
        draft.leave("a\n[server]\nport = 1");
        draft.set("server", "host", "a\"b\n");
        draft.set("server", "port", 1);
        draft.set("server", "port", 2);
        let text = draft.to_toml("x");
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["server"]["port"], Value::from(2));
        assert_eq!(table["server"]["host"], Value::from("a\"b\n"));
    }

    #[test]
    fn passwords_are_written_so_that_a_url_can_hold_them() {
        assert_eq!(userinfo(None, None), "");
        assert_eq!(userinfo(None, Some("p@:/")), ":p%40%3A%2F@");
        assert_eq!(userinfo(Some("me"), Some("x")), "me:x@");
    }
}
