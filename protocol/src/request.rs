//! The signature of a request to the HTTP API, given the time.
//!
//! Signed is `METHOD\nPATH\nPARAMS`: the path without the query, and all query parameters but the signature itself,
//! their keys in lower case and sorted, their values decoded, as `k=v` joined by `&`. Source: "Authenticating requests"
//! of Pusher's HTTP API reference; the texts of refusals are those its users know.

use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use crate::auth::{hex_hmac, hmac, is_hex_of, same};
use crate::query::Params;

/// How far the client's clock may be off, in seconds.
const WINDOW_S: u64 = 600;

const VERSION: &str = "1.0";

/// The parts of a request that its signature covers.
#[derive(Clone, Copy, Debug)]
pub struct ApiRequest<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// As on the wire, without the query.
    pub path: &'a str,
    /// As on the wire, without the question mark; "" when there is none.
    pub query: &'a str,
    /// As on the wire; empty when there is none.
    pub body: &'a [u8],
}

impl ApiRequest<'_> {
    /// Checks key, version, time, digest of the body, and signature. `prefix` is the path under which the server is
    /// mounted behind a proxy, "" for none: some clients sign it, some do not. `now_s` is the Unix time in seconds.
    ///
    /// # Errors
    /// Says what is missing or wrong, in words fit for the body of a 401. The secret is not in them.
    pub fn verify(
        &self,
        key: &str,
        secret: &str,
        prefix: &str,
        now_s: u64,
    ) -> Result<(), RequestError> {
        let params = Params::of(self.query);
        let auth_key = params.get("auth_key").ok_or(RequestError::MissingKey)?;
        if !same(auth_key, key) {
            return Err(RequestError::UnknownKey);
        }
        match params
            .get("auth_version")
            .ok_or(RequestError::MissingVersion)?
        {
            VERSION => {}
            _ => return Err(RequestError::Version),
        }
        let timestamp = params
            .get("auth_timestamp")
            .ok_or(RequestError::MissingTimestamp)?;
        let given_s: u64 = timestamp.parse().map_err(|_| RequestError::BadTimestamp)?;
        if given_s.abs_diff(now_s) >= WINDOW_S {
            return Err(RequestError::Expired { given_s, now_s });
        }
        match params.get("body_md5") {
            // Python's SDK sends the digest of an empty body as well, so whatever is there has to be right.
            Some(digest) if !same(digest, &body_md5(self.body)) => return Err(RequestError::Body),
            None if !self.body.is_empty() => return Err(RequestError::MissingBodyMd5),
            _ => {}
        }
        let given = params
            .get("auth_signature")
            .ok_or(RequestError::MissingSignature)?;
        let signed = params.signed();
        let paths = self.paths(prefix);
        let is_signed =
            |path: &String| is_hex_of(given, hmac(secret, self.text(path, &signed).as_bytes()));
        if paths.iter().any(is_signed) {
            return Ok(());
        }
        let [path, ..] = &paths;
        Err(RequestError::Signature {
            expected_of: self.text(path, &signed),
            given: given.to_owned(),
        })
    }

    /// Signs the request as an SDK does: what comes back is its complete query, the parameters in `query` included,
    /// percent-encoded, without the question mark. `now_s` is the Unix time in seconds.
    #[must_use]
    pub fn sign(&self, key: &str, secret: &str, now_s: u64) -> String {
        let mut params = Params::of(self.query).unsigned();
        params.add("auth_key", key.to_owned());
        params.add("auth_timestamp", now_s.to_string());
        params.add("auth_version", VERSION.to_owned());
        if !self.body.is_empty() {
            params.add("body_md5", body_md5(self.body));
        }
        let text = self.text(self.path, &params.signed());
        params.encoded() + "&auth_signature=" + &hex_hmac(secret, text.as_bytes())
    }

    fn text(&self, path: &str, params: &str) -> String {
        format!("{}\n{path}\n{params}", self.method.to_ascii_uppercase())
    }

    /// What the client may have signed as the path: SDKs sign names unescaped but their HTTP library may escape them,
    /// and the prefix may be the proxy's business or the client's.
    fn paths(&self, prefix: &str) -> [String; 4] {
        let prefix = prefix.trim_end_matches('/');
        let bare = self
            .path
            .strip_prefix(prefix)
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(self.path);
        let decoded = percent_decode_str(bare).decode_utf8_lossy();
        [
            bare.to_owned(),
            format!("{prefix}{bare}"),
            decoded.to_string(),
            format!("{prefix}{decoded}"),
        ]
    }
}

fn body_md5(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// Why a request was refused. The fault is the client's; the texts are the body of the 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No `auth_key`.
    #[error("Missing parameter: auth_key")]
    MissingKey,
    /// An `auth_key` that is not the app's.
    #[error("Unknown auth_key")]
    UnknownKey,
    /// No `auth_version`.
    #[error("Version required")]
    MissingVersion,
    /// An `auth_version` other than 1.0.
    #[error("Version not supported")]
    Version,
    /// No `auth_timestamp`.
    #[error("Timestamp required")]
    MissingTimestamp,
    /// An `auth_timestamp` that is not a Unix time in seconds.
    #[error("Timestamp invalid: auth_timestamp must be the Unix time in whole seconds")]
    BadTimestamp,
    /// Too old, or too far in the future.
    #[error(
        "Timestamp expired: Given timestamp ({given_s}) not within {WINDOW_S}s of server time ({now_s})"
    )]
    Expired {
        /// The client's time in Unix seconds.
        given_s: u64,
        /// The server's time in Unix seconds.
        now_s: u64,
    },
    /// A body, but no `body_md5`.
    #[error("Missing parameter: body_md5")]
    MissingBodyMd5,
    /// A `body_md5` that is not the digest of the body that arrived.
    #[error("Invalid body_md5: it is not the MD5 of the body that was received")]
    Body,
    /// No `auth_signature`.
    #[error("Missing parameter: auth_signature")]
    MissingSignature,
    /// A signature of something else, or by another secret.
    #[error(
        "Invalid signature: you should have sent HmacSHA256Hex({expected_of:?}, your_secret_key), but you sent {given:?}"
    )]
    Signature {
        /// The text to sign, in its most usual form.
        expected_of: String,
        /// The signature that came.
        given: String,
    },
}

#[cfg(test)]
mod tests;
