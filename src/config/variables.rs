//! The environment as a source: GEMA_ variables, and the names other Pusher servers gave the first app's credentials.
//! Variables come in as a list, never from the process itself, so that tests do not share one environment.

use toml::Value;

use super::document::expected;
use super::error::{ConfigError, Place, Problem, nearest};
use super::layers::{Layers, Slot};
use super::raw::Kind;

/// The names that other servers and frameworks use, the strongest first.
pub(super) const ALIASES: [(Slot, &[&str]); 6] = [
    (
        Slot::App(0, "id"),
        &["PUSHER_APP_ID", "REVERB_APP_ID", "SOKETI_DEFAULT_APP_ID"],
    ),
    (
        Slot::App(0, "key"),
        &["PUSHER_APP_KEY", "REVERB_APP_KEY", "SOKETI_DEFAULT_APP_KEY"],
    ),
    (
        Slot::App(0, "secret"),
        &[
            "PUSHER_APP_SECRET",
            "REVERB_APP_SECRET",
            "SOKETI_DEFAULT_APP_SECRET",
        ],
    ),
    (Slot::Section("auth", "jwt_secret"), &["JWT_SECRET"]),
    (Slot::Section("redis", "url"), &["REDIS_URL"]),
    (Slot::Section("database", "url"), &["DATABASE_URL"]),
];

/// Lays the variables over what the documents say.
///
/// Only a name with `__` is taken for a key of ours: Kubernetes gives every container variables such as
/// `GEMA_PORT` and `GEMA_SERVICE_HOST` as soon as a service is called gema, and logging has `GEMA_LOG`.
/// An alias that is empty counts as not set, which is what compose files and `.env` templates mean by it.
///
/// # Errors
///
/// All unknown names and all values of the wrong type.
pub(super) fn lay(layers: &mut Layers, variables: &[(String, String)]) -> Result<(), ConfigError> {
    for (slot, names) in ALIASES {
        let set = names.iter().find_map(|name| {
            let is_set = |(given, value): &&(String, String)| given == name && !value.is_empty();
            variables.iter().find(is_set)
        });
        if let Some((name, value)) = set {
            layers.lay_value(
                &slot,
                Value::String(value.clone()),
                Place::Variable(name.clone()),
            );
        }
    }
    let slots: Vec<(String, Slot, Kind)> = Slot::all(layers.app_count())
        .map(|(slot, kind)| (variable(&slot), slot, kind))
        .collect();
    let mut problems = Vec::new();
    let ours = variables.iter().filter(|(name, _)| {
        name.strip_prefix("GEMA_")
            .is_some_and(|path| path.contains("__"))
    });
    for (name, text) in ours {
        let Some((_, slot, kind)) = slots.iter().find(|(known, ..)| known == name) else {
            problems.push(Problem::UnknownVariable {
                name: name.clone(),
                nearest: nearest(slots.iter().map(|(known, ..)| known.as_str()), |known| {
                    strsim::normalized_damerau_levenshtein(known, name)
                }),
            });
            continue;
        };
        let place = Place::Variable(name.clone());
        match read(*kind, text) {
            Some(value) => layers.lay_value(slot, value, place),
            None => problems.push(Problem::WrongType {
                at: place,
                path: slot.path(),
                expected: expected(*kind, &slot.path()),
                found: format!("\"{text}\""),
            }),
        }
    }
    ConfigError::unless_none((), problems)
}

/// The variable that sets this key.
pub(super) fn variable(slot: &Slot) -> String {
    match slot {
        Slot::Section(section, key) => format!("GEMA_{section}__{key}"),
        Slot::App(index, key) => format!("GEMA_APPS__{index}__{key}"),
    }
    .to_ascii_uppercase()
}

