//! The built-in authorizer: who a token speaks for, and what that user may subscribe to.
//! No HTTP server in here; the endpoints and the gateway call it.
//!
//! # Layout
//!
//! * [`Authorizer`]: the settings, ready for use.
//! * `jwt`: one token against one key. `jwks`: the keys behind a URL.
//! * `identity`: the user, out of the claims.
//! * `pattern`, `rules`: channel patterns; rules and guards made of them. `refusal`: what those hear who may not.
//! * `sign`: what a user gets signed.

use std::path::PathBuf;
use std::sync::Arc;

mod identity;
mod jwks;
mod jwt;
mod pattern;
mod refusal;
mod rules;
mod sign;
#[cfg(test)]
mod tests;

pub use self::identity::Identity;
pub use self::jwt::TokenError;
pub use self::pattern::PatternError;
pub use self::refusal::{GuardRefusal, Refusal};
pub use self::rules::{Guard, Rule};
pub use self::sign::{AppKeys, ChannelGrant, UserGrant};

use tracing::warn;

use self::jwks::Jwks;
use self::jwt::{Expected, Header, Key};
use crate::store::{Store, StoreError};

/// The `[auth]` section, as far as tokens and channels go.
#[derive(Clone)]
pub struct AuthSettings {
    /// What tokens are checked with.
    pub key: KeySource,
    /// What `iss` must be; `None`: anything.
    pub issuer: Option<String>,
    /// What `aud` must be or list; `None`: anything.
    pub audience: Option<String>,
    /// The claim with the user's id.
    pub claim_user: String,
    /// The claim with the user's name.
    pub claim_name: String,
    /// The claim with the user's roles, a text or a list of texts.
    pub claim_roles: String,
    /// The claims that other members of presence channels see.
    pub user_info: Vec<String>,
    /// Who may have which channel; the first that matches decides.
    pub rules: Vec<Rule>,
    /// Public channels that are not for everyone; the first that matches decides.
    pub guards: Vec<Guard>,
}

/// Where the key is that tokens are checked with.
#[derive(Clone)]
pub enum KeySource {
    /// Nowhere; every token is refused.
    None,
    /// A secret shared with the issuer: HS256.
    Secret(String),
    /// The issuer's public key: RS256, RS384, RS512, ES256, ES384 or EdDSA, as the key's kind allows.
    PublicKeyPem {
        /// The file it was read from, for error texts.
        path: PathBuf,
        /// The file's content.
        pem: Vec<u8>,
    },
    /// The http or https address of the issuer's key set (RFC 7517); algorithms as for a public key.
    Jwks(String),
}

/// Checks tokens, applies rules and guards, signs. Shared by all connections.
pub struct Authorizer {
    settings: AuthSettings,
    keys: Keys,
    /// For rules with `sql`.
    store: Option<Arc<Store>>,
}

enum Keys {
    None,
    One(Key),
    Set(Arc<Jwks>),
}

impl Authorizer {
    /// Reads the key; a key set is fetched when the first token comes. Rules with `sql` let nobody in until
    /// [`Self::asking`] has said where to ask.
    ///
    /// # Errors
    /// The setting that cannot be used.
    pub fn new(settings: AuthSettings) -> Result<Authorizer, AuthSetupError> {
        let keys = match &settings.key {
            KeySource::None => Keys::None,
            KeySource::Secret(secret) => Keys::One(Key::secret(secret)?),
            KeySource::PublicKeyPem { path, pem } => Keys::One(Key::public_pem(pem, path)?),
            KeySource::Jwks(url) => Keys::Set(Arc::new(Jwks::new(url)?)),
        };
        Ok(Authorizer {
            settings,
            keys,
            store: None,
        })
    }

    /// The same, with the database that rules with `sql` ask.
    #[must_use]
    pub fn asking(self, store: Option<Arc<Store>>) -> Authorizer {
        Authorizer { store, ..self }
    }

    /// The user for whom this token speaks. It may take some seconds when a key set has to be fetched first.
    ///
    /// # Errors
    /// Why the token is not believed: a 401, or a 503 if [`TokenError::is_ours`].
    pub async fn authenticate(&self, token: &str) -> Result<Identity, TokenError> {
        self.authenticate_at(token, crate::clock::unix_s()).await
    }

    /// [`Self::authenticate`] at a given time, in seconds since 1970.
    async fn authenticate_at(&self, token: &str, now_s: u64) -> Result<Identity, TokenError> {
        let claims = match &self.keys {
            Keys::None => return Err(TokenError::NoKey),
            Keys::One(key) => key.claims(token, &Header::read(token)?)?,
            Keys::Set(set) => set.claims(token, &Header::read(token)?, now_s).await?,
        };
        let expected = Expected {
            issuer: self.settings.issuer.as_deref(),
            audience: self.settings.audience.as_deref(),
        };
        expected.check(&claims, now_s)?;
        Identity::read(claims, &self.settings)
    }

    /// Whether the rules give this user a private or presence channel. It may take two seconds when the database is asked.
    ///
    /// # Errors
    /// Why not.
    pub async fn permit(&self, identity: &Identity, channel: &str) -> Result<(), Refusal> {
        let Some(asked) = rules::decide(&self.settings.rules, identity, channel)? else {
            return Ok(());
        };
        let answer = match &self.store {
            Some(store) => asked.question.ask(store, &asked.values).await,
            None => Err(StoreError::Away("it is not open".to_owned()).into()),
        };
        match answer {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::NoRow {
                channel: channel.to_owned(),
                user: identity.user_id.clone(),
            }),
            Err(error) => {
                warn!(channel, %error, "a channel rule with sql has no answer; the channel is refused");
                Err(Refusal::Undecided {
                    channel: channel.to_owned(),
                })
            }
        }
    }

    /// Whether a connection may subscribe to a public channel. `roles` are those of the user as whom it has signed in,
    /// `None` if it has not.
    ///
    /// # Errors
    /// Why not, for the subscription error.
    pub fn guard(&self, channel: &str, roles: Option<&[String]>) -> Result<(), GuardRefusal> {
        rules::guard(&self.settings.guards, channel, roles)
    }
}

/// Why the authorizer cannot start. The fault is the config's, or its surroundings'.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// A secret that everybody knows.
    #[error("auth.jwt_secret is empty")]
    EmptySecret,
    /// The file holds no usable public key.
    #[error("auth.jwt_public_key: {path}: {problem}", path = path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not an address to fetch from.
    #[error("auth.jwks_url must be an http:// or https:// address")]
    JwksUrl,
    /// The machine's certificates or resolver cannot be used.
    #[error("auth.jwks_url: no HTTP client: {0}")]
    HttpClient(#[from] reqwest::Error),
}
