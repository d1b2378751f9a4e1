//! `GET /up`: the process is alive. `GET /ready`: it is fit for traffic. `GET /`: what this is.

use std::sync::Arc;

use hyper::StatusCode;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::{Context, Shared, json, method};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let get = method::get_or_head();
    let landing = warp::path::end().and(get).map(|| {
        format!("gema {VERSION}, a broadcast server that speaks the Pusher protocol.\n")
            .into_response()
    });
    probes(shared).or(landing).unify().boxed()
}

pub(super) fn probes(shared: Shared) -> BoxedFilter<(Response,)> {
    let get = method::get_or_head();
    let up = warp::path!("up").and(get).map(|| {
        let body = serde_json::json!({ "status": "up", "version": VERSION });
        json(StatusCode::OK, &body)
    });
    let ready =
        warp::path!("ready")
            .and(get)
            .and(shared)
            .map(|context: Arc<Context>| match context.readiness() {
                Ok(()) => {
                    let body = serde_json::json!({ "status": "ready", "version": VERSION });
                    json(StatusCode::OK, &body)
                }
                Err(reason) => {
                    let body = serde_json::json!({ "success": false, "error": reason });
                    json(StatusCode::SERVICE_UNAVAILABLE, &body)
                }
            });
    up.or(ready).unify().boxed()
}
