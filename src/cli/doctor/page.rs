//! What a page of an origin may do: connect, ask another origin for signatures (Fetch standard, CORS protocol), and get one
//! for its user.

use std::time::Duration;

use gema_protocol::auth::sign_channel;
use reqwest::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE,
    HeaderMap, HeaderValue, ORIGIN,
};
use reqwest::{Method, Url};
use serde_json::Value;

use super::{Problem, Verdict, upgrade};
use crate::auth::AuthSettings;
use crate::cli::client::api::Answer;
use crate::cli::client::{Api, Ended, Socket};
use crate::cli::target::Target;
use crate::cli::token::{self, Who};

/// A channel that no rule of the defaults names: a refusal of it proves the token.
const PROBE: &str = "private-gema-doctor";

/// A socket id for the endpoint to sign; it belongs to nobody.
const SOCKET: &str = "1.1";

/// The page in question, and its user.
pub(super) struct Page {
    pub(super) origin: Option<String>,
    pub(super) endpoint: String,
    /// Whether that is the server's own.
    pub(super) own_endpoint: bool,
    pub(super) token: Option<String>,
    pub(super) user: String,
    pub(super) channel: Option<String>,
}

impl Page {
    /// The token to come with: the one given, or one for development.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn token(&self, settings: &AuthSettings) -> Result<String, &'static str> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let made = token::make(settings, Who::only(&self.user));
        made.map(|(token, _)| token)
            .map_err(|_| "needs --token, or auth.jwt_secret in the configuration")
    }
}

/// Whether the WebSocket lets this origin in.
pub(super) async fn origin(target: &Target, origin: &str, within: Duration) -> Verdict<()> {
    match Socket::connect(target, Some(origin), within).await {
        Ok(socket) => {
            socket.close().await;
            Ok(((), format!("pages of {origin} may connect")))
        }
        Err(ended @ Ended::Closed { code: 4009, .. }) => Err(Problem::new(
            ended.to_string(),
            format!("add \"{origin}\" to allowed_origins under its [[apps]]"),
        )),
        Err(ended) => Err(upgrade::problem(ended)),
    }
}

/// Whether a page of this origin may post a token to the endpoint.
pub(super) async fn cors(api: &Api, endpoint: &str, origin: &str) -> Verdict<()> {
    let own = Url::parse(endpoint).map(|url| url.origin().ascii_serialization());
    if own.as_deref() == Ok(origin) {
        return Ok((
            (),
            "not needed: the endpoint is of the page's origin".to_owned(),
        ));
    }
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(origin);
    headers.insert(
        ORIGIN,
        value.map_err(|error| Problem::new(error.to_string(), ""))?,
    );
    headers.insert(
        ACCESS_CONTROL_REQUEST_METHOD,
        HeaderValue::from_static("POST"),
    );
    headers.insert(
        ACCESS_CONTROL_REQUEST_HEADERS,
        HeaderValue::from_static("authorization,content-type"),
    );
    let asked = api.plain(Method::OPTIONS, endpoint, headers, String::new());
    let answer = asked.await.map_err(|error| {
        Problem::new(
            format!("{endpoint}: {error}"),
            "name the endpoint that the page uses with --auth-endpoint",
        )
    })?;
    judge(&answer, endpoint, origin)
}

fn judge(answer: &Answer, endpoint: &str, origin: &str) -> Verdict<()> {
    let cure = || {
        format!(
            "add \"{origin}\" to allowed_origins under its [[apps]]; where another program answers at {endpoint} \
             (Laravel: config/cors.php with the path), let it allow the origin and the header Authorization"
        )
    };
    let refuse = |why: String| {
        let found = format!("a page of {origin} may not ask {endpoint}: {why}");
        Err(Problem::new(found, cure()))
    };
    let status = answer.status;
    if !(200..300).contains(&status) {
        return refuse(format!(
            "the preflight was answered with {status}: {}",
            answer.beginning()
        ));
    }
    match answer.header("access-control-allow-origin") {
        "" => return refuse("no Access-Control-Allow-Origin".to_owned()),
        allowed if allowed != "*" && allowed != origin => {
            return refuse(format!("only {allowed} may"));
        }
        _ => {}
    }
    let headers = answer.header("access-control-allow-headers");
    let mut listed = headers.split(',').map(str::trim);
    // The standard lets "*" stand for every header but this one.
    if !listed.any(|name| name.eq_ignore_ascii_case("authorization")) {
        return refuse("the header Authorization is not allowed".to_owned());
    }
    Ok(((), format!("pages of {origin} may ask {endpoint}")))
}

