//! Requests that this server makes itself: what failed, in words fit for a log.

use std::error::Error;

/// The error and its causes, without the address, which may hold a secret.
pub(crate) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
