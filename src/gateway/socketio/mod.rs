//! Clients of Socket.IO, on the same hub: the engine and the packets are socketioxide's, everything else is the hub's.
//! There is one namespace, `/`, and no rooms but channels.
//!
//! # Layout
//!
//! * [`Door`]: requests in, responses out; what opens a session, and what belongs to one.
//! * `engine`: socketioxide, set up.
//! * `porter`: a token becomes a [`Guest`](super::guest::Guest), joined to its channels before the client is told that it
//!   is connected.
//! * `session`: one client's two tasks, out of the hub and into it. `asked`: what clients may ask for.
//! * `dress`: a frame of the hub as an event of Socket.IO.
//! * `wire`, `stream`: how much is on its way to a client, and how a session ends; the engine tells neither.

mod asked;
mod dress;
mod engine;
mod porter;
mod session;
mod stream;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tracing::debug;

use self::engine::Engine;
use self::stream::Wired;
use self::wire::{Sessions, Wire};
use super::Kind;
use super::admission::Full as AdmissionFull;
use super::pusher::Gateway;
use crate::apps::SigningApp;
use crate::clock;
use crate::config::Config;
use crate::metrics::Refused;

/// The code of the engine's own answer to a request of a session that it does not know: the client begins anew.
const NO_SESSION: &str = r#"{"code":"1","message":"Session ID unknown"}"#;

/// Tells proxies which session an answer begins: its other requests name it in the query, and belong on the same node.
const SESSION: HeaderName = HeaderName::from_static("x-gema-session");

/// The way in for clients of Socket.IO.
pub struct Door {
    path: String,
    gateway: Arc<Gateway>,
    /// Whose channels they hear.
    app: SigningApp,
    engine: Engine,
    sessions: Arc<Sessions>,
}

/// Why a session is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it means")]
pub enum NotBegun {
    #[error("The app of auth.app is disabled")]
    NoApp,
    #[error("Origin not allowed (apps.allowed_origins)")]
    Origin,
    #[error("Too many connections at once (limits.handshakes_per_s)")]
    HandshakeRate,
    #[error(transparent)]
    Full(#[from] AdmissionFull),
}

/// One request, as far as it matters here.
pub struct Call<'a> {
    /// GET or POST.
    pub method: Method,
    /// What the engine goes by: `EIO`, `transport`, `sid`.
    pub query: &'a str,
    /// Who asks, behind trusted proxies.
    pub client: IpAddr,
    /// The page that asks; only browsers send it.
    pub origin: Option<&'a str>,
}

impl Door {
    /// `None` when it is closed (`gateways.socketio_path`). `app` is the one whose channels its clients hear.
    pub fn new(config: &Config, gateway: Arc<Gateway>, app: SigningApp) -> Option<Door> {
        let path = config.gateways.socketio_path.clone()?;
        let engine = Engine::new(config, &gateway, app.clone());
        Some(Door {
            path,
            gateway,
            app,
            engine,
            sessions: Arc::default(),
        })
    }

    /// Whether a request for this path is for this door.
    pub fn takes(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&*self.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether this request begins a session.
    pub fn begins(call: &Call<'_>) -> bool {
        parameter(call.query, "sid").is_none()
    }

    /// Whether this request wants a WebSocket.
    pub fn wants_websocket(call: &Call<'_>) -> bool {
        parameter(call.query, "transport") == Some("websocket")
    }

    /// Answers a request of a client without a WebSocket, or not yet: one that begins a session, fetches its packets
    /// (which may take a while), or brings some.
    ///
    /// # Errors
    /// Why no session is begun.
    pub async fn poll(&self, call: Call<'_>, body: Bytes) -> Result<Response<Bytes>, NotBegun> {
        let Some(sid) = parameter(call.query, "sid") else {
            // Anything else than a GET is refused by the engine.
            let wire = self.begin(&call)?;
            let mut response = self.engine.poll(&call, body, Some(wire.clone())).await;
            if let Some(sid) = opened(response.body()) {
                if let Ok(sid) = HeaderValue::from_str(&sid) {
                    response.headers_mut().insert(SESSION, sid);
                }
                self.sessions.register(&sid, &wire);
            }
            return Ok(response);
        };
        let Some(wire) = self.sessions.get(sid) else {
            return Ok(no_session());
        };
        wire.heard();
        let fetches = call.method == Method::GET;
        let response = tokio::select! {
            biased;
            response = self.engine.poll(&call, body, None) => response,
            // Only here can a session without a WebSocket be ended, for here the client hears of it.
            () = wire.over() => {
                self.engine.end(&call).await;
                return Ok(no_session());
            }
        };
        if fetches {
            wire.wrote(response.body().len());
        }
        Ok(response)
    }

    /// Carries a session on over a WebSocket, or begins one there, once the connection is upgraded. `None`: the session
    /// is unknown.
    ///
    /// # Errors
    /// Why no session is begun.
    pub fn upgrade(&self, call: &Call<'_>, upgrade: OnUpgrade) -> Result<Option<()>, NotBegun> {
        let (wire, is_new) = match parameter(call.query, "sid") {
            None => (self.begin(call)?, true),
            Some(sid) => match self.sessions.get(sid) {
                Some(wire) => (wire, false),
                None => return Ok(None),
            },
        };
        wire.heard();
        let engine = self.engine.clone();
        let (query, client) = (call.query.to_owned(), call.client);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let carries = is_new.then(|| wire.clone());
                    let stream = TokioIo::new(upgraded);
                    engine.websocket(&query, Wired { stream, wire }, carries);
                }
                Err(error) => debug!(%client, %error, "upgrade failed"),
            }
        });
        Ok(Some(()))
    }

    /// Lets one more session in.
    fn begin(&self, call: &Call<'_>) -> Result<Arc<Wire>, NotBegun> {
        self.admit(call).inspect_err(|not_begun| {
            self.gateway.metrics.refused(match not_begun {
                NotBegun::NoApp => Refused::DisabledApp,
                NotBegun::Origin => Refused::Origin,
                NotBegun::HandshakeRate => Refused::HandshakeRate,
                NotBegun::Full(AdmissionFull::App) => Refused::AppFull,
                NotBegun::Full(AdmissionFull::Server) => Refused::ServerFull,
                NotBegun::Full(AdmissionFull::Closing) => Refused::Draining,
            });
        })
    }

    fn admit(&self, call: &Call<'_>) -> Result<Arc<Wire>, NotBegun> {
        let admission = &self.gateway.admission;
        if !admission.take_handshake(clock::now_ms()) {
            return Err(NotBegun::HandshakeRate);
        }
        let app = self.app.get().ok_or(NotBegun::NoApp)?;
        if !app.allowed_origins.allows(call.origin) {
            return Err(NotBegun::Origin);
        }
        let admitted = admission.admit(&app, Kind::SocketIo)?;
        Ok(Wire::new(call.client, admitted))
    }
}

impl NotBegun {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            NotBegun::Origin => StatusCode::FORBIDDEN,
            NotBegun::HandshakeRate => StatusCode::TOO_MANY_REQUESTS,
            NotBegun::NoApp | NotBegun::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A parameter of the query, as the engine reads it: not decoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The session that this answer opens (Engine.IO protocol 4: packet type 0 and a JSON object).
fn opened(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Open {
        sid: String,
    }
    let packet = body.strip_prefix(b"0")?;
    let open: Open = serde_json::from_slice(packet).ok()?;
    Some(open.sid)
}

/// The answer for a session that is over or was never here: the client begins a new one.
pub fn no_session() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(NO_SESSION.as_bytes()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