/// Whether the endpoint believes the token, and signs as this app.
pub(super) async fn auth(api: &Api, target: &Target, page: &Page, token: &str) -> Verdict<()> {
    let endpoint = &page.endpoint;
    let channel = page.channel.as_deref().unwrap_or(PROBE);
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
    let bearer = bearer.map_err(|_| Problem::new("the token is no token", "see gema token"))?;
    headers.insert(AUTHORIZATION, bearer);
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("socket_id", SOCKET)
        .append_pair("channel_name", channel)
        .finish();
    let asked = api.plain(Method::POST, endpoint, headers, body).await;
    let answer = asked.map_err(|error| {
        Problem::new(
            format!("{endpoint}: {error}"),
            "name the endpoint that the page uses with --auth-endpoint",
        )
    })?;
    let told: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    match answer.status {
        200 => signature(target, channel, &told, endpoint),
        // gema's own refusal of a channel, by a rule: the token was good.
        403 if page.channel.is_none() && told["success"] == false => Ok((
            (),
            format!(
                "the token is believed ({channel} is for nobody, as it should be; --channel tries one)"
            ),
        )),
        status => Err(refused(status, &answer, endpoint, channel)),
    }
}

fn signature(target: &Target, channel: &str, told: &Value, endpoint: &str) -> Verdict<()> {
    let Some(auth) = told["auth"].as_str() else {
        return Err(Problem::new(
            format!("{endpoint} answers 200 without \"auth\""),
            "it is no endpoint for Pusher clients; name the right one with --auth-endpoint",
        ));
    };
    let app = &target.app;
    let data = told["channel_data"].as_str();
    let key = auth.split(':').next().unwrap_or_default();
    let right = match &app.secret {
        Some(secret) => sign_channel(&app.key, secret, SOCKET, channel, data) == auth,
        None => key == app.key,
    };
    if right {
        return Ok(((), format!("{channel} is signed for the user")));
    }
    Err(Problem::new(
        match key == app.key {
            true => format!("{endpoint} signs with another secret"),
            false => format!("{endpoint} signs with the key \"{key}\""),
        },
        "give the endpoint the app's key and secret: auth.app in gema, PUSHER_APP_KEY and PUSHER_APP_SECRET in Laravel",
    ))
}

fn refused(status: u16, answer: &Answer, endpoint: &str, channel: &str) -> Problem {
    let text = &answer.text;
    let cure = match status {
        401 if text.contains("no key to check") => {
            "set auth.jwt_secret (JWT_SECRET) for the server, or name your back end's endpoint with --auth-endpoint"
        }
        401 => {
            "use a token of the server's issuer (--token); gema token makes one only with the server's own auth.jwt_secret"
        }
        403 => {
            "give the user the channel, under [[auth.channels]], or try another one with --channel"
        }
        404 | 405 => "there is no endpoint at this path; name the right one with --auth-endpoint",
        419 => {
            "Laravel misses its CSRF token: take the route out of that middleware, or use auth:sanctum"
        }
        301 | 302 | 307 | 308 => {
            "it leads elsewhere, to a login perhaps: the endpoint must answer with JSON"
        }
        _ => "see the log of the endpoint",
    };
    let said = match answer.is_page() {
        true => "a web page".to_owned(),
        false => answer.beginning(),
    };
    Problem::new(
        format!("{endpoint} answers {status} for {channel}: {said}"),
        cure,
    )
}
