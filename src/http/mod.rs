//! The HTTP side: one file a group of endpoints, put in order here.
//!
//! # Layout
//!
//! * [`events`]: publishing, the busiest endpoints, hence first.
//! * [`upgrade`]: `GET /app/{key}`, the way to the WebSocket.
//! * [`fallback`]: `POST /pusher/app/{key}/…`, the same without a WebSocket.
//! * [`plain`]: `GET /ws`, the way to JSON over a plain WebSocket.
//! * [`channels`]: questions about channels and their users.
//! * [`users`]: sending a user away.
//! * [`connections`]: how many connections an app has.
//! * [`broadcasting`]: the built-in authorizer for channels and users.
//! * [`socketio`]: requests of Socket.IO clients.
//! * [`page`]: the small test page.
//! * [`chats`]: what a user's page reads of the chat.
//! * [`health`]: alive, ready, and the landing page.
//! * [`method`]: the methods that a path has.
//! * [`route`]: what the figures call each route.
//! * [`api`]: what the signed endpoints share: the app, the signature, the rate, the errors.
//! * [`body`]: reading a request's body within a limit, chunked or not.
//! * [`cors`]: what browsers of other origins are told.

mod api;
mod body;
mod broadcasting;
mod channels;
mod chats;
mod connections;
mod cors;
mod events;
mod fallback;
mod health;
pub(crate) mod method;
mod page;
mod plain;
mod route;
mod socketio;
mod upgrade;
mod users;

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyper::header::CONTENT_TYPE;
use hyper::{StatusCode, Uri};
use serde::Serialize;
use tokio::runtime::Handle;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

pub(crate) use self::body::{BodyError, read as read_body};
pub use self::broadcasting::bearer;
pub use self::cors::Cors;
pub use self::route::{ROUTES, route};

use crate::apps::{Apps, PerApp, SigningApp};
use crate::auth::Authorizer;
use crate::broker::Broker;
use crate::bus::Bus;
use crate::clock;
use crate::config::{Gateways, Limits};
use crate::gateway::fallback::Sessions;
use crate::gateway::plain::Plain;
use crate::gateway::pusher::Gateway;
use crate::gateway::socketio::Door as SocketIo;
use crate::limits::RateLimit;
use crate::metrics::Metrics;
use crate::outbox::Lag;
use crate::store::Store;
use crate::users::Users;
use crate::webhooks::Webhooks;

/// A load balancer asks more often than this.
const WATCHED_MS: u64 = 10_000;

/// What all handlers share.
pub struct Context {
    /// Who may call.
    pub apps: Arc<Apps>,
    /// Where events go and answers about channels come from.
    pub broker: Arc<Broker>,
    /// Signed-in users.
    pub users: Arc<Users>,
    /// The WebSocket door.
    pub gateway: Arc<Gateway>,
    /// The door for clients without WebSocket; none when it is closed (`gateways.http_fallback`).
    pub fallback: Option<Sessions>,
    /// The door for clients of Socket.IO; none when it is closed (`gateways.socketio_path`).
    pub socketio: Option<SocketIo>,
    /// What the test page has to know of the doors.
    pub gateways: Gateways,
    /// The door for JSON over a plain WebSocket; none when it is closed (`gateways.plain_path`).
    pub plain: Option<Arc<Plain>>,
    /// The built-in authorizer.
    pub authorizer: Arc<Authorizer>,
    /// The app whose secret the built-in authorizer signs with.
    pub signing_app: SigningApp,
    /// Read by the figures alone: events come to it by the broker.
    pub webhooks: Arc<Webhooks>,
    /// Where requests and publications are counted.
    pub metrics: Arc<Metrics>,
    /// Limits of the API.
    pub limits: Limits,
    /// `limits.api_requests_per_s` of each app.
    pub rates: PerApp<RateLimit>,
    /// `server.path_prefix`: signatures are taken with it and without.
    pub path_prefix: String,
    /// The other nodes, if there are any.
    pub bus: Option<Arc<Bus>>,
    /// The database, when something needs one.
    pub store: Option<Arc<Store>>,
    /// How long rows of the outbox wait, when it is on.
    pub outbox_lag: Option<Arc<Lag>>,
    /// Where work is done that would keep connections waiting.
    pub background: Handle,
    /// Set on SIGTERM: not fit for new traffic.
    pub draining: AtomicBool,
    /// When `/ready` was last asked, in milliseconds of [`clock::now_ms`]; 0 = never.
    pub ready_asked_ms: AtomicU64,
}

