//! Connections in, HTTP over each. The loop is our own, not the framework's, for the backlog, the timeouts
//! and the raw socket after an upgrade.

use std::convert::Infallible;
use std::io;
use std::net::{self, IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, warn};
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};

use super::forwarded;
use super::listen::Tls;
use crate::config::Config;
use crate::http::{self, Call, Context, Cors};
use crate::metrics::Metrics;

/// How long a client may take for its TLS handshake.
const TLS_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take for a request's head, from the first moment of its turn and not from its first byte. Idle
/// keep-alive connections of backends end after it too, so it is not shorter: a backend that posts every few seconds keeps
/// its connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// How long bytes of an answer may stay untaken before the kernel ends the connection. After an upgrade the
/// hub decides about slow readers, and this is off.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection that we accepted just before the end may take for its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Room for a request's head: a path of 200 characters, a JWT, the cookies of a whole domain.
const HEAD: usize = 32 * 1024;

/// When the process is out of descriptors: time for some to come back.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What every connection needs, cloned into each.
#[derive(Clone)]
struct Surroundings {
    tls: Option<Tls>,
    trusted: Arc<[IpNet]>,
    path_prefix: Arc<str>,
    /// `None`: pages of other origins are told nothing.
    cors: Option<Cors>,
    /// Where requests are counted, if they are.
    metrics: Option<Arc<Metrics>>,
    stopped: watch::Receiver<bool>,
    /// [`HEAD_PATIENCE`], but for tests.
    head_patience: Duration,
}

/// The accept loop and what it hands to each connection.
pub(super) struct Acceptor {
    surroundings: Surroundings,
    routes: BoxedFilter<(Response,)>,
    /// Where connections are served; never empty.
    homes: Vec<Handle>,
}

impl Acceptor {
    /// The public listener, whose connections live on the threads of `homes`.
    pub(super) fn new(
        config: &Config,
        context: Arc<Context>,
        tls: Option<Tls>,
        stopped: watch::Receiver<bool>,
        homes: &[Handle],
    ) -> Acceptor {
        let surroundings = Surroundings {
            tls,
            trusted: config.server.trusted_proxies.clone().into(),
            path_prefix: config.server.path_prefix.as_str().into(),
            cors: Some(Cors::new(context.apps.clone())),
            metrics: Some(context.metrics.clone()),
            stopped,
            head_patience: HEAD_PATIENCE,
        };
        Acceptor {
            surroundings,
            routes: http::routes(context),
            homes: homes.to_vec(),
        }
    }

    /// The admin listener: plain HTTP, no proxies, no pages of other origins. Must be called inside the runtime that
    /// serves it.
    pub(super) fn admin(
        routes: BoxedFilter<(Response,)>,
        stopped: watch::Receiver<bool>,
    ) -> Acceptor {
        let surroundings = Surroundings {
            tls: None,
            trusted: Arc::default(),
            path_prefix: Arc::default(),
            cors: None,
            metrics: None,
            stopped,
            head_patience: HEAD_PATIENCE,
        };
        Acceptor {
            surroundings,
            routes,
            homes: vec![Handle::current()],
        }
    }

    /// Accepts until told to stop, then waits for the requests under way.
    pub(super) async fn run(self, listener: TcpListener) {
        let service = warp::service(self.routes);
        let mut stopped = self.surroundings.stopped.clone();
        // Held by each connection's task until HTTP is done with it.
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener) => accepted,
                () = told_to_stop(&mut stopped) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let served = serve(stream, peer, self.surroundings.clone(), service.clone());
                    let alive = alive.clone();
                    quietest(&self.homes).spawn(async move {
                        served.await;
                        drop(alive);
                    });
                }
                // The client gave up before we came to it, or we have no descriptor for it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
        }
        drop((listener, alive));
        // It is never sent to.
        all_gone.recv().await;
    }
}

/// A connection that no runtime knows yet: the one that will serve it is another.
async fn accept(listener: &TcpListener) -> io::Result<(net::TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    Ok((stream.into_std()?, peer))
}

