//! The debug console on the admin listener: who may look and act, that what it tells is true and bounded, and that looking
//! slows nobody down. Its page is tested in a browser.

mod access;
mod lists;
mod stream;
mod webhooks;

use serde_json::{Value, json};

/// What the event creator is filled in with.
fn made(channel: &str) -> Value {
    json!({ "app": "app-id", "channel": channel, "event": "made", "data": "{\"id\":1}" })
}
