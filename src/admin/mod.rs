//! The admin listener: figures and health for those who run the server. A port of its own, so that a proxy that opens the
//! public one to the world does not open this.
//!
//! # Layout
//!
//! * [`scrape`]: collects the figures from where they are kept.
//!
//! `/up` and `/ready` are as on the public listener and ask for no token: whoever restarts processes need not know one.

mod scrape;

use std::convert::Infallible;
use std::sync::Arc;

use gema_protocol::auth::same;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::http::{self, Call, Context};

/// The text format of Prometheus.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// No token, or a wrong one.
#[derive(Debug)]
struct Denied;

impl warp::reject::Reject for Denied {}

/// All routes of the listener. Never rejects. Everything but the probes asks for `token`, unless it is empty.
pub fn routes(context: Arc<Context>, token: &str) -> BoxedFilter<(Response,)> {
    let probes = http::probes(context.clone());
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(allowed(token.into()))
        .and_then(move || {
            let context = context.clone();
            async move { Ok::<_, Rejection>(metrics(&context).await) }
        });
    probes
        .or(metrics)
        .unify()
        .recover(not_served)
        .unify()
        .boxed()
}

async fn metrics(context: &Context) -> Response {
    let reading = scrape::reading(context).await;
    let mut response = Response::new(context.metrics.expose(&reading).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets the request on if it knows the token, by header or in the query.
fn allowed(token: Arc<str>) -> BoxedFilter<()> {
    warp::header::headers_cloned()
        .and(warp::ext::get::<Call>())
        .and_then(move |headers: HeaderMap, call: Call| {
            let query = call.uri.query().unwrap_or_default();
            let good = token.is_empty() || knows(&token, &headers, query);
            async move {
                good.then_some(())
                    .ok_or_else(|| warp::reject::custom(Denied))
            }
        })
        .untuple_one()
        .boxed()
}

fn knows(token: &str, headers: &HeaderMap, query: &str) -> bool {
    let by_header = http::bearer(headers).is_some_and(|given| same(given, token));
    by_header
        || form_urlencoded::parse(query.as_bytes())
            .any(|(name, given)| name == "token" && same(&given, token))
}

async fn not_served(rejection: Rejection) -> Result<Response, Infallible> {
    if rejection.find::<Denied>().is_none() {
        return http::not_routed(rejection).await;
    }
    let error = "Send the token of admin.token, as 'Authorization: Bearer …' or as ?token=…";
    let body = serde_json::json!({ "success": false, "error": error });
    let mut response = http::json(StatusCode::UNAUTHORIZED, &body);
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    Ok(response)
}
