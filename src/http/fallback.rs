//! `POST /pusher/app/{key}/{number}/{session}/xhr_streaming`, `xhr`, `xhr_send`: pusher-js without a WebSocket.
//! As with the upgrade, what is wrong with the Pusher side of a request is told inside its answer.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::api::{ApiError, segment};
use super::body::{self, BodyError};
use super::{Call, Context, Shared, method, text};
use crate::gateway::Kind;
use crate::gateway::fallback::{Answer, Manner, SessionName, Sessions, Unknown};
use crate::gateway::pusher::handshake::Handshake;
use crate::metrics::Refused;

/// Messages in one send request. pusher-js sends one at a time.
const MESSAGES: usize = 100;

/// Bytes in the body of a receive request. pusher-js sends none.
const RECEIVE_BYTES: usize = 4096;

/// Asks nginx and its like to pass bytes on as they come.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The segments of the path after `/pusher/app`.
struct Target {
    key: String,
    number: String,
    session: String,
    action: String,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path!("pusher" / "app" / String / String / String / String)
        .map(|key: String, number, session, action| Target {
            key: segment(&key),
            number,
            session,
            action,
        })
        .and(method::post())
        .and(warp::ext::get::<Call>())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and(shared)
        .and_then(|target, call, headers, stream, context| async move {
            let response = serve(target, &call, &headers, stream, context).await;
            Ok::<_, Rejection>(response.unwrap_or_else(|error| error.response()))
        })
        .boxed()
}

async fn serve<S, B>(
    target: Target,
    call: &Call,
    headers: &HeaderMap,
    stream: S,
    context: Arc<Context>,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let Some(sessions) = &context.fallback else {
        return Ok(not_found());
    };
    let app = context.apps.find_by_key(&target.key).await;
    let app = app.ok().map(|app| app.index);
    // Without an app nothing will be found under this name, but the client is told so in its own way.
    let name = SessionName::parse(app.unwrap_or_default(), &target.number, &target.session);
    let (Some(name), Some(action)) = (name, Action::parse(&target.action)) else {
        return Ok(not_found());
    };
    // A body is read only for a request that can come to something.
    match action {
        Action::Send if app.is_none() => Ok(not_found()),
        Action::Send if !sessions.has(&name) => Ok(no_session()),
        Action::Send => {
            let body = body::read(stream, context.limits.request_bytes).await?;
            send(sessions, &name, &body).await
        }
        Action::Receive(manner) => {
            // Reading it, empty as it is, is how the end of the connection is noticed.
            nothing(stream).await?;
            if context.draining() && !sessions.has(&name) {
                context.metrics.refused(Refused::Draining);
                return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "Shutting down"));
            }
            let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
            let query = call.uri.query().unwrap_or_default();
            let handshake = Handshake::new(
                Kind::Fallback,
                call.client,
                Some(target.key),
                query,
                origin.map(str::to_owned),
            );
            Ok(lines(match app {
                Some(_) => sessions.receive(name, manner, handshake).await,
                None => sessions.refuse(handshake).await,
            }))
        }
    }
}

#[derive(Clone, Copy)]
enum Action {
    Receive(Manner),
    Send,
}

impl Action {
    fn parse(segment: &str) -> Option<Action> {
        match segment {
            "xhr_streaming" => Some(Action::Receive(Manner::Streaming)),
            "xhr" => Some(Action::Receive(Manner::Polling)),
            "xhr_send" => Some(Action::Send),
            _ => None,
        }
    }
}

async fn send(sessions: &Sessions, name: &SessionName, body: &Bytes) -> Result<Response, ApiError> {
    let texts: Vec<String> = serde_json::from_slice(body).map_err(|error| {
        ApiError::Bad(format!("The body is not a JSON array of strings: {error}"))
    })?;
    if texts.len() > MESSAGES {
        let count = texts.len();
        return Err(ApiError::TooLarge(format!(
            "Too many messages in one request: {count}, at most {MESSAGES}"
        )));
    }
    Ok(match sessions.send(name, texts).await {
        Ok(()) => text(StatusCode::NO_CONTENT, ""),
        Err(Unknown) => no_session(),
    })
}

/// Reads the body of a receive request, which means nothing.
async fn nothing<S, B>(stream: S) -> Result<(), ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    match body::read(stream, RECEIVE_BYTES).await {
        Ok(_) => Ok(()),
        Err(BodyError::TooLarge(max)) => Err(ApiError::TooLarge(format!(
            "The body of a request that only receives exceeds {max} bytes"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// The answer to a receive request, passed on line by line.
fn lines(answer: Answer) -> Response {
    let mut response = warp::reply::stream(answer).into_response();
    let headers = response.headers_mut();
    // Not text/plain: of that browsers hold the first bytes back to guess what it is.
    let kind = HeaderValue::from_static("application/javascript; charset=UTF-8");
    headers.insert(CONTENT_TYPE, kind);
    let fresh = HeaderValue::from_static("no-store, no-transform");
    headers.insert(CACHE_CONTROL, fresh);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn no_session() -> Response {
    text(StatusCode::NOT_FOUND, Unknown.to_string())
}

fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "Not found")
}
