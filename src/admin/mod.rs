//! The admin listener: figures, health and the debug console, for those who run the server. A port of its own, so that a
//! proxy that opens the public one to the world does not open this.
//!
//! # Layout
//!
//! * [`scrape`]: collects the figures from where they are kept.
//! * [`console`]: what the debug console reads and does, and its page.
//! * [`guard`]: who may look and act.
//!
//! `/up` and `/ready` are as on the public listener and ask for no token: whoever restarts processes need not know one.

mod console;
mod guard;
mod scrape;

use std::convert::Infallible;
use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use self::guard::{Denied, Guard};
use crate::http::{self, Context};

/// The text format of Prometheus.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// All routes of the listener. Never rejects. Everything but the probes asks for `token`, unless it is empty.
pub fn routes(context: Arc<Context>, token: &str) -> BoxedFilter<(Response,)> {
    let guard = Arc::new(Guard::new(token));
    let probes = http::probes(context.clone());
    let console = console::routes(context.clone(), guard.clone());
    let metrics = warp::path!("metrics")
        .and(http::method::get())
        .and(guard::scrape(guard))
        .and_then(move || {
            let context = context.clone();
            async move { Ok::<_, Rejection>(metrics(&context).await) }
        });
    probes
        .or(metrics)
        .unify()
        .or(console)
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

async fn not_served(rejection: Rejection) -> Result<Response, Infallible> {
    match rejection.find::<Denied>() {
        Some(denied) => Ok(denied.response()),
        None => http::not_routed(rejection).await,
    }
}
