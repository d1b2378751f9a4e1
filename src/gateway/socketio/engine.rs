//! socketioxide, set up: Engine.IO 4 and the packets of Socket.IO. It is given requests and streams, and has no listener.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode};
use socketioxide::SocketIo;
use socketioxide::service::SocketIoService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;
use tracing::debug;

use super::Call;
use super::porter::Porter;
use super::stream::Wired;
use super::wire::Wire;
use crate::apps::SigningApp;
use crate::config::Config;
use crate::gateway::pusher::Gateway;

/// Where the engine thinks that it stands; the path of the configuration was compared before.
const PATH: &str = "/socket.io";

/// The interval that Socket.IO has by default, in seconds; shorter where the hub wants to hear its clients more often.
const PING_INTERVAL_S: u64 = 25;

/// How long a client has from its first request to the packet with its token, which it sends at once.
const CONNECT: Duration = Duration::from_secs(10);

/// Packets that wait for the transport. The window of bytes (`wire`) is reached before, so that there is always room for
/// the engine's own; only who asks much and reads no answer comes to this, and is closed.
const PACKETS: usize = 16 * 1024;

/// What a WebSocket is read into, in bytes.
const READ_BUFFER: usize = 1024;

/// A handle on the engine.
#[derive(Clone)]
pub(super) struct Engine {
    service: SocketIoService<NoOther>,
}

impl Engine {
    pub(super) fn new(config: &Config, gateway: &Arc<Gateway>, app: SigningApp) -> Engine {
        let limits = &config.limits;
        let interval_s = PING_INTERVAL_S.min(limits.activity_timeout_s);
        let (service, io) = SocketIo::builder()
            .req_path(PATH)
            .ping_interval(Duration::from_secs(interval_s))
            .ping_timeout(Duration::from_secs(limits.pong_timeout_s))
            .connect_timeout(CONNECT)
            .max_buffer_size(PACKETS)
            .max_payload(limits.message_bytes as u64)
            .ws_read_buffer_size(READ_BUFFER)
            .ws_max_message_size(limits.message_bytes)
            .ws_max_frame_size(limits.message_bytes)
            .build_with_inner_svc(NoOther);
        io.ns("/", Porter::new(config, gateway.clone(), app));
        Engine { service }
    }

    /// Answers a request; `wire` is that of the session which it begins.
    pub(super) async fn poll(
        &self,
        call: &Call<'_>,
        body: Bytes,
        wire: Option<Arc<Wire>>,
    ) -> Response<Bytes> {
        let Some(mut request) = request(call.query, Full::new(body)) else {
            return plain(StatusCode::BAD_REQUEST);
        };
        *request.method_mut() = call.method.clone();
        if let Some(wire) = wire {
            request.extensions_mut().insert(wire);
        }
        let Ok(response) = self.service.clone().call(request).await;
        let (parts, body) = response.into_parts();
        // The body is complete, and cannot fail.
        let Ok(body) = body.collect().await;
        Response::from_parts(parts, body.to_bytes())
    }

    /// Ends the session of this request, as if its client had said so (Engine.IO protocol 4: packet type 1).
    pub(super) async fn end(&self, call: &Call<'_>) {
        let close = Call {
            method: Method::POST,
            ..*call
        };
        self.poll(&close, Bytes::from_static(b"1"), None).await;
    }

    /// Serves a WebSocket in tasks of its own; `wire` is that of the session which it begins.
    pub(super) fn websocket<S>(&self, query: &str, stream: Wired<S>, wire: Option<Arc<Wire>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(mut request) = request(query, ()) else {
            return;
        };
        if let Some(wire) = wire {
            request.extensions_mut().insert(wire);
        }
        if let Err(error) = self.service.clone().call((stream, request)).into_inner() {
            debug!(%error, "a WebSocket that the engine does not take");
        }
    }
}

/// As much of a request as the engine looks at; it keeps the head as long as the session lasts.
fn request<B>(query: &str, body: B) -> Option<Request<B>> {
    let uri = format!("{PATH}/?{query}");
    Request::get(uri).body(body).ok()
}

fn plain(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// What the engine gives requests to that are not for it: there are none.
#[derive(Clone, Debug)]
pub(super) struct NoOther;

impl Service<Request<Full<Bytes>>> for NoOther {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(plain(StatusCode::NOT_FOUND).map(Full::new)))
    }
}
