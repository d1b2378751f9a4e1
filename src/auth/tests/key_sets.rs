//! Tokens against a key set on the network: it rotates, disappears, is flooded, and holds what it should not.
//! The issuer is a real HTTP server; time is an argument, so nothing here sleeps.

use std::sync::Arc;
use std::task::{Context, Waker};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::fixtures::{Issuer, NOW, Pair, ada, hmac_token, settings};
use crate::auth::{AuthSettings, Authorizer, Identity, KeySource, TokenError};

/// All these tokens, each at its time, without waiting for one another.
async fn at_once(
    authorizer: &Arc<Authorizer>,
    tokens: impl Iterator<Item = (String, u64)>,
) -> Vec<Result<Identity, TokenError>> {
    let mut running = JoinSet::new();
    for (token, now_s) in tokens {
        let authorizer = authorizer.clone();
        running.spawn(async move { authorizer.authenticate_at(&token, now_s).await });
    }
    running.join_all().await
}

#[tokio::test]
async fn a_key_set_is_fetched_once_and_kept() {
    let (rsa, ed) = (Pair::new(Algorithm::RS256), Pair::new(Algorithm::EdDSA));
    let issuer = Issuer::start(&[rsa.jwk(Some("r")), ed.jwk(Some("e"))]).await;
    let authorizer = Arc::new(Authorizer::new(issuer.settings()).unwrap());
    let tokens = [rsa.token(Some("r"), &ada()), ed.token(Some("e"), &ada())];
    let all = (0..20).map(|i| (tokens[i % 2].clone(), NOW));
    for who in at_once(&authorizer, all).await {
        assert_eq!(who.unwrap().user_id, "7");
    }
    assert_eq!(issuer.asked(), 1);
    assert!(
        authorizer
            .authenticate_at(&tokens[0], NOW + 599)
            .await
            .is_ok()
    );
    assert_eq!(issuer.asked(), 1);
    assert!(
        authorizer
            .authenticate_at(&tokens[0], NOW + 600)
            .await
            .is_ok()
    );
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn an_unknown_key_id_fetches_the_rotated_set() {
    let (old, new) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES256));
    let issuer = Issuer::start(&[old.jwk(Some("old"))]).await;
    let authorizer = Authorizer::new(issuer.settings()).unwrap();
    let token = old.token(Some("old"), &ada());
    assert!(authorizer.authenticate_at(&token, NOW).await.is_ok());

    issuer.publish(&[new.jwk(Some("new"))]);
    let rotated = new.token(Some("new"), &ada());
    assert!(authorizer.authenticate_at(&rotated, NOW + 30).await.is_ok());
    assert_eq!(issuer.asked(), 2);
    let withdrawn = authorizer.authenticate_at(&token, NOW + 31).await;
    assert_eq!(withdrawn.unwrap_err(), TokenError::UnknownKey);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_key_ids_causes_one_fetch_in_thirty_seconds() {
    let pair = Pair::new(Algorithm::ES256);
    let issuer = Issuer::start(&[pair.jwk(Some("a"))]).await;
    let authorizer = Arc::new(Authorizer::new(issuer.settings()).unwrap());
    let good = pair.token(Some("a"), &ada());
    assert!(authorizer.authenticate_at(&good, NOW).await.is_ok());
    for (window, fetches) in [(0..30, 1), (30..60, 2), (60..90, 3)] {
        let forged = window.map(|s| (pair.token(Some(&format!("kid-{s}")), &ada()), NOW + s));
        for refused in at_once(&authorizer, forged).await {
            assert_eq!(refused.unwrap_err(), TokenError::UnknownKey);
        }
        assert_eq!(issuer.asked(), fetches);
    }
    assert!(authorizer.authenticate_at(&good, NOW + 90).await.is_ok());
}

#[tokio::test]
async fn the_last_good_keys_stay_while_the_endpoint_is_down() {
    let (pair, new) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES256));
    let issuer = Issuer::start(&[pair.jwk(Some("a"))]).await;
    let authorizer = Authorizer::new(issuer.settings()).unwrap();
    let token = pair.token(Some("a"), &ada());
    assert!(authorizer.authenticate_at(&token, NOW).await.is_ok());

    let too_large = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(1024 * 1024));
    let broken = [(500, "{}".into()), (200, "<html>".into()), (200, too_large)];
    for (round, (status, body)) in (1..).zip(broken) {
        issuer.answer(status, body);
        let now = NOW + 1000 * round;
        assert!(authorizer.authenticate_at(&token, now).await.is_ok());
        assert!(authorizer.authenticate_at(&token, now + 29).await.is_ok());
        assert_eq!(issuer.asked() as u64, 1 + round);
        let unknown = new.token(Some("b"), &ada());
        let refused = authorizer
            .authenticate_at(&unknown, now + 29)
            .await
            .unwrap_err();
        assert_eq!(refused, TokenError::KeysUnreachable);
        assert!(refused.is_ours());
    }

    issuer.publish(&[new.jwk(Some("b"))]);
    let refused = authorizer.authenticate_at(&token, NOW + 9000).await;
    assert_eq!(refused.unwrap_err(), TokenError::UnknownKey);
}

