//! Checking one token against one key: signature, times, issuer, audience (RFC 7519).
//!
//! The key decides which algorithms are possible; the token's header only picks among them. So neither `none` nor an
//! HMAC made with the text of a public key gets anywhere (RFC 8725, sections 3.1 and 3.2).

use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::AuthSetupError;

/// How far the clocks of issuer and server may differ, in seconds.
const LEEWAY_S: f64 = 30.0;

const HMAC: &[Algorithm] = &[Algorithm::HS256];
const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
const P256: &[Algorithm] = &[Algorithm::ES256];
const P384: &[Algorithm] = &[Algorithm::ES384];
const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Uncompressed points: a byte that says so and two coordinates (SEC 1, section 2.3.3).
const P256_POINT: usize = 1 + 2 * 32;
const P384_POINT: usize = 1 + 2 * 48;

/// A key together with the algorithms that are right for its kind.
pub(super) struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl Key {
    pub(super) fn secret(secret: &str) -> Result<Key, AuthSetupError> {
        if secret.is_empty() {
            return Err(AuthSetupError::EmptySecret);
        }
        Ok(Key::new(DecodingKey::from_secret(secret.as_bytes()), HMAC))
    }

    /// `path` is for the error only.
    pub(super) fn public_pem(pem: &[u8], path: &Path) -> Result<Key, AuthSetupError> {
        let refuse = |problem| AuthSetupError::PublicKey {
            path: path.to_owned(),
            problem,
        };
        let text = str::from_utf8(pem).unwrap_or_default();
        if text.contains("PRIVATE KEY-----") {
            return Err(refuse(
                "it is a private key; give the public one, and keep this one away",
            ));
        }
        if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            return Ok(Key::new(key, RSA));
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Ok(Key::new(key, ED25519));
        }
        let key = DecodingKey::from_ec_pem(pem);
        let key = key.map_err(|_| refuse("it is no PEM public key of kind RSA, EC or Ed25519"))?;
        match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(P256_POINT) => Ok(Key::new(key, P256)),
            Ok(P384_POINT) => Ok(Key::new(key, P384)),
            _ => Err(refuse("its curve is neither P-256 nor P-384")),
        }
    }

    /// A public signing key of a key set; `None` for any other, a shared secret in a public place above all.
    pub(super) fn public_jwk(jwk: &Jwk) -> Option<Key> {
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => RSA,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => P256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => P384,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                ED25519
            }
            _ => return None,
        };
        let signs = |role: &PublicKeyUse| *role == PublicKeyUse::Signature;
        if !jwk.common.public_key_use.as_ref().is_none_or(signs) {
            return None;
        }
        let mut key = Key::new(DecodingKey::from_jwk(jwk).ok()?, algorithms);
        if let Some(only) = jwk.common.key_algorithm {
            let only = Algorithm::try_from(only).ok()?;
            key.algorithms.retain(|algorithm| *algorithm == only);
        }
        (!key.algorithms.is_empty()).then_some(key)
    }

    fn new(key: DecodingKey, algorithms: &[Algorithm]) -> Key {
        Key {
            key,
            algorithms: algorithms.to_vec(),
        }
    }

    /// The claims of a token that this key signed; `header` is the token's. Nothing but the signature is checked.
    pub(super) fn claims(
        &self,
        token: &str,
        header: &Header,
    ) -> Result<Map<String, Value>, TokenError> {
        if !self.algorithms.contains(&header.algorithm) {
            return Err(TokenError::Algorithm);
        }
        // Times, issuer and audience are checked by `Expected`, which takes the time as an argument.
        let mut signature_only = Validation::default();
        signature_only.algorithms.clone_from(&self.algorithms);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let decoded = jsonwebtoken::decode(token, &self.key, &signature_only);
        decoded
            .map(|data| data.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Malformed,
            })
    }
}

/// What the header says about how to check the token; a claim of the token's sender, no more.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

