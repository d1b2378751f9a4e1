//! The harness: a server on port 0 inside the test, clients that wait with a deadline, signed HTTP calls, a receiver of
//! webhooks, and the figures of the admin listener. For clusters there are nodes that can die, a real Redis, and the
//! network in between. The command line has its commands, and an nginx to look through.

pub mod child;
pub mod client;
pub mod console;
pub mod database;
pub mod figures;
pub mod http;
pub mod nginx;
pub mod node;
pub mod outage;
pub mod page;
pub mod port;
pub mod program;
pub mod receiver;
pub mod redis;
pub mod redis_cluster;
pub mod redis_tls;
pub mod relay;
pub mod view;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Once;
use std::time::{Duration, Instant};

use gema::config::Config;
use gema::server::{Ending, Orders};
use gema::store::Address;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, timeout_at};

pub use self::client::{Client, Raw};

use self::http::Api;

/// How long anything may take before the test fails. Long, since it is only ever waited for in failure.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long to leave the server in peace between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer is yes; `what` is awaited.
pub async fn until(what: &str, yes: impl AsyncFnMut() -> bool) {
    by(Instant::now() + DEADLINE, what, yes).await;
}

/// Asks until the answer is yes, which it must be at `deadline`; `what` is awaited.
pub async fn by(deadline: Instant, what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !yes().await {
            sleep(PAUSE).await;
        }
    };
    if timeout_at(deadline.into(), asking).await.is_err() {
        panic!("not within the deadline: {what}");
    }
}

/// A running server with the embedded defaults and what the test's TOML changes.
pub struct Server {
    api: Api,
    /// Where the admin listener is, if the test wants it.
    pub admin: Option<SocketAddr>,
    stop: Option<oneshot::Sender<Ending>>,
    reload: mpsc::Sender<Config>,
    running: JoinHandle<Result<(), gema::ServerError>>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with("").await
    }

    pub async fn with(toml: &str) -> Server {
        let mut config = Config::from_toml(toml).expect("the test's config is good");
        // One port is configured, and servers of many tests run at once.
        config.admin = None;
        Server::run(config)
    }

    /// With the admin listener on a free port.
    pub async fn with_admin(toml: &str) -> Server {
        let mut config = Config::from_toml(toml).expect("the test's config is good");
        if let Some(admin) = &mut config.admin {
            admin.port = 0;
        }
        Server::run(config)
    }

    fn run(mut config: Config) -> Server {
        use_aws_lc_rs();
        config.server.port = 0;
        // Nor is there one file for all, in whatever directory they run.
        if config.database.address.to_string() == "sqlite:gema.db" {
            config.database.address = Address::memory();
        }
        let listener = gema::server::bind(&config).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let admin = listener.admin_addr().expect("an address");
        let (stop, ending) = oneshot::channel();
        let (reload, reloads) = mpsc::channel(1);
        let orders = Orders { ending, reloads };
        let running = tokio::spawn(gema::run(listener, config, orders));
        Server {
            api: Api::new(address),
            admin,
            stop: Some(stop),
            reload,
            running,
        }
    }

    /// What SIGTERM does.
    pub fn begin_shutdown(&mut self) {
        drop(self.stop.take());
    }

    /// What SIGHUP does; returns once the server has taken it, and so has done with the one before.
    pub async fn reload(&self, toml: &str) {
        let config = Config::from_toml(toml).expect("the test's config is good");
        self.reload.send(config).await.expect("a server");
        drop(self.reload.reserve().await);
    }

    /// Waits until the server has ended.
    pub async fn ended(&mut self) {
        let result = timeout(DEADLINE, &mut self.running).await;
        let result = result.expect("the server ends").expect("without panic");
        result.expect("without error");
    }
}

impl Deref for Server {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// What the program does first thing.
fn use_aws_lc_rs() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    });
}
