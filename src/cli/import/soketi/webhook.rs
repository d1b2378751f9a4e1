//! A webhook of a Soketi app, as one of gema's.

use std::collections::BTreeMap;

use reqwest::Url;
use serde_json::Value;

use crate::apps::WebhookEvent;
use crate::cli::import::draft::{Draft, Keys};
use crate::cli::import::value::text;

/// Headers that gema sets itself, and Soketi too.
const OWN_HEADERS: [&str; 4] = ["content-type", "x-pusher-key", "x-pusher-signature", "host"];

/// The keys of `[[apps.webhooks]]`; none when there is nothing that gema could post to.
pub(super) fn read(webhook: Value, app: &str, batch_ms: i64, draft: &mut Draft) -> Option<Keys> {
    let Some(url) = webhook["url"].as_str().filter(|url| is_web(url)) else {
        draft.leave(&format!(
            "a webhook of app {app}: it has no http:// or https:// address{}",
            match webhook["lambda_function"].is_string() {
                true => " but a Lambda function, which gema does not call; give the function a URL",
                false => "",
            }
        ));
        return None;
    };
    let mut keys: Keys = vec![("url", url.into())];
    let mut events = Vec::new();
    for event in webhook["event_types"].as_array().into_iter().flatten() {
        match event.as_str().and_then(WebhookEvent::named) {
            Some(event) => events.push(event.name().to_owned()),
            None => draft.leave(&format!(
                "the webhook event {event} of app {app}: gema has no such event"
            )),
        }
    }
    if events.is_empty() {
        draft.leave(&format!(
            "a webhook of app {app}: it names no event that gema has"
        ));
        return None;
    }
    keys.push(("events", events.into()));
    let filter = &webhook["filter"];
    if let Some(prefix) = filter["channel_name_starts_with"].as_str() {
        keys.push(("channel_prefix", prefix.into()));
    }
    if let Some(suffix) = filter["channel_name_ends_with"].as_str() {
        draft.leave(&format!(
            "channel_name_ends_with = \"{suffix}\" of a webhook of app {app}: gema filters by the beginning of the name; the \
             receiver gets more now"
        ));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in webhook["headers"].as_object().into_iter().flatten() {
        if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            continue;
        }
        headers.extend(text(value).map(|value| (name.clone(), value)));
    }
    if !headers.is_empty() {
        keys.push(("headers", inline(headers)));
    }
    if batch_ms > 0 {
        keys.push(("batch_ms", batch_ms.into()));
    }
    Some(keys)
}

fn is_web(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn inline(headers: BTreeMap<String, String>) -> toml::Value {
    let entries = headers
        .into_iter()
        .map(|(name, value)| (name, toml::Value::from(value)));
    toml::Value::Table(entries.collect())
}
