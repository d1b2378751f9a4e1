//! The harness: a server on port 0 inside the test, clients that wait with a deadline, signed HTTP calls, a receiver of
//! webhooks, and the figures of the admin listener.

pub mod client;
pub mod figures;
pub mod http;
pub mod page;
pub mod receiver;

use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use gema::config::Config;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use self::client::{Client, Raw};

/// How long anything may take before the test fails. Long, since it is only ever waited for in failure.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long to leave the server in peace between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer is yes; `what` is awaited.
pub async fn until(what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !yes().await {
            sleep(PAUSE).await;
        }
    };
    if timeout(DEADLINE, asking).await.is_err() {
        panic!("not within the deadline: {what}");
    }
}

/// A running server with the embedded defaults and what the test's TOML changes.
pub struct Server {
    pub address: SocketAddr,
    /// Where the admin listener is, if the test wants it.
    pub admin: Option<SocketAddr>,
    /// Keeps its connections, as a backend does.
    pub http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
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
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        });
        config.server.port = 0;
        let listener = gema::server::bind(&config).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let admin = listener.admin_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(gema::run(listener, config, async {
            drop(stopped.await);
        }));
        Server {
            address,
            admin,
            http: reqwest::Client::new(),
            stop: Some(stop),
            running,
        }
    }

    /// A client of the default app, greeted.
    pub async fn client(&self) -> Client {
        Client::connect(self.address, "/app/app-key?protocol=7&client=test").await
    }

    /// What SIGTERM does.
    pub fn begin_shutdown(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has ended.
    pub async fn ended(&mut self) {
        let result = timeout(DEADLINE, &mut self.running).await;
        let result = result.expect("the server ends").expect("without panic");
        result.expect("without error");
    }
}
