//! The key set behind `auth.jwks_url` (RFC 7517): fetched when needed, kept, and never fetched too often.
//!
//! A token with a key id that is not in the set may announce a rotation, so it causes a fetch; anyone can write such a
//! token, so between two fetches there is a pause. One fetch is in flight at a time, and those who need it wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::{info, warn};

use super::AuthSetupError;
use super::jwt::{Header, Key, TokenError};
use crate::outbound;

/// A set older than this is fetched again before it is used: how long a withdrawn key lives on.
const FRESH_S: u64 = 600;
/// Between two fetches, while keys are known.
const PAUSE_S: u64 = 30;
/// Between two fetches, as long as there has been no key at all: the issuer may be starting too.
const FIRST_PAUSE_S: u64 = 5;
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 1024 * 1024;
/// A token without a key id is tried with every key; real sets hold a handful.
const MAX_KEYS: usize = 100;

pub(super) struct Jwks {
    url: Url,
    client: Client,
    known: Mutex<Known>,
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// What the fetches so far came to. Times are the caller's, in seconds since 1970.
#[derive(Default)]
struct Known {
    keys: Option<Arc<[Listed]>>,
    fetched_s: u64,
    tried_s: Option<u64>,
    failing: bool,
}

struct Listed {
    id: Option<String>,
    key: Key,
}

impl Jwks {
    pub(super) fn new(url: &str) -> Result<Jwks, AuthSetupError> {
        let parsed = Url::parse(url).ok();
        let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
        Ok(Jwks {
            url: parsed.ok_or(AuthSetupError::JwksUrl)?,
            client: Client::builder().timeout(TIMEOUT).build()?,
            known: Mutex::default(),
            fetching: Arc::default(),
        })
    }

    /// The claims of a token that one of the set's keys signed. Nothing but the signature is checked.
    pub(super) async fn claims(
        self: &Arc<Self>,
        token: &str,
        header: &Header,
        now_s: u64,
    ) -> Result<Map<String, Value>, TokenError> {
        if self.known().is_stale(now_s) {
            self.fetch(now_s, Known::is_stale).await;
        }
        if !self.known().lists(header) {
            self.fetch(now_s, |known, _| !known.lists(header)).await;
        }
        let (keys, failing) = {
            let known = self.known();
            (known.keys.clone().unwrap_or_default(), known.failing)
        };
        let mut candidates = keys
            .iter()
            .filter(|listed| listed.may_be(header))
            .peekable();
        if candidates.peek().is_none() {
            return Err(if failing {
                TokenError::KeysUnreachable
            } else {
                TokenError::UnknownKey
            });
        }
        let mut refused = TokenError::Algorithm;
        for candidate in candidates {
            match candidate.key.claims(token, header) {
                Ok(claims) => return Ok(claims),
                Err(TokenError::Algorithm) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Fetches the set if it is `needed` once this caller's turn has come, and allowed.
    async fn fetch(self: &Arc<Self>, now_s: u64, needed: impl Fn(&Known, u64) -> bool) {
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        {
            let known = self.known();
            if !known.may_try(now_s) || !needed(&known, now_s) {
                return;
            }
        }
        let this = Arc::clone(self);
        // In a task of its own, so that a client that hangs up does not cut the fetch short for the others.
        let fetch = tokio::spawn(async move {
            let fetched = this.download().await;
            this.known().note(fetched, now_s);
            drop(turn);
        });
        if fetch.await.is_err() {
            warn!("the fetch of auth.jwks_url was cut short");
        }
    }

    async fn download(&self) -> Result<Arc<[Listed]>, FetchError> {
        let response = self.client.get(self.url.clone()).send().await;
        let mut response = response
            .map_err(FetchError::http)?
            .error_for_status()
            .map_err(FetchError::http)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::http)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        parse(&body)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is a plain assignment; a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_stale(&self, now_s: u64) -> bool {
        // abs_diff: a clock that is set back must not keep old keys for ever.
        self.keys.is_none() || now_s.abs_diff(self.fetched_s) >= FRESH_S
    }

    fn may_try(&self, now_s: u64) -> bool {
        let pause = if self.keys.is_some() {
            PAUSE_S
        } else {
            FIRST_PAUSE_S
        };
        self.tried_s
            .is_none_or(|tried| now_s.abs_diff(tried) >= pause)
    }

    fn lists(&self, header: &Header) -> bool {
        let keys = self.keys.as_deref().unwrap_or_default();
        keys.iter().any(|listed| listed.may_be(header))
    }

    fn note(&mut self, fetched: Result<Arc<[Listed]>, FetchError>, now_s: u64) {
        self.tried_s = Some(now_s);
        let failed_before = self.failing;
        self.failing = fetched.is_err();
        match fetched {
            Ok(keys) => {
                if failed_before {
                    info!(keys = keys.len(), "auth.jwks_url answers again");
                }
                self.keys = Some(keys);
                self.fetched_s = now_s;
            }
            Err(error) if !failed_before => {
                let kept = self.keys.as_ref().map_or(0, |keys| keys.len());
                warn!(kept, "auth.jwks_url gave no key set: {error}");
            }
            Err(_) => {}
        }
    }
}

impl Listed {
    /// Whether this is the key the token names. Without names on both sides, any may be.
    fn may_be(&self, header: &Header) -> bool {
        match (&self.id, &header.key_id) {
            (Some(id), Some(named)) => id == named,
            _ => true,
        }
    }
}

/// Keys of kinds unknown to us are left out: a set may serve other readers too.
fn parse(body: &[u8]) -> Result<Arc<[Listed]>, FetchError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| FetchError::NotAKeySet)?;
    let usable = set.keys.into_iter().filter_map(|value| {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let key = Key::public_jwk(&jwk)?;
        Some(Listed {
            id: jwk.common.key_id,
            key,
        })
    });
    Ok(usable.take(MAX_KEYS).collect())
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("the answer is longer than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the answer is no JSON Web Key Set")]
    NotAKeySet,
}

impl FetchError {
    fn http(error: reqwest::Error) -> FetchError {
        FetchError::Http(outbound::reason(error))
    }
}
