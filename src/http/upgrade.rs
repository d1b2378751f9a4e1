//! `GET /app/{key}`: from HTTP to the WebSocket (RFC 6455, section 4.2). Whatever is wrong with the Pusher
//! side of the request is told after the upgrade; a request that is no WebSocket handshake is told here.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;
use warp::filters::BoxedFilter;
use warp::path::Tail;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::api::segment;
use super::{Call, Context, Shared, method, text};
use crate::gateway::Kind;
use crate::gateway::pusher::{self, handshake::Handshake};
use crate::metrics::Refused;

/// Subprotocols that the Swift client offers, e.g. `pusher-channels-protocol-7`.
const SUBPROTOCOL: &str = "pusher-channels-protocol-";

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path("app")
        .and(method::get())
        .and(warp::path::tail())
        .and(warp::ext::get::<Call>())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(shared)
        .and_then(
            |path: Tail, call: Call, headers, upgrade, context| async move {
                Ok::<_, Rejection>(switch(path.as_str(), &call, &headers, upgrade, context))
            },
        )
        .boxed()
}

/// A Pusher client on a wrong path is told so after the upgrade: it does not see the status of a failed one. Other
/// clients go by the status; they are not told by the protocol of one they do not speak.
pub(super) fn elsewhere(shared: Shared) -> BoxedFilter<(Response,)> {
    // The method is looked at by hand: a filter would call every unknown path a wrong method.
    warp::method()
        .and(warp::ext::get::<Call>())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(shared)
        .and_then(
            |method, call: Call, headers: HeaderMap, upgrade, context| async move {
                let is_pusher = call.uri.path().split('/').any(|segment| segment == "app");
                match is_pusher
                    && method == Method::GET
                    && has_token(&headers, &UPGRADE, "websocket")
                {
                    true => Ok(switch("", &call, &headers, upgrade, context)),
                    false => Err(warp::reject::not_found()),
                }
            },
        )
        .boxed()
}

fn switch(
    path: &str,
    call: &Call,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
    context: Arc<Context>,
) -> Response {
    let (accept, upgrade) = match readable(headers, upgrade) {
        Ok(both) => both,
        Err(problem) => return not_a_websocket(problem),
    };
    if context.draining() {
        context.metrics.refused(Refused::Draining);
        return text(StatusCode::SERVICE_UNAVAILABLE, "Shutting down");
    }
    let key = path.trim_end_matches('/');
    let key = (!key.is_empty() && !key.contains('/')).then(|| segment(key));
    let origin = header(headers, &ORIGIN).map(str::to_owned);
    let handshake = Handshake::new(
        Kind::Pusher,
        call.client,
        key,
        call.uri.query().unwrap_or_default(),
        origin,
    );
    let client = call.client;
    let gateway = context.gateway.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => pusher::serve(gateway, handshake, upgraded).await,
            Err(error) => debug!(%client, %error, "upgrade failed"),
        }
    });

    let mut response = switching(accept);
    if let Some(protocol) = subprotocol(headers) {
        let answer = response.headers_mut();
        answer.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

/// The answer to the client's key and the way to its bytes, or what is wrong with the handshake.
pub(super) fn readable(
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<(HeaderValue, OnUpgrade), &'static str> {
    let accept = accept_key(headers)?;
    let upgrade = upgrade.ok_or("the connection cannot be upgraded")?;
    Ok((accept, upgrade))
}

/// The response after which the connection is a WebSocket.
pub(super) fn switching(accept: HeaderValue) -> Response {
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let answer = response.headers_mut();
    answer.clear();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The answer to the client's key, or what is wrong with the handshake.
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err("the header 'Upgrade: websocket' is missing");
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err("the header 'Connection: Upgrade' is missing");
    }
    if header(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err("the header 'Sec-WebSocket-Version: 13' is missing");
    }
    let key = header(headers, &SEC_WEBSOCKET_KEY).unwrap_or_default();
    match BASE64.decode(key) {
        Ok(nonce) if nonce.len() == 16 => {}
        _ => return Err("the header 'Sec-WebSocket-Key' is not the base64 of 16 bytes"),
    }
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::from_str(&accept).map_err(|_| "the key has no answer")
}

fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = header(headers, &SEC_WEBSOCKET_PROTOCOL)?;
    let known = offered
        .split(',')
        .map(str::trim)
        .find(|name| name.starts_with(SUBPROTOCOL))?;
    HeaderValue::from_str(known).ok()
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// The answer to a request that is no handshake.
pub(super) fn not_a_websocket(problem: &str) -> Response {
    let message = format!("This is a WebSocket endpoint, and {problem}.");
    let mut response = text(StatusCode::UPGRADE_REQUIRED, message);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
