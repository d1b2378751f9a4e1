//! A real Redis: a child on a port of its own that remembers nothing, to be killed, stopped and started anew.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use tempfile::TempDir;

use super::child::Child;
use super::port::Port;
use super::until;

/// How long one answer may take. A stopped server gives none.
const PATIENCE: Duration = Duration::from_secs(2);

/// A `redis-server` without persistence: it is empty after each start.
pub struct Redis {
    port: Port,
    directory: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start() -> Redis {
        let mut redis = Redis {
            port: Port::free(),
            directory: tempfile::tempdir().expect("a directory"),
            child: None,
        };
        redis.start_again().await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    pub fn port(&self) -> &Port {
        &self.port
    }

    /// `kill -9`: connections end, new ones are refused, and all it knew is gone.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it, empty, where it was before.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let port = self.port.address().port().to_string();
        let directory = self.directory.path().to_str().expect("a path");
        let mut args = vec!["--bind", "127.0.0.1", "--port", &port, "--dir", directory];
        args.extend(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        args.extend(["--logfile", "redis.log"]);
        self.child = Some(Child::start("redis-server", &args, &[]));
        until("redis-server answers", async || {
            self.try_command::<String>(&["PING"]).await.is_ok()
        })
        .await;
    }

    /// SIGSTOP: connections stay, and nothing comes from them any more.
    pub fn freeze(&self) {
        self.running().signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.running().signal("CONT");
    }

    fn running(&self) -> &Child {
        self.child.as_ref().expect("it runs")
    }

    /// Asks it something, as redis-cli does; a running one must answer.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.try_command(words).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query_async(&mut self.connect().await?).await
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = Client::open(self.url())?;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// How many connections are subscribed to this channel of its own, sharded or not.
    pub async fn subscribers(&self, channel: &str) -> u64 {
        let plain: (String, u64) = self.command(&["PUBSUB", "NUMSUB", channel]).await;
        let sharded: (String, u64) = self.command(&["PUBSUB", "SHARDNUMSUB", channel]).await;
        plain.1 + sharded.1
    }

    /// The keys that match a pattern, sorted.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.command(&["KEYS", pattern]).await;
        keys.sort();
        keys
    }
}
