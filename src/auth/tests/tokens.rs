//! Tokens against one key: every kind of key, and every way a token can be wrong.
//! Time is an argument, so nothing here sleeps.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::fixtures::{NOW, Pair, ada, hmac_token, settings};
use crate::auth::jwt::Key;
use crate::auth::{AuthSettings, AuthSetupError, Authorizer, Identity, KeySource, TokenError};

async fn at(settings: AuthSettings, token: &str, now_s: u64) -> Result<Identity, TokenError> {
    let authorizer = Authorizer::new(settings).unwrap();
    authorizer.authenticate_at(token, now_s).await
}

async fn refusal(settings: AuthSettings, token: &str) -> TokenError {
    at(settings, token, NOW).await.unwrap_err()
}

fn ours(claims: &Value) -> String {
    hmac_token(b"test secret", claims)
}

/// A token with this header and payload and any bytes for a signature.
fn raw(header: &Value, payload: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (header, payload) = (header.to_string(), payload.to_string());
    let (header, payload) = (part(header.as_bytes()), part(payload.as_bytes()));
    format!("{header}.{payload}.{}", part(signature))
}

#[tokio::test]
async fn a_token_of_the_shared_secret_is_believed() {
    let who = at(settings(), &ours(&ada()), NOW).await.unwrap();
    assert_eq!(who.user_id, "7");
    assert_eq!(who.name.as_deref(), Some("Ada"));
    assert_eq!(who.roles, ["admin"]);
    assert_eq!(who.claims["sub"], json!(7));
}

#[tokio::test]
async fn today_is_the_time_when_nobody_says_otherwise() {
    let authorizer = Authorizer::new(settings()).unwrap();
    let now = jsonwebtoken::get_current_timestamp();
    let good = ours(&json!({ "sub": 1, "exp": now + 60, "nbf": now - 60 }));
    assert!(authorizer.authenticate(&good).await.is_ok());
    let old = ours(&json!({ "sub": 1, "exp": now - 60 }));
    let refused = authorizer.authenticate(&old).await.unwrap_err();
    assert_eq!(refused, TokenError::Expired);
}

#[tokio::test]
async fn public_keys_of_every_kind_check_their_tokens_and_no_others() {
    use Algorithm::{ES256, ES384, EdDSA, RS256};
    for algorithm in [RS256, ES256, ES384, EdDSA] {
        let pair = Pair::new(algorithm);
        let who = at(pair.settings(), &pair.token(Some("any"), &ada()), NOW).await;
        assert_eq!(who.unwrap().user_id, "7", "{algorithm:?}");
        let stranger = Pair::new(algorithm).token(None, &ada());
        let refused = refusal(pair.settings(), &stranger).await;
        assert_eq!(refused, TokenError::Signature, "{algorithm:?}");
    }
}

#[tokio::test]
async fn an_rsa_key_takes_the_three_lengths_of_digest() {
    let pair = Pair::new(Algorithm::RS256);
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
        let token = pair.token_as(algorithm, None, &ada());
        assert!(
            at(pair.settings(), &token, NOW).await.is_ok(),
            "{algorithm:?}"
        );
    }
    let other = pair.token_as(Algorithm::PS256, None, &ada());
    assert_eq!(
        refusal(pair.settings(), &other).await,
        TokenError::Algorithm
    );
}

#[tokio::test]
async fn an_hmac_made_with_the_text_of_the_public_key_is_refused() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let pair = Pair::new(algorithm);
        let forged = hmac_token(pair.public_pem.as_bytes(), &ada());
        assert_eq!(
            refusal(pair.settings(), &forged).await,
            TokenError::Algorithm
        );
    }
}

#[tokio::test]
async fn a_token_without_an_algorithm_is_refused() {
    for alg in ["none", "None", "", "HS257"] {
        let forged = raw(&json!({ "alg": alg, "typ": "JWT" }), &ada(), b"");
        assert_eq!(
            refusal(settings(), &forged).await,
            TokenError::Algorithm,
            "{alg}"
        );
    }
}

#[tokio::test]
async fn a_secret_takes_hs256_only() {
    let pair = Pair::new(Algorithm::ES256);
    let refused = refusal(settings(), &pair.token(None, &ada())).await;
    assert_eq!(refused, TokenError::Algorithm);
    let hs512 = raw(&json!({ "alg": "HS512" }), &ada(), &[0; 64]);
    assert_eq!(refusal(settings(), &hs512).await, TokenError::Algorithm);
}

#[tokio::test]
async fn a_changed_or_foreign_token_is_refused() {
    let foreign = hmac_token(b"other secret", &ada());
    assert_eq!(refusal(settings(), &foreign).await, TokenError::Signature);
    let token = ours(&ada());
    let parts: Vec<&str> = token.split('.').collect();
    let admin = URL_SAFE_NO_PAD.encode(json!({ "sub": 1 }).to_string());
    let changed = format!("{}.{admin}.{}", parts[0], parts[2]);
    assert_eq!(refusal(settings(), &changed).await, TokenError::Signature);
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(refusal(settings(), &unsigned).await, TokenError::Signature);
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_harm() {
    let long = "a.".repeat(10_000);
    let array = raw(&json!(["HS256"]), &ada(), b"");
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "e30.e30.e30",
        &long,
        &array,
    ] {
        assert_eq!(refusal(settings(), text).await, TokenError::Malformed);
    }
    let not_a_map = ours(&json!(["sub"]));
    assert_eq!(refusal(settings(), &not_a_map).await, TokenError::Malformed);
}