impl Header {
    pub(super) fn read(token: &str) -> Result<Header, TokenError> {
        #[derive(Deserialize)]
        struct Raw {
            alg: String,
            kid: Option<String>,
            crit: Option<IgnoredAny>,
        }
        let (encoded, _) = token.split_once('.').ok_or(TokenError::Malformed)?;
        let json = URL_SAFE_NO_PAD.decode(encoded);
        let json = json.map_err(|_| TokenError::Malformed)?;
        let raw: Raw = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        // Extensions that must be understood, when none is (RFC 7515, section 4.1.11).
        if raw.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm = Algorithm::from_str(&raw.alg).map_err(|_| TokenError::Algorithm)?;
        Ok(Header {
            algorithm,
            key_id: raw.kid,
        })
    }
}

/// What the claims of every token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
}

impl Expected<'_> {
    /// `now_s` is in seconds since 1970. `exp` and `nbf` may be missing, but not wrong; issuer and audience must be
    /// there when they are expected.
    pub(super) fn check(&self, claims: &Map<String, Value>, now_s: u64) -> Result<(), TokenError> {
        let now = now_s as f64;
        if time(claims, "exp")?.is_some_and(|end| now >= end + LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|begin| now < begin - LEEWAY_S) {
            return Err(TokenError::NotYet);
        }
        if let Some(issuer) = self.issuer {
            let given = claims.get("iss");
            let given = given.ok_or_else(|| TokenError::Missing("iss".into()))?;
            if given != issuer {
                return Err(TokenError::Issuer(issuer.to_owned()));
            }
        }
        if let Some(audience) = self.audience {
            let given = claims.get("aud");
            let given = given.ok_or_else(|| TokenError::Missing("aud".into()))?;
            let listed = given
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one == audience));
            if !listed && given != audience {
                return Err(TokenError::Audience(audience.to_owned()));
            }
        }
        Ok(())
    }
}

/// A `NumericDate`: seconds since 1970, fractions allowed (RFC 7519, section 2).
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<f64>, TokenError> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let time = value.as_f64().ok_or_else(|| TokenError::Claim {
        claim: claim.to_owned(),
        wanted: "a number of seconds since 1970",
    })?;
    Ok(Some(time))
}

/// Why a token is not believed; the text is for the 401 answer, or for a 503 when [`TokenError::is_ours`].
/// No text holds any part of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing to check tokens with.
    #[error(
        "This server has no key to check tokens with: set auth.jwt_secret (or JWT_SECRET), auth.jwt_public_key or \
         auth.jwks_url"
    )]
    NoKey,
    /// The key set could not be fetched, and the keys known do not include the token's.
    #[error(
        "The token's key cannot be had: the key set at auth.jwks_url is unreachable; try again"
    )]
    KeysUnreachable,
    /// The key set has no such key.
    #[error("The token was signed with a key that is not in the key set of auth.jwks_url")]
    UnknownKey,
    /// Not three parts of base64url with JSON inside.
    #[error("The token is not a signed JWT")]
    Malformed,
    /// An algorithm that the key does not allow.
    #[error("The token's algorithm does not suit the key that is configured")]
    Algorithm,
    /// The header demands extensions.
    #[error("The token's header has 'crit', and none of its extensions are known")]
    Critical,
    /// Signed by someone else, or changed.
    #[error("The token's signature is wrong")]
    Signature,
    /// `exp` is past.
    #[error("The token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("The token is not valid yet (nbf)")]
    NotYet,
    /// `iss` is another's.
    #[error("The token's issuer is not '{0}'")]
    Issuer(String),
    /// `aud` names others.
    #[error("The token is not meant for the audience '{0}'")]
    Audience(String),
    /// A claim is needed and not there.
    #[error("The token has no claim '{0}'")]
    Missing(String),
    /// A claim is of the wrong type.
    #[error("The token's claim '{claim}' must be {wanted}")]
    Claim {
        /// The claim's name.
        claim: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl TokenError {
    /// Whether the token may be good and the server's side is what failed: a 503, to be tried again.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, TokenError::KeysUnreachable)
    }
}