/// The text as a value of this kind; a list is written with commas, or as in the file.
fn read(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::String(text.to_owned())),
        Kind::Flag => text.trim().parse().ok().map(Value::Boolean),
        Kind::Whole(max) => {
            let number: u64 = text.trim().parse().ok()?;
            let number = (number <= max).then_some(number)?;
            i64::try_from(number).ok().map(Value::Integer)
        }
        Kind::TextList if text.trim_start().starts_with('[') => {
            let entries: Vec<String> = text.parse::<Value>().ok()?.try_into().ok()?;
            Some(Value::from(entries))
        }
        Kind::TextList => {
            let entries = text.split(',').map(str::trim);
            let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
            Some(Value::from(entries))
        }
        Kind::TextMap | Kind::Table(_) | Kind::Tables(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::KeySource;
    use crate::config::{Config, ConfigError, Sources};

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Config::load(&Sources {
            env: env.collect(),
            ..Sources::default()
        })
    }

    fn complaint(name: &str, value: &str) -> String {
        load(&[(name, value)]).unwrap_err().to_string()
    }

    #[test]
    fn every_type_of_key_can_be_a_variable() {
        let config = load(&[
            ("GEMA_SERVER__PORT", "6002"),
            ("GEMA_SERVER__PATH_PREFIX", "/x"),
            ("GEMA_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("GEMA_AUTH__USER_INFO", "['name', 'avatar']"),
            ("GEMA_APPS__0__CLIENT_EVENTS", "false"),
        ])
        .unwrap();
        assert_eq!(config.server.port, 6002);
        assert_eq!(config.server.path_prefix, "/x");
        assert_eq!(config.server.trusted_proxies.len(), 2);
        assert_eq!(config.auth.settings.user_info, ["name", "avatar"]);
        assert!(!config.apps[0].client_events);
        assert!(
            load(&[("GEMA_AUTH__USER_INFO", "")])
                .unwrap()
                .auth
                .settings
                .user_info
                .is_empty()
        );
    }

    #[test]
    fn a_variable_of_the_wrong_type_is_refused_by_name() {
        assert_eq!(
            complaint("GEMA_SERVER__PORT", "70000"),
            "GEMA_SERVER__PORT: server.port must be a whole number from 0 to 65535, found \"70000\""
        );
        assert_eq!(
            complaint("GEMA_APPS__0__ENABLED", "maybe"),
            "GEMA_APPS__0__ENABLED: apps[0].enabled must be true or false, found \"maybe\""
        );
        assert_eq!(
            complaint("GEMA_SERVER__TRUSTED_PROXIES", "[1]"),
            "GEMA_SERVER__TRUSTED_PROXIES: server.trusted_proxies must be a list of texts such as \
             [\"a\", \"b\"], found \"[1]\""
        );
    }

    #[test]
    fn a_variable_with_an_impossible_value_is_refused_by_name() {
        assert_eq!(
            complaint("GEMA_LIMITS__MESSAGE_BYTES", "0"),
            "GEMA_LIMITS__MESSAGE_BYTES: limits.message_bytes is 0; it must be at least 1"
        );
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_name() {
        assert_eq!(
            complaint("GEMA_SERVER__PROT", "6002"),
            "GEMA_SERVER__PROT: unknown variable; the nearest valid name is GEMA_SERVER__PORT"
        );
        assert_eq!(
            complaint("GEMA_APPS__1__SECRET", "x"),
            "GEMA_APPS__1__SECRET: unknown variable; the nearest valid name is GEMA_APPS__0__SECRET"
        );
    }

    #[test]
    fn variables_that_name_no_level_are_not_ours() {
        let variables = [
            ("GEMA_LOG", "debug"),
            ("GEMA_LOG_FORMAT", "json"),
            ("GEMA_PORT", "tcp://10.0.0.7:80"),
            ("HOME__PAGE", "x"),
        ];
        assert_eq!(load(&variables).unwrap().server.port, 6001);
    }

    #[test]
    fn the_usual_names_fill_the_first_app() {
        for prefix in ["PUSHER_APP_", "REVERB_APP_", "SOKETI_DEFAULT_APP_"] {
            let [id, key, secret] = ["ID", "KEY", "SECRET"].map(|name| format!("{prefix}{name}"));
            let config = load(&[(&id, "1"), (&key, "k"), (&secret, "s")]).unwrap();
            let app = &config.apps[0];
            assert_eq!(
                (app.id.as_str(), app.key.as_str(), app.secret.as_str()),
                ("1", "k", "s")
            );
            assert_eq!(config.auth.app, "1");
        }
        let config = load(&[("JWT_SECRET", "j")]).unwrap();
        assert!(has_secret(&config, "j"));
    }

    #[test]
    fn our_own_name_wins_over_pusher_over_reverb_over_soketi() {
        let all = [
            ("SOKETI_DEFAULT_APP_KEY", "soketi"),
            ("REVERB_APP_KEY", "reverb"),
            ("PUSHER_APP_KEY", "pusher"),
            ("GEMA_APPS__0__KEY", "gema"),
        ];
        for (count, expected) in (1..).zip(["soketi", "reverb", "pusher", "gema"]) {
            assert_eq!(load(&all[..count]).unwrap().apps[0].key, expected);
        }
        let both = load(&[("GEMA_AUTH__JWT_SECRET", "ours"), ("JWT_SECRET", "theirs")]).unwrap();
        assert!(has_secret(&both, "ours"));
    }

    #[test]
    fn an_empty_alias_is_not_set() {
        let config = load(&[("PUSHER_APP_KEY", ""), ("REVERB_APP_KEY", "reverb")]).unwrap();
        assert_eq!(config.apps[0].key, "reverb");
        assert_eq!(
            complaint("GEMA_APPS__0__KEY", ""),
            "GEMA_APPS__0__KEY: apps[0].key is empty"
        );
    }

    fn has_secret(config: &Config, expected: &str) -> bool {
        matches!(&config.auth.settings.key, KeySource::Secret(secret) if secret == expected)
    }
}
