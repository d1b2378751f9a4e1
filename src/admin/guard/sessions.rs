//! Who has logged in: a random id in a cookie, and until when it counts.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gema_protocol::auth::same;
use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use crate::clock;

/// The cookie with the session's id.
const NAME: &str = "gema_console";

/// How long a session lasts: a working day.
const LIFE_S: u64 = 12 * 3600;

/// Sessions at a time; the oldest ends when there is one more.
const MOST: usize = 64;

/// The sessions there are.
#[derive(Default)]
pub(super) struct Sessions {
    /// Ids, and until when they count in [`clock::now_ms`] time; the oldest first.
    open: Mutex<VecDeque<(String, u64)>>,
}

impl Sessions {
    /// Begins a session; gives the header that makes a browser keep it, or none where the system has no random number.
    pub(super) fn begin(&self) -> Option<HeaderValue> {
        let [Ok(high), Ok(low)] = [(); 2].map(|()| getrandom::u64()) else {
            return None;
        };
        let id = format!("{high:016x}{low:016x}");
        let cookie = cookie(&id, LIFE_S);
        let mut open = self.open();
        if open.len() >= MOST {
            open.pop_front();
        }
        open.push_back((id, clock::now_ms() + LIFE_S * 1000));
        Some(cookie)
    }

    /// Ends the session of this request; gives the header that makes the browser forget it.
    pub(super) fn end(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(id) = id(headers) {
            self.open().retain(|(known, _)| !same(known, id));
        }
        cookie("", 0)
    }

    /// Whether the request is of a session that has not ended.
    pub(super) fn has(&self, headers: &HeaderMap) -> bool {
        let Some(id) = id(headers) else {
            return false;
        };
        let now_ms = clock::now_ms();
        let mut open = self.open();
        open.retain(|(_, until_ms)| now_ms < *until_ms);
        open.iter().any(|(known, _)| same(known, id))
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<(String, u64)>> {
        // Nothing inside the lock can panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// HTTP has no `Secure` here: behind TLS it is the proxy's to add.
fn cookie(id: &str, life_s: u64) -> HeaderValue {
    let text = format!("{NAME}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life_s}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

fn id(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name.trim() == NAME).then(|| value.trim())
        })
}
