//! Children for the transport's tests: Redis in its several roles, on free ports of the loopback, remembering nothing.
//! They end with the test, even when that is killed.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::until;

/// How long one answer may take. A stopped server gives none.
const PATIENCE: Duration = Duration::from_secs(2);

/// One `redis-server`, or `redis-sentinel`.
pub struct Process {
    pub port: u16,
    program: &'static str,
    directory: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Process {
    /// A server that can be connected to; `args` come after those that all have.
    pub async fn server(args: &[&str]) -> Process {
        Process::server_on(free_port(), args).await
    }

    pub async fn server_on(port: u16, args: &[&str]) -> Process {
        let mut server = Process::new("redis-server", port);
        let fixed = ["--port", &port.to_string(), "--bind", "127.0.0.1"];
        let none = ["--save", "", "--appendonly", "no", "--daemonize", "no"];
        let all = fixed.iter().chain(&none).chain(args);
        server.args = all.map(ToString::to_string).collect();
        server.start();
        until("the port is open", async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        server
    }

    /// A sentinel with this text in its file.
    pub fn sentinel(config: &str) -> Process {
        let port = free_port();
        let mut sentinel = Process::new("redis-sentinel", port);
        let file = sentinel.directory.path().join("sentinel.conf");
        let text = format!("port {port}\nbind 127.0.0.1\ndaemonize no\n{config}\n");
        std::fs::write(&file, text).unwrap();
        sentinel.args = vec![file.to_str().unwrap().into()];
        sentinel.start();
        sentinel
    }

    fn new(program: &'static str, port: u16) -> Process {
        Process {
            port,
            program,
            directory: tempfile::tempdir().unwrap(),
            args: Vec::new(),
            child: None,
        }
    }

    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", self.program])
            .args(&self.args)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Waits until it answers without a password.
    pub async fn ready(&self) {
        until("redis answers", async || {
            self.try_command::<String>(&["PING"]).await.is_ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.try_command(words).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = Client::open(self.url())?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query_async(&mut connection).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody has now. A node of a cluster also needs the one ten thousand above it.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
