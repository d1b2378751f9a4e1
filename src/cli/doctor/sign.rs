//! The two clocks, and the app's secret.

use super::{Problem, Verdict};
use crate::cli::client::Api;
use crate::cli::client::api::{Answer, ApiError};
use crate::cli::target::Credentials;

/// What the HTTP API allows, in seconds ("Authenticating requests", Pusher's HTTP API reference).
const SIGNATURE_S: u64 = 600;

/// What tokens allow, in seconds; a moment is lost on the way besides.
const TOKEN_S: u64 = 30;

/// How far the server's clock is ahead of ours, in seconds: by what it says about a signature of ours, or else by the
/// header `Date`, which may be a proxy's.
pub(super) async fn skew(
    api: &Api,
    app: Option<&Credentials>,
    by_header: Option<i64>,
) -> Option<i64> {
    if let Some(app) = app
        && let Ok(answer) = api.get(app, "/channels", "").await
    {
        if let Some(skew_s) = told(&answer) {
            return Some(skew_s);
        }
        if answer.status == 200 && by_header.is_none() {
            return Some(0);
        }
    }
    by_header
}

/// What both clocks showed, as the refusal has it: "Given timestamp (1) not within 600s of server time (2)". Soketi's and
/// Reverb's have no such numbers.
fn told(answer: &Answer) -> Option<i64> {
    let text = &answer.text;
    if answer.status != 401 || !text.contains("Timestamp") {
        return None;
    }
    let number_after = |word: &str| -> Option<i64> {
        let (_, rest) = text.split_once(word)?;
        rest.split_once(')')?.0.parse().ok()
    };
    Some(number_after("server time (")? - number_after("Given timestamp (")?)
}

pub(super) fn clock(skew_s: i64) -> Verdict<()> {
    let apart = skew_s.unsigned_abs();
    if apart <= TOKEN_S {
        return Ok(((), format!("{apart} s apart")));
    }
    let order = if skew_s > 0 { "behind" } else { "ahead of" };
    let found = format!("this machine's clock is {apart} s {order} the server's");
    let harm = if apart >= SIGNATURE_S {
        format!(
            "requests signed here are refused ({SIGNATURE_S} s are allowed), and tokens too ({TOKEN_S} s)"
        )
    } else {
        format!("tokens that are issued here may be refused ({TOKEN_S} s are allowed)")
    };
    Err(Problem::new(
        found,
        format!("set the wrong one by NTP (timedatectl set-ntp true): {harm}"),
    ))
}

/// Whether the server takes the signature; the time in it is already the server's.
pub(super) async fn secret(api: &Api, app: &Credentials) -> Verdict<()> {
    let answer = api.get(app, "/channels", "").await;
    let id = &app.id;
    let error = match answer.and_then(Answer::good) {
        Ok(_) => return Ok(((), format!("signatures for app {id} are believed"))),
        Err(error) => error,
    };
    let text = match &error {
        ApiError::Refused { text, .. } => text.as_str(),
        ApiError::NoAnswer(_) | ApiError::Strange { .. } => "",
    };
    let found = error.to_string();
    let cure = if text.starts_with("Invalid signature") {
        "the secret is not the server's: use the same PUSHER_APP_SECRET (secret under [[apps]]) here and there; if it is, a \
         proxy changes the path or the query"
            .to_owned()
    } else if text.starts_with("Unknown app") || text.starts_with("Unknown auth_key") {
        format!(
            "the server has no app with the id \"{id}\" and this key: name it with --app and --key, or --config"
        )
    } else {
        "the proxy must pass /apps/ on to gema as it is".to_owned()
    };
    Err(Problem::new(found, cure))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn the_server_tells_its_time_when_it_refuses_ours() {
        let answer = |text: &str| Answer {
            status: 401,
            headers: HeaderMap::new(),
            text: text.to_owned(),
        };
        let refusal =
            "Timestamp expired: Given timestamp (1000) not within 600s of server time (2500)";
        assert_eq!(told(&answer(refusal)), Some(1500));
        assert_eq!(told(&answer("Invalid signature")), None);
        assert_eq!(told(&answer("Timestamp expired")), None);
    }

    #[test]
    fn clocks_may_differ_by_what_tokens_allow() {
        assert!(clock(30).is_ok() && clock(-30).is_ok());
        let said = clock(-31).unwrap_err();
        assert_eq!(
            said.found,
            "this machine's clock is 31 s ahead of the server's"
        );
        assert!(!said.cure.contains("requests"), "{}", said.cure);
        let said = clock(600).unwrap_err();
        assert_eq!(
            said.found,
            "this machine's clock is 600 s behind the server's"
        );
        assert!(
            said.cure.contains("requests signed here are refused"),
            "{}",
            said.cure
        );
    }
}
