//! `GET /ws` (`gateways.plain_path`): from HTTP to JSON over a plain WebSocket. Who is not let in is told here, by the
//! status, before anything is upgraded.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::upgrade::OnUpgrade;
use tracing::debug;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::broadcasting::bearer;
use super::upgrade::{header, not_a_websocket, readable, switching};
use super::{Call, Context, Shared, json, method};
use crate::gateway::plain::handshake::{Handshake, Refusal};
use crate::gateway::plain::{self, Plain};
use crate::metrics::Refused;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    // The path is looked at first, and the method after: a filter would call every unknown path a wrong method.
    warp::path::full()
        .and(shared)
        .and_then(|path: FullPath, context: Arc<Context>| async move {
            let door = context.plain.clone();
            let here = |door: &Arc<Plain>| door.path == path.as_str().trim_end_matches('/');
            let door = door.filter(here).ok_or_else(warp::reject::not_found)?;
            Ok::<_, Rejection>((door, context))
        })
        .untuple_one()
        .and(method::get())
        .and(warp::ext::get::<Call>())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and_then(
            |door, context: Arc<Context>, call: Call, headers: HeaderMap, upgrade| async move {
                let answer = answer(door, &context, &call, &headers, upgrade).await;
                Ok::<_, Rejection>(answer.unwrap_or_else(|refused| refused))
            },
        )
        .boxed()
}

async fn answer(
    door: Arc<Plain>,
    context: &Context,
    call: &Call,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, Response> {
    if context.draining() {
        context.metrics.refused(Refused::Draining);
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "Shutting down"));
    }
    let query = call.uri.query().unwrap_or_default();
    let in_query = form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "token" && !value.is_empty())
        .map(|(_, value)| value);
    let handshake = Handshake {
        client: call.client,
        token: in_query.as_deref().or_else(|| bearer(headers)),
        origin: header(headers, &ORIGIN),
    };
    let identity = handshake.identify(&door).await.map_err(|r| refused(&r))?;
    // Only now, so that a look without a WebSocket tells whether the token is good.
    let (accept, upgrade) = readable(headers, upgrade).map_err(not_a_websocket)?;
    let accepted = handshake.admit(&door, identity).map_err(|r| refused(&r))?;
    let client = call.client;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => plain::serve(door, accepted, upgraded).await,
            Err(error) => debug!(%client, %error, "upgrade failed"),
        }
    });
    Ok(switching(accept))
}

fn refused(why: &Refusal) -> Response {
    let status = match why {
        Refusal::TooFast => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Origin => StatusCode::FORBIDDEN,
        Refusal::Token(error) if error.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NoToken | Refusal::Token(_) => StatusCode::UNAUTHORIZED,
        Refusal::NoApp | Refusal::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = refusal(status, &why.to_string());
    if status == StatusCode::TOO_MANY_REQUESTS {
        // The rate is one of a second.
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn refusal(status: StatusCode, error: &str) -> Response {
    let body = serde_json::json!({ "success": false, "error": error });
    json(status, &body)
}
