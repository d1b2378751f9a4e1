//! A real Redis: a child on a port of its own that remembers nothing, to be killed, stopped and started anew.

use std::net::SocketAddr;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use tempfile::TempDir;

use super::child::Child;
use super::port::Port;
use super::until;

/// How long one answer may take. A stopped server gives none.
const PATIENCE: Duration = Duration::from_secs(2);

/// A `redis-server` without persistence, empty after each start, or a `redis-sentinel`.
pub struct Redis {
    port: Port,
    program: &'static str,
    args: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start() -> Redis {
        Redis::with(&[]).await
    }

    /// The same with more arguments.
    pub async fn with(args: &[&str]) -> Redis {
        Redis::on(Port::free(), args).await
    }

    /// The same on this port.
    pub async fn on(port: Port, args: &[&str]) -> Redis {
        let mut redis = Redis::new("redis-server", port);
        let (number, directory) = (redis.address().port().to_string(), redis.directory());
        let place = ["--bind", "127.0.0.1", "--port", &number, "--dir", directory];
        let none = ["--save", "", "--appendonly", "no", "--daemonize", "no"];
        let all = place.iter().chain(&none).chain(&["--logfile", "redis.log"]);
        redis.args = all.chain(args).map(ToString::to_string).collect();
        redis.start_again().await;
        redis
    }

    /// A replica of this one that has all it has.
    pub async fn replica_of(master: &Redis) -> Redis {
        let port = master.address().port().to_string();
        let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]).await;
        until("the replica is in step", async || {
            let info: String = replica.command(&["INFO", "replication"]).await;
            info.contains("master_link_status:up")
        })
        .await;
        replica
    }

    /// Waits until this replica has all that its master has been told so far: what a master has not passed on yet dies with it.
    pub async fn catches_up_with(&self, master: &Redis) {
        let told = master.replication("master_repl_offset:").await;
        until("the replica has what its master has", async || {
            self.replication("slave_repl_offset:").await >= told
        })
        .await;
    }

    /// A number out of what it says of its replication; `None` where it has none of this name.
    async fn replication(&self, name: &str) -> Option<u64> {
        let info: String = self.command(&["INFO", "replication"]).await;
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Whether it is a replica of this one.
    pub async fn is_replica_of(&self, master: &Redis) -> bool {
        let port = u64::from(master.address().port());
        self.replication("master_port:").await == Some(port)
    }

    /// A sentinel of this master, whose name is `service`, that has found its replica and decides alone.
    pub async fn sentinel_of(master: &Redis) -> Redis {
        let mut sentinel = Redis::new("redis-sentinel", Port::free());
        let (port, directory) = (sentinel.address().port(), sentinel.directory());
        let of = master.address().port();
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {directory}\nlogfile redis.log\n\
             sentinel monitor service 127.0.0.1 {of} 1\n\
             sentinel down-after-milliseconds service 500\n\
             sentinel failover-timeout service 5000\n"
        );
        let file = format!("{directory}/sentinel.conf");
        std::fs::write(&file, config).expect("a file");
        sentinel.args = vec![file];
        sentinel.start_again().await;
        until("the sentinel knows the replica", async || {
            let replicas: Vec<redis::Value> =
                sentinel.command(&["SENTINEL", "REPLICAS", "service"]).await;
            !replicas.is_empty()
        })
        .await;
        sentinel
    }

    fn new(program: &'static str, port: Port) -> Redis {
        Redis {
            port,
            program,
            args: Vec::new(),
            directory: tempfile::tempdir().expect("a directory"),
            child: None,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    fn directory(&self) -> &str {
        self.directory.path().to_str().expect("a path")
    }

    /// `kill -9`: connections end, new ones are refused, and all it knew is gone.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it, empty, where it was before.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.child = Some(Child::start(self.program, &args, &[]));
        until("Redis answers", async || {
            match self.try_command::<String>(&["PING"]).await {
                Ok(_) => true,
                // An answer too: this test's own user may not ask.
                Err(error) => error.code() == Some("NOAUTH"),
            }
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

    pub async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
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
