//! `gateways.socketio_path`, by default `/socket.io/`: requests of Socket.IO clients, handed to their door.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue, ORIGIN};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::body::{self, BodyError};
use super::{Call, Context, Shared, json, text, upgrade};
use crate::gateway::socketio::{self, Door, NotBegun};
use crate::metrics::Refused;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .and(shared)
        .and_then(|path: FullPath, context: Arc<Context>| async move {
            match &context.socketio {
                Some(door) if door.takes(path.as_str()) => Ok(context),
                _ => Err(warp::reject::not_found()),
            }
        })
        .and(warp::method())
        .and(warp::ext::get::<Call>())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::body::stream())
        .and_then(
            |context, method, call: Call, headers, upgrade, stream| async move {
                let answer = serve(context, method, &call, &headers, upgrade, stream).await;
                Ok::<_, Rejection>(answer)
            },
        )
        .boxed()
}

async fn serve<S, B>(
    context: Arc<Context>,
    method: Method,
    call: &Call,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
    stream: S,
) -> Response
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let Some(door) = &context.socketio else {
        return text(StatusCode::NOT_FOUND, "Not found");
    };
    let call = socketio::Call {
        method,
        query: call.uri.query().unwrap_or_default(),
        client: call.client,
        origin: headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()),
    };
    if context.draining() && Door::begins(&call) {
        context.metrics.refused(Refused::Draining);
        return refused(StatusCode::SERVICE_UNAVAILABLE, "Shutting down");
    }
    let answered = match Door::wants_websocket(&call) {
        true => switch(door, &call, headers, upgrade),
        false => fetch(door, call, stream, context.limits.message_bytes).await,
    };
    answered.unwrap_or_else(|not_begun| refused(not_begun.status(), &not_begun.to_string()))
}

fn switch(
    door: &Door,
    call: &socketio::Call<'_>,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, NotBegun> {
    let (accept, upgrade) = match upgrade::readable(headers, upgrade) {
        Ok(both) => both,
        Err(problem) => return Ok(upgrade::not_a_websocket(problem)),
    };
    Ok(match door.upgrade(call, upgrade)? {
        Some(()) => upgrade::switching(accept),
        None => page(socketio::no_session()),
    })
}

async fn fetch<S, B>(
    door: &Door,
    call: socketio::Call<'_>,
    stream: S,
    limit: usize,
) -> Result<Response, NotBegun>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = match body::read(stream, limit).await {
        Ok(body) => body,
        Err(BodyError::TooLarge(max)) => {
            let why = format!("The request exceeds limits.message_bytes ({max} bytes)");
            return Ok(refused(StatusCode::PAYLOAD_TOO_LARGE, &why));
        }
        Err(error @ BodyError::TooSlow) => {
            return Ok(refused(StatusCode::REQUEST_TIMEOUT, &error.to_string()));
        }
        Err(error @ BodyError::Broken) => {
            return Ok(refused(StatusCode::BAD_REQUEST, &error.to_string()));
        }
    };
    door.poll(call, body).await.map(page)
}

/// What the engine answers, which nobody on the way may keep.
fn page(response: hyper::Response<Bytes>) -> Response {
    let (parts, body) = response.into_parts();
    let mut response = Response::new(body.into());
    *response.status_mut() = parts.status;
    // The engine's word on what it is.
    response.headers_mut().extend(parts.headers);
    let fresh = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, fresh);
    response
}

fn refused(status: StatusCode, why: &str) -> Response {
    let body = serde_json::json!({ "success": false, "error": why });
    json(status, &body)
}
