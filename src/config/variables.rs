//! The environment as a source: GEMA_ variables, and the names other Pusher servers gave the first app's credentials.
//! Variables come in as a list, never from the process itself, so that tests do not share one environment.

use toml::Value;

use super::error::{ConfigError, Place, Problem, nearest};
use super::layers::{Layers, Slot, expected};
use super::raw::Kind;

/// The names that other servers and frameworks use, the strongest first.
const ALIASES: [(Slot, &[&str]); 4] = [
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