/// The request line and the caller, put into the extensions of each request.
#[derive(Clone)]
pub struct Call {
    /// The request's target as it came, path prefix included.
    pub uri: Uri,
    /// The client, behind trusted proxies.
    pub client: IpAddr,
}

/// Shows no query, where tokens and signatures stand.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("path", &self.uri.path())
            .field("client", &self.client)
            .finish()
    }
}

/// All routes, as one filter. Never rejects: what no route takes is answered as well.
pub fn routes(context: Arc<Context>) -> BoxedFilter<(Response,)> {
    let shared = warp::any().map(move || context.clone());
    events::routes(shared.clone().boxed())
        .or(upgrade::routes(shared.clone().boxed()))
        .unify()
        .or(fallback::routes(shared.clone().boxed()))
        .unify()
        .or(channels::routes(shared.clone().boxed()))
        .unify()
        .or(users::routes(shared.clone().boxed()))
        .unify()
        .or(connections::routes(shared.clone().boxed()))
        .unify()
        .or(broadcasting::routes(shared.clone().boxed()))
        .unify()
        .or(chats::routes(shared.clone().boxed()))
        .unify()
        .or(health::routes(shared.clone().boxed()))
        .unify()
        .or(plain::routes(shared.clone().boxed()))
        .unify()
        .or(page::routes(shared.clone().boxed()))
        .unify()
        .or(socketio::routes(shared.clone().boxed()))
        .unify()
        .or(upgrade::elsewhere(shared.boxed()))
        .unify()
        .recover(not_routed)
        .unify()
        .boxed()
}

/// `/up` and `/ready` alone.
pub fn probes(context: Arc<Context>) -> BoxedFilter<(Response,)> {
    health::probes(warp::any().map(move || context.clone()).boxed())
}

/// The context, as a filter.
type Shared = BoxedFilter<(Arc<Context>,)>;

impl Context {
    /// Whether new traffic should go elsewhere.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether somebody goes by `/ready`: a load balancer has asked in the last while.
    pub fn is_watched(&self) -> bool {
        let asked_ms = self.ready_asked_ms.load(Ordering::Relaxed);
        asked_ms > 0 && clock::now_ms() < asked_ms + WATCHED_MS
    }

    /// Whether the server is fit for traffic.
    ///
    /// # Errors
    /// Why it is not, in words for an operator.
    pub fn readiness(&self) -> Result<(), String> {
        self.ready_asked_ms
            .store(clock::now_ms(), Ordering::Relaxed);
        if self.draining() {
            return Err("draining: the server is shutting down".into());
        }
        self.bus.as_ref().map_or(Ok(()), |bus| bus.health())
    }
}

/// The answer where no route takes the request.
pub async fn not_routed(rejection: Rejection) -> Result<Response, Infallible> {
    if rejection.is_not_found() {
        return Ok(text(StatusCode::NOT_FOUND, "Not found"));
    }
    let Some(only) = rejection.find::<method::Only>() else {
        return Ok(text(StatusCode::BAD_REQUEST, "Bad request"));
    };
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    only.tell(&mut response);
    Ok(response)
}

fn text(status: StatusCode, message: impl Into<String>) -> Response {
    warp::reply::with_status(message.into(), status).into_response()
}

/// A value as the body of a response.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Only maps with keys that are not strings fail, and there are none.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_call_holds_no_query() {
        let call = Call {
            uri: Uri::from_static("/ws?token=hush"),
            client: IpAddr::from([127, 0, 0, 1]),
        };
        let shown = format!("{call:?}");
        assert!(shown.contains("/ws") && !shown.contains("hush"), "{shown}");
    }
}