/// Where the fewest tasks are: about one a connection. Taking turns would put all WebSockets on one thread if every
/// second connection is a page's request.
fn quietest(homes: &[Handle]) -> &Handle {
    let fewest = homes
        .iter()
        .min_by_key(|home| home.metrics().num_alive_tasks());
    fewest.unwrap_or(&homes[0])
}

async fn serve<S>(stream: net::TcpStream, peer: SocketAddr, surroundings: Surroundings, service: S)
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    // Events are small and must not wait for one another. Fails only on a socket that is gone already.
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return debug!(%peer, %error, "cannot serve a connection"),
    };
    drop(stream.set_nodelay(true));
    drop(SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_PATIENCE)));
    let ip = peer.ip();
    match surroundings.tls.clone() {
        None => serve_http(stream, ip, surroundings, service).await,
        Some(tls) => match timeout(TLS_PATIENCE, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, ip, surroundings, service).await,
            Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => debug!(%peer, "TLS handshake took too long"),
        },
    }
}

async fn serve_http<I, S>(stream: I, peer: IpAddr, surroundings: Surroundings, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let mut stopped = surroundings.stopped.clone();
    let head_patience = surroundings.head_patience;
    let asked = &Notify::new();
    let answer = service_fn(move |request| {
        asked.notify_one();
        answer(request, peer, surroundings.clone(), service.clone())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_patience)
        .max_buf_size(HEAD)
        // The buffer alone lets a larger one pass that comes in one piece.
        .max_header_size(HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = told_to_stop(&mut stopped) => {
            // We have accepted it, so its first request is ours, though it may still be on its way.
            tokio::select! {
                () = asked.notified() => {}
                _ = &mut connection => return,
                () = sleep(FIRST_REQUEST) => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%peer, %error, "connection ended");
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server is gone altogether.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn answer<S>(
    mut request: Request<Incoming>,
    peer: IpAddr,
    surroundings: Surroundings,
    mut service: S,
) -> Result<Response, Infallible>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let Surroundings {
        cors,
        trusted,
        path_prefix,
        metrics,
        ..
    } = surroundings;
    let call = Call {
        uri: request.uri().clone(),
        client: forwarded::client(peer, request.headers(), &trusted),
    };
    let target = without_prefix(request.uri(), &path_prefix);
    let path = target.as_ref().map_or("*", Uri::path);
    let route = http::route(path);
    // Who calls the trigger API has the secret, and no page may have that.
    let cors = cors.filter(|_| !path.starts_with("/apps/"));
    let (method, headers) = (request.method(), request.headers());
    let preflight = cors
        .as_ref()
        .and_then(|cors| cors.preflight(method, headers));
    let mut response = match (preflight, target) {
        (Some(response), _) => response,
        (None, None) => {
            let message = "Bad request: the target is not a path";
            warp::reply::with_status(message, StatusCode::BAD_REQUEST).into_response()
        }
        (None, Some(target)) => {
            let origin = cors.as_ref().map(|cors| cors.allowed(headers));
            *request.uri_mut() = target;
            request.extensions_mut().insert(call);
            let mut response = service.call(request).await?;
            if let Some(origin) = origin {
                Cors::open(&mut response, origin);
            }
            response
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A refusal may quote what it refuses: nobody is to take it for a page.
        let nosniff = HeaderValue::from_static("nosniff");
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    }
    if let Some(metrics) = metrics {
        metrics.answered(route, response.status());
    }
    Ok(response)
}

/// The target below `server.path_prefix`. Proxies may have taken the prefix off: then it is as it came.
fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    let path = uri.path();
    match path.strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() && (rest.is_empty() || rest.starts_with('/')) => {
            let path = if rest.is_empty() { "/" } else { rest };
            match uri.query() {
                Some(query) => format!("{path}?{query}").parse().ok(),
                None => path.parse().ok(),
            }
        }
        _ if path.starts_with('/') => Some(uri.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
