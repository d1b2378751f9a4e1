//! `POST /api/broadcasting/auth` and `/api/broadcasting/user-auth`: the built-in authorizer, under the paths
//! that Laravel Echo and pusher-js call. A Bearer JWT in, Pusher's signature out.
//! Form fields as pusher-js sends them or JSON as axios does.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use gema_protocol::channel::ChannelName;
use gema_protocol::socket_id::SocketId;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::{Context, Shared, body, json, method};
use crate::apps::App;
use crate::auth::{AppKeys, Identity, Refusal, TokenError};
use crate::chat;

/// The longest body: two names and what a page adds of its own.
const BODY: usize = 16 * 1024;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let call = method::post()
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and(shared);
    let channel = warp::path!("api" / "broadcasting" / "auth")
        .or(warp::path!("broadcasting" / "auth"))
        .unify()
        .or(warp::path!("pusher" / "auth"))
        .unify()
        .and(call.clone())
        .and_then(|headers, stream, context| answer(headers, stream, context, authorize_channel));
    let user = warp::path!("api" / "broadcasting" / "user-auth")
        .or(warp::path!("broadcasting" / "user-auth"))
        .unify()
        .or(warp::path!("pusher" / "user-auth"))
        .unify()
        .and(call)
        .and_then(|headers, stream, context| answer(headers, stream, context, authorize_user));
    channel.or(user).unify().boxed()
}

/// What a client asks to have signed.
#[derive(Debug, Default, Deserialize)]
struct Ask {
    socket_id: Option<String>,
    channel_name: Option<String>,
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error("Send the user's token in the header 'Authorization: Bearer …'")]
    NoToken,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Bad(String),
    #[error("The body is longer than {BODY} bytes")]
    TooLarge,
    #[error(transparent)]
    Body(body::BodyError),
    #[error("No enabled app to sign for (auth.app)")]
    NoApp,
}

async fn answer<S, B, F>(
    headers: HeaderMap,
    stream: S,
    context: Arc<Context>,
    sign: F,
) -> Result<Response, Rejection>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
    F: AsyncFnOnce(&Context, &App, &Identity, &Ask) -> Result<Response, Denied>,
{
    let result = async {
        let token = bearer(&headers).ok_or(Denied::NoToken)?;
        let body = body::read(stream, BODY).await?;
        let identity = context.authorizer.authenticate(token).await?;
        let ask = Ask::parse(&headers, &body)?;
        let app = context.signing_app.get().ok_or(Denied::NoApp)?;
        sign(&context, &app, &identity, &ask).await
    };
    Ok(result.await.unwrap_or_else(|denied| denied.response()))
}

async fn authorize_channel(
    context: &Context,
    app: &App,
    identity: &Identity,
    ask: &Ask,
) -> Result<Response, Denied> {
    let socket = ask.socket()?;
    let name = ask.channel_name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(Denied::Bad("Missing parameter: channel_name".into()));
    }
    let channel = ChannelName::parse(name, context.limits.channel_name_chars)
        .map_err(|error| Denied::Bad(format!("{error}: '{name}'")))?;
    let grant = context
        .authorizer
        .authorize_channel(&keys(app), identity, socket, &channel)
        .await?;
    if name.starts_with(chat::CHANNEL) {
        note(context, identity);
    }
    Ok(json(StatusCode::OK, &grant))
}

async fn authorize_user(
    context: &Context,
    app: &App,
    identity: &Identity,
    ask: &Ask,
) -> Result<Response, Denied> {
    let socket = ask.socket()?;
    let grant = context
        .authorizer
        .authorize_user(&keys(app), identity, socket);
    note(context, identity);
    Ok(json(StatusCode::OK, &grant))
}

/// Whoever comes with a token may chat, and is then known by what it says.
fn note(context: &Context, identity: &Identity) {
    if let Some(chat) = &context.gateway.chat {
        chat.note(identity);
    }
}

impl Ask {
    fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Ask, Denied> {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        if kind.starts_with("application/json") {
            return serde_json::from_slice(body)
                .map_err(|error| Denied::Bad(format!("Invalid JSON in the body: {error}")));
        }
        let mut ask = Ask::default();
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "socket_id" => ask.socket_id = Some(value.into_owned()),
                "channel_name" => ask.channel_name = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(ask)
    }

    fn socket(&self) -> Result<SocketId, Denied> {
        let id = self.socket_id.as_deref().unwrap_or_default();
        if id.is_empty() {
            return Err(Denied::Bad("Missing parameter: socket_id".into()));
        }
        id.parse()
            .map_err(|_| Denied::Bad(format!("Invalid socket_id: '{id}'")))
    }
}

/// The limit is of these endpoints alone, so no setting is named.
impl From<body::BodyError> for Denied {
    fn from(error: body::BodyError) -> Denied {
        match error {
            body::BodyError::TooLarge(_) => Denied::TooLarge,
            error => Denied::Body(error),
        }
    }
}

impl Denied {
    fn response(&self) -> Response {
        let status = match self {
            Denied::NoToken => StatusCode::UNAUTHORIZED,
            Denied::Token(error) if error.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Denied::Token(_) => StatusCode::UNAUTHORIZED,
            Denied::Refused(refusal) if refusal.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Denied::Refused(_) => StatusCode::FORBIDDEN,
            Denied::Bad(_) => StatusCode::BAD_REQUEST,
            Denied::TooLarge | Denied::Body(body::BodyError::TooLarge(_)) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Denied::Body(body::BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Denied::Body(body::BodyError::Broken) => StatusCode::BAD_REQUEST,
            Denied::NoApp => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = serde_json::json!({ "success": false, "error": self.to_string() });
        json(status, &body)
    }
}

fn keys(app: &App) -> AppKeys<'_> {
    AppKeys {
        key: &app.key,
        secret: &app.secret,
        encryption_master_key: app.encryption_master_key.as_ref(),
    }
}

/// The token in `Authorization: Bearer …` (RFC 6750, section 2.1), if there is one.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