#[tokio::test]
async fn a_token_that_demands_extensions_is_refused() {
    let header = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    let refused = refusal(settings(), &raw(&header, &ada(), b"")).await;
    assert_eq!(refused, TokenError::Critical);
}

#[tokio::test]
async fn a_token_ends_thirty_seconds_after_its_expiry() {
    let token = ours(&json!({ "sub": 1, "exp": NOW }));
    assert!(at(settings(), &token, NOW + 29).await.is_ok());
    let refused = at(settings(), &token, NOW + 30).await.unwrap_err();
    assert_eq!(refused.to_string(), "The token has expired");
    let fraction = ours(&json!({ "sub": 1, "exp": NOW as f64 + 0.5 }));
    assert!(at(settings(), &fraction, NOW + 30).await.is_ok());
}

#[tokio::test]
async fn a_token_begins_thirty_seconds_before_its_time() {
    let token = ours(&json!({ "sub": 1, "nbf": NOW }));
    assert!(at(settings(), &token, NOW - 30).await.is_ok());
    let refused = at(settings(), &token, NOW - 31).await.unwrap_err();
    assert_eq!(refused, TokenError::NotYet);
}

#[tokio::test]
async fn a_time_that_is_no_number_is_refused() {
    for claim in ["exp", "nbf"] {
        for value in [json!("2099"), json!(null), json!([])] {
            let refused = refusal(settings(), &ours(&json!({ "sub": 1, claim: value }))).await;
            assert!(refused.to_string().contains(claim), "{refused}");
        }
    }
}

#[tokio::test]
async fn the_issuer_is_checked_when_one_is_configured() {
    let strict = || AuthSettings {
        issuer: Some("https://id.example".into()),
        ..settings()
    };
    let good = ours(&json!({ "sub": 1, "iss": "https://id.example" }));
    assert!(at(strict(), &good, NOW).await.is_ok());
    assert!(at(settings(), &good, NOW).await.is_ok());
    let other = ours(&json!({ "sub": 1, "iss": "https://id.example.evil" }));
    let refused = refusal(strict(), &other).await.to_string();
    assert_eq!(refused, "The token's issuer is not 'https://id.example'");
    let none = refusal(strict(), &ours(&ada())).await;
    assert_eq!(none, TokenError::Missing("iss".into()));
}

#[tokio::test]
async fn the_audience_is_checked_when_one_is_configured() {
    let strict = || AuthSettings {
        audience: Some("gema".into()),
        ..settings()
    };
    for aud in [json!("gema"), json!(["x", "gema"])] {
        let good = ours(&json!({ "sub": 1, "aud": aud }));
        assert!(at(strict(), &good, NOW).await.is_ok());
        assert!(at(settings(), &good, NOW).await.is_ok());
    }
    for aud in [json!("x"), json!(["x"]), json!([]), json!(1), json!(null)] {
        let refused = refusal(strict(), &ours(&json!({ "sub": 1, "aud": aud }))).await;
        assert_eq!(refused, TokenError::Audience("gema".into()));
    }
    let none = refusal(strict(), &ours(&ada())).await;
    assert_eq!(none, TokenError::Missing("aud".into()));
}

#[tokio::test]
async fn without_a_key_the_answer_names_the_settings() {
    let keyless = AuthSettings {
        key: KeySource::None,
        ..settings()
    };
    let refused = refusal(keyless, &ours(&ada())).await;
    assert!(!refused.is_ours());
    for name in [
        "auth.jwt_secret",
        "JWT_SECRET",
        "auth.jwt_public_key",
        "auth.jwks_url",
    ] {
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

#[test]
fn unusable_keys_stop_the_start_and_name_the_setting() {
    let problem = |key| {
        let made = Authorizer::new(AuthSettings { key, ..settings() });
        made.err().unwrap().to_string()
    };
    let pem = |text: &str| KeySource::PublicKeyPem {
        path: "key.pem".into(),
        pem: text.as_bytes().to_vec(),
    };
    assert_eq!(
        problem(KeySource::Secret(String::new())),
        "auth.jwt_secret is empty"
    );
    let no_key = problem(pem("hello"));
    assert!(
        no_key.starts_with("auth.jwt_public_key: key.pem: it is no PEM"),
        "{no_key}"
    );
    let private = Pair::new(Algorithm::ES256).private_pem;
    assert!(problem(pem(&private)).contains("it is a private key"));
    for url in ["ftp://x/y", "nonsense", ""] {
        assert!(problem(KeySource::Jwks(url.into())).contains("auth.jwks_url"));
    }
    let binary = Key::public_pem(&[0xff, 0xfe], Path::new("key.pem"));
    assert!(matches!(binary, Err(AuthSetupError::PublicKey { .. })));
}
