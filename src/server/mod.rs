//! Listening and serving: the accept loop, each connection's HTTP, and the orderly end.
//!
//! # Layout
//!
//! * [`listen`]: the socket and the certificate.
//! * [`forwarded`]: who the client is behind trusted proxies.
//! * [`accept`]: connections in, HTTP over each.
//! * [`threads`]: where connections live.
//! * [`parts`]: what a server consists of, put together.
//! * [`error`]: why one cannot start.
//!
//! [`run`] takes its surroundings from outside, so that a test starts it on port 0.

mod accept;
mod error;
mod forwarded;
mod listen;
mod parts;
mod threads;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gema_protocol::code::Code;
use gema_protocol::liveness::Liveness;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, info};
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub use self::error::ServerError;
pub use self::listen::{Listener, bind, listen_on};

use self::accept::Acceptor;
use self::listen::Tls;
use self::parts::Parts;
use self::threads::Threads;
use crate::admin;
use crate::auth::Authorizer;
use crate::config::{self, Config};
use crate::hub::{Farewell, Hub, Settings};
use crate::roster::Roster;

/// After the grace period, how long the last farewells may take to arrive.
const LAST_FAREWELLS: Duration = Duration::from_secs(2);

/// How long a server that a load balancer watches goes on answering at least: two looks at `/ready`, a second apart.
const NOTICE: Duration = Duration::from_secs(2);

/// How long Redis may take to let this node go, and the database to end the outbox' turn.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often a successor looks whether the admin listener's port is free.
const ADMIN_PAUSE: Duration = Duration::from_millis(100);

/// After that, how long the webhooks that are left may take.
const LAST_WEBHOOKS: Duration = Duration::from_secs(5);

/// Whether the server would start with this configuration, as far as can be told without listening: the
/// certificate and the keys for tokens are read and judged.
///
/// # Errors
/// The setting that cannot be used.
pub fn check(config: &Config) -> Result<(), ServerError> {
    listen::tls(&config.server)?;
    Authorizer::new(config.auth.settings.clone())?;
    Ok(())
}

/// What whoever runs a server has to say to it.
#[derive(Debug)]
pub struct Orders {
    /// When and how it ends; dropping the sender is [`Ending::Stop`].
    pub ending: oneshot::Receiver<Ending>,
    /// Configurations that take the place of the one before, as far as that goes without a restart: the certificate,
    /// and the apps.
    pub reloads: mpsc::Receiver<Config>,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It drains: `/ready` says no, nobody new gets in, and HTTP is served until the last connection has gone.
    Stop,
    /// The same, but another process listens on the same socket: this one accepts no more and its HTTP ends at once. Without
    /// Redis between the two the connections are closed at once as well, for they would hear nothing of the other's events.
    HandOver,
}

