//! One app of Soketi, as one of gema's.

use serde_json::{Map, Value};

use super::webhook;
use crate::cli::import::draft::{Draft, DraftApp};
use crate::cli::import::value::{flag, number, parsed, text};

/// Client events a second and connection; 0 = any number.
pub(super) fn rate(app: &mut Map<String, Value>) -> i64 {
    let names = [
        "maxClientEventsPerSecond",
        "MaxClientEventsPerSecond",
        "max_client_events_per_sec",
    ];
    let rate = names.iter().find_map(|name| app.remove(*name));
    rate.as_ref().and_then(number).unwrap_or(-1).max(0)
}

/// The app, with its webhooks, which collect events for `batch_ms`.
pub(super) fn read(mut app: Map<String, Value>, draft: &mut Draft, batch_ms: i64) -> DraftApp {
    // Soketi reads the columns of its databases under other spellings.
    let mut take = |names: [&str; 3]| {
        let found = names.iter().find_map(|name| app.remove(*name));
        found.filter(|value| !value.is_null())
    };
    let word = |value: Option<Value>, default: &str| {
        let word = value.as_ref().and_then(text);
        word.unwrap_or_else(|| default.to_owned())
    };
    let mut read = DraftApp {
        id: word(take(["id", "AppId", "app_id"]), "app-id"),
        key: word(take(["key", "AppKey", "app_key"]), "app-key"),
        secret: word(take(["secret", "AppSecret", "app_secret"]), "app-secret"),
        ..DraftApp::default()
    };
    if take(["enabled", "Enabled", "enabled"]).is_some_and(|on| !flag(&on)) {
        read.keys.push(("enabled", false.into()));
    }
    // Off in Soketi unless it is switched on.
    let clients = take([
        "enableClientMessages",
        "EnableClientMessages",
        "enable_client_messages",
    ]);
    let clients = clients.is_some_and(|on| flag(&on));
    read.keys.push(("client_events", clients.into()));
    let most = take(["maxConnections", "MaxConnections", "max_connections"]);
    if let Some(most) = most.as_ref().and_then(number).filter(|most| *most > 0) {
        read.keys.push(("max_connections", most.into()));
    }
    // What is derived from others, or on in gema anyway.
    take([
        "enableUserAuthentication",
        "EnableUserAuthentication",
        "enable_user_authentication",
    ]);
    let webhooks = take(["webhooks", "Webhooks", "webhooks"]).map(parsed);
    let id = read.id.clone();
    if let Some(Value::Array(webhooks)) = webhooks {
        for webhook in webhooks {
            read.webhooks
                .extend(webhook::read(webhook, &id, batch_ms, draft));
        }
    }
    for (name, value) in app {
        // -1 is no limit, and so is what was never set.
        let set = flag(&value) && number(&value) != Some(-1);
        if set && !name.starts_with("has") {
            draft.leave(&format!(
                "{name} of app {id}: gema's limits are for all apps; see [limits]"
            ));
        }
    }
    read
}
