//! `GET /apps/{id}/connections`: how many connections the app has open, as Laravel Reverb answers it. With other
//! nodes, theirs are as of the last second.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::api::{ApiError, Signed, answer, segment};
use super::{Call, Context, Shared, json, method};

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path!("apps" / String / "connections")
        .and(method::get())
        .and(warp::ext::get::<Call>())
        .and(shared)
        .and_then(
            |app: String, call: Call, context: Arc<Context>| async move {
                Ok::<_, Rejection>(answer(count(&context, &app, &call).await))
            },
        )
        .boxed()
}

async fn count(context: &Context, app: &str, call: &Call) -> Result<Response, ApiError> {
    let signed = Signed::check(context, &segment(app), &Method::GET, call, Bytes::new()).await?;
    signed.only_parameters(&[])?;
    let mut connections = context.gateway.admission.connections(signed.app.index);
    if let Some(bus) = &context.bus {
        // While Redis is away, those of this node are all that is known.
        connections += bus
            .connections_elsewhere(signed.app.index)
            .await
            .unwrap_or(0);
    }
    let body = serde_json::json!({ "connections": connections });
    Ok(json(StatusCode::OK, &body))
}