/// Serves on `listener` until it is told to end. Then connections are closed with 4200 one after the other over
/// `server.shutdown_grace_s`.
pub async fn run(
    listener: Listener,
    config: Config,
    mut orders: Orders,
) -> Result<(), ServerError> {
    let mut engine = JoinSet::new();
    // Below 2^32, as the ids of pusher.com; two nodes of a cluster differ with near certainty.
    let node = u64::from(getrandom::u32()?);
    let settings = Settings {
        shards: config.server.shard_count(),
        outbox_bytes: config.limits.outbox_bytes,
        liveness: Liveness {
            activity_timeout_ms: config.limits.activity_timeout_s * 1000,
            pong_timeout_ms: config.limits.pong_timeout_s * 1000,
        },
    };
    let threads = Threads::start(settings.shards).map_err(ServerError::Threads)?;
    let (hub, shards) = Hub::new(&settings, node);
    for (shard, home) in shards.into_iter().zip(threads.handles()) {
        engine.spawn_on(shard, home);
    }
    let mut grace = Duration::from_secs(config.server.shutdown_grace_s);
    let Parts {
        context,
        mut empty,
        delivery,
        cluster,
        mut outbox,
        roster,
        app_table: _app_table,
    } = Parts::new(&config, &hub, node)?;

    let (stop, stopped) = watch::channel(false);
    let acceptor = Acceptor::new(
        &config,
        context.clone(),
        listener.tls.clone(),
        stopped.clone(),
        threads.handles(),
    );
    let mut accepting = tokio::spawn(acceptor.run(listener.tcp));
    // Dropped at the end, whatever is under way there.
    let mut admin = JoinSet::new();
    if let Some(settings) = config.admin.clone() {
        let routes = admin::routes(context.clone(), &settings.token);
        admin.spawn(serve_admin(listener.admin, settings, routes, stopped));
    }

    let ending = loop {
        tokio::select! {
            ending = &mut orders.ending => break ending.unwrap_or(Ending::Stop),
            Some(config) = orders.reloads.recv() => {
                reload(listener.tls.as_ref(), &roster, config).await;
            }
            Some(result) = engine.join_next() => return Err(engine_failed(result)),
        }
    };
    let is_handed_over = ending == Ending::HandOver;
    if is_handed_over {
        stop.send_replace(true);
        // The successor waits for its port.
        admin.abort_all();
        if context.bus.is_none() {
            grace = Duration::ZERO;
            // What is inserted from now on is the successor's to publish: the clients are about to be there.
            if let Some(outbox) = outbox.take() {
                outbox.finish(LAST_WORDS).await;
            }
        }
    }

    info!(grace_s = grace.as_secs(), "draining");
    let deadline = Instant::now() + grace + LAST_FAREWELLS;
    // HTTP goes on meanwhile: /ready says no, and back ends still reach those who are here.
    context.draining.store(true, Ordering::Relaxed);
    context.gateway.admission.close();
    hub.drain(Farewell::of(Code::Reconnect), grace).await;
    // Without connections there is nothing to wait for, but a load balancer has to see that /ready says no.
    let notice = if context.is_watched() && !is_handed_over {
        NOTICE.min(grace)
    } else {
        Duration::ZERO
    };
    let emptied = async {
        tokio::join!(empty.recv(), sleep(notice));
        stop.send_replace(true);
        // Requests under way may end; one that never will (half a head) is not waited for.
        drop(timeout(LAST_FAREWELLS, &mut accepting).await);
    };
    tokio::select! {
        emptied = timeout_at(deadline, emptied) => {
            accepting.abort();
            if let Some(outbox) = outbox {
                outbox.finish(LAST_WORDS).await;
            }
            if let Some(cluster) = cluster {
                drop(timeout(LAST_WORDS, cluster.leave()).await);
            }
            // The last connections' leaving is told as well.
            delivery.finish(LAST_WEBHOOKS).await;
            info!(emptied = emptied.is_ok(), "stopped");
            Ok(())
        }
        Some(result) = engine.join_next() => Err(engine_failed(result)),
    }
}

/// Serves the admin listener until it is dropped. Where there is none yet, the process before has it still: this one tries
/// again for as long as it lives, every [`ADMIN_PAUSE`].
async fn serve_admin(
    tcp: Option<TcpListener>,
    settings: config::Admin,
    routes: BoxedFilter<(Response,)>,
    stopped: watch::Receiver<bool>,
) {
    let mut tcp = tcp;
    let tcp = loop {
        match tcp.take().map_or_else(|| listen::open_admin(&settings), Ok) {
            Ok(tcp) => break tcp,
            Err(error) => debug!(%error, "the admin listener waits"),
        }
        sleep(ADMIN_PAUSE).await;
    };
    if let Ok(address) = tcp.local_addr() {
        info!(%address, "admin listener");
    }
    Acceptor::admin(routes, stopped).run(tcp).await;
}

/// Takes over what can change without a restart.
async fn reload(tls: Option<&Tls>, roster: &Arc<Roster>, config: Config) {
    if let Some(tls) = tls
        && let Err(error) = tls.reload(&config.server)
    {
        error!(%error, "the certificate stays as it was");
    }
    roster.set_config(config.apps).await;
}

fn engine_failed(ended: Result<(), tokio::task::JoinError>) -> ServerError {
    let problem = ended.map_or_else(|error| error.to_string(), |()| "a shard ended".into());
    error!(%problem, "the engine failed");
    ServerError::Engine(problem)
}
