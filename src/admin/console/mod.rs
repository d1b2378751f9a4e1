//! The debug console: one page, what it reads (`GET /api/…`), and what it does (`POST /api/…`). Reads are JSON of a bounded
//! size; what happens comes as a stream. Nothing of it costs anything while no page is open.
//!
//! # Layout
//!
//! * [`page`]: the page's files.
//! * [`login`]: sessions for browsers.
//! * [`stream`]: what happens, as it happens. [`told`]: how it is told.
//! * [`overview`]: counts, health, apps and nodes, told over the stream.
//! * [`connections`], [`channels`]: looking at them; sending a client away.
//! * [`publish`]: the event creator.
//! * [`webhooks`]: the log of deliveries, and sending one again.
//! * [`query`]: parameters and bodies of requests.

mod channels;
mod connections;
mod login;
mod overview;
mod page;
mod publish;
mod query;
mod stream;
mod told;
mod webhooks;

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use tokio::sync::Semaphore;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use self::overview::Overview;
use super::guard::{Ask, Denied, Guard, ask};
use crate::apps::App;
use crate::http::{self, BodyError, Context};
use crate::live::Live;

/// Webhooks that are sent again at a time; the next is refused until one is through.
const REPLAYS: usize = 4;

/// What the console's handlers share.
struct Console {
    context: Arc<Context>,
    live: Arc<Live>,
    guard: Arc<Guard>,
    overview: Overview,
    replays: Semaphore,
}

/// The console, as a filter.
type Shared = BoxedFilter<(Arc<Console>,)>;

/// Why a request is refused. The fault is the caller's.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    /// Which of the fields or parameters is wrong.
    field: Option<&'static str>,
    error: String,
}

/// All routes of the console. Rejects what it does not know, and what the guard denies.
pub(super) fn routes(context: Arc<Context>, guard: Arc<Guard>) -> BoxedFilter<(Response,)> {
    let console = Arc::new(Console {
        live: context.gateway.live.clone(),
        context,
        guard,
        overview: Overview::default(),
        replays: Semaphore::new(REPLAYS),
    });
    let shared = warp::any().map(move || console.clone()).boxed();
    page::routes(shared.clone())
        .or(login::routes(shared.clone()))
        .unify()
        .or(stream::routes(shared.clone()))
        .unify()
        .or(overview::routes(shared.clone()))
        .unify()
        .or(connections::routes(shared.clone()))
        .unify()
        .or(channels::routes(shared.clone()))
        .unify()
        .or(publish::routes(shared.clone()))
        .unify()
        .or(webhooks::routes(shared))
        .unify()
        .boxed()
}

impl Console {
    /// The app with this id.
    fn app(&self, id: &str) -> Result<Arc<App>, Refused> {
        let app = self.context.apps.by_id(id);
        app.ok_or_else(|| Refused::bad("app", format!("There is no app with the id '{id}'")))
    }

    /// The id of an app, as the outside knows it.
    fn app_id(&self, index: u32) -> &str {
        self.context.apps.id_of(index)
    }
}

impl Refused {
    fn bad(field: &'static str, error: impl Into<String>) -> Refused {
        Refused {
            status: StatusCode::BAD_REQUEST,
            field: Some(field),
            error: error.into(),
        }
    }

    fn of(status: StatusCode, error: impl Into<String>) -> Refused {
        Refused {
            status,
            field: None,
            error: error.into(),
        }
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Refused {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        Refused::of(status, error.to_string())
    }
}

/// The rest of a route that reads: lets it on if the caller may read.
fn reading(shared: Shared) -> BoxedFilter<(Arc<Console>, Ask)> {
    http::method::get()
        .and(shared)
        .and(ask())
        .and_then(|console: Arc<Console>, ask: Ask| async move {
            console.guard.may_read(&ask).map_err(Denied::reject)?;
            Ok::<_, Rejection>((console, ask))
        })
        .untuple_one()
        .boxed()
}

/// The rest of a route that acts: lets it on if the caller may act, with the body.
fn acting(shared: Shared) -> BoxedFilter<(Arc<Console>, Ask, Result<Bytes, Refused>)> {
    http::method::post()
        .and(shared)
        .and(ask())
        .and_then(|console: Arc<Console>, ask: Ask| async move {
            console.guard.may_act(&ask).map_err(Denied::reject)?;
            Ok::<_, Rejection>((console, ask))
        })
        .untuple_one()
        .and(warp::body::stream())
        .then(|console: Arc<Console>, ask, body| async move {
            let limit = console.context.limits.request_bytes;
            let body = http::read_body(body, limit).await;
            (console, ask, body.map_err(Refused::from))
        })
        .untuple_one()
        .boxed()
}

/// The answer to a question or an action.
fn answer(result: Result<impl Serialize, Refused>) -> Response {
    let mut response = match result {
        Ok(value) => http::json(StatusCode::OK, &value),
        Err(Refused {
            status,
            field,
            error,
        }) => {
            let body = serde_json::json!({ "success": false, "error": error, "field": field });
            http::json(status, &body)
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