#[tokio::test]
async fn an_issuer_that_starts_late_is_asked_again_after_five_seconds() {
    let pair = Pair::new(Algorithm::ES256);
    let issuer = Issuer::start(&[]).await;
    issuer.answer(503, String::new());
    let authorizer = Authorizer::new(issuer.settings()).unwrap();
    let token = pair.token(Some("a"), &ada());
    for s in [0, 1, 4] {
        let refused = authorizer.authenticate_at(&token, NOW + s).await;
        assert_eq!(refused.unwrap_err(), TokenError::KeysUnreachable);
    }
    assert_eq!(issuer.asked(), 1);
    issuer.publish(&[pair.jwk(Some("a"))]);
    assert!(authorizer.authenticate_at(&token, NOW + 5).await.is_ok());
}

#[tokio::test]
async fn an_unreachable_endpoint_is_our_fault() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let nowhere = AuthSettings {
        key: KeySource::Jwks(url),
        ..settings()
    };
    let token = Pair::new(Algorithm::ES256).token(None, &ada());
    let refused = Authorizer::new(nowhere)
        .unwrap()
        .authenticate_at(&token, NOW)
        .await;
    assert_eq!(refused.unwrap_err(), TokenError::KeysUnreachable);
}

#[tokio::test]
async fn tokens_and_keys_without_ids_are_tried_together() {
    let (first, second) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES256));
    let issuer = Issuer::start(&[first.jwk(Some("a")), second.jwk(None)]).await;
    let authorizer = Authorizer::new(issuer.settings()).unwrap();
    for token in [
        first.token(None, &ada()),
        second.token(None, &ada()),
        second.token(Some("b"), &ada()),
    ] {
        assert!(authorizer.authenticate_at(&token, NOW).await.is_ok());
    }
    let crossed = first.token(Some("b"), &ada());
    let refused = authorizer.authenticate_at(&crossed, NOW).await;
    assert_eq!(refused.unwrap_err(), TokenError::Signature);
}

#[tokio::test]
async fn keys_of_a_set_that_do_not_sign_or_are_secret_are_left_out() {
    let pair = Pair::new(Algorithm::ES256);
    let with = |kid: &str, name: &str, value: Value| {
        let mut jwk = pair.jwk(Some(kid));
        jwk[name] = value;
        jwk
    };
    let issuer = Issuer::start(&[
        json!({ "kty": "oct", "kid": "oct", "k": URL_SAFE_NO_PAD.encode("shared") }),
        with("enc", "use", json!("enc")),
        with("wrong", "alg", json!("RS256")),
        with("curve", "crv", json!("secp256k1")),
        json!({ "kty": "future", "kid": "future" }),
        json!("no key at all"),
        with("good", "use", json!("sig")),
    ])
    .await;
    let authorizer = Authorizer::new(issuer.settings()).unwrap();
    for kid in ["enc", "wrong", "curve", "future"] {
        let refused = authorizer
            .authenticate_at(&pair.token(Some(kid), &ada()), NOW)
            .await;
        assert_eq!(refused.unwrap_err(), TokenError::UnknownKey, "{kid}");
    }
    let good = pair.token(Some("good"), &ada());
    assert!(authorizer.authenticate_at(&good, NOW).await.is_ok());
    for forged in [
        hmac_token(b"shared", &ada()),
        pair.token_as(Algorithm::ES256, Some("oct"), &ada()),
    ] {
        assert!(authorizer.authenticate_at(&forged, NOW).await.is_err());
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cut_the_fetch_short_for_others() {
    let pair = Pair::new(Algorithm::ES256);
    let issuer = Issuer::start(&[pair.jwk(Some("a"))]).await;
    let authorizer = Authorizer::new(issuer.settings()).unwrap();
    let token = pair.token(Some("a"), &ada());
    {
        let mut gone = std::pin::pin!(authorizer.authenticate_at(&token, NOW));
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(gone.as_mut().poll(&mut nobody).is_pending());
    }
    assert!(authorizer.authenticate_at(&token, NOW).await.is_ok());
    assert_eq!(issuer.asked(), 1);
}
