//! Nodes of a cluster: processes of their own, which can die, and servers inside the test, which start quicker.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::child::Child;
use super::http::Api;
use super::redis::Redis;
use super::{DEADLINE, Server, until};

/// How long the others wait for a dead node's next sign of life, in seconds.
pub const LEASE_S: u64 = 2;

/// The file that a log is kept in.
const LOG: &str = "log";

pub const LEASE: Duration = Duration::from_secs(LEASE_S);

/// The settings of a node whose Redis is at `url`, and what the test adds.
pub fn settings(url: &str, toml: &str) -> String {
    settings_with_lease(LEASE_S, url, toml)
}

/// The same with another lease, in seconds.
pub fn settings_with_lease(lease_s: u64, url: &str, toml: &str) -> String {
    format!("[redis]\nurl = '{url}'\nnode_lease_s = {lease_s}\n{toml}")
}

/// The default app with what the test adds to it: switches, webhooks.
pub fn app(toml: &str) -> String {
    format!("[[apps]]\nid = 'app-id'\nkey = 'app-key'\nsecret = 'app-secret'\n{toml}")
}

/// Starts a server inside the test as a node of the cluster around this Redis.
pub async fn member_of_cluster(url: &str, toml: &str) -> Server {
    let server = Server::with(&settings(url, toml)).await;
    until_ready(&server).await;
    server
}

/// Starts as many nodes inside the test.
pub async fn cluster<const N: usize>(redis: &Redis, toml: &str) -> [Server; N] {
    let mut nodes = Vec::with_capacity(N);
    for _ in 0..N {
        nodes.push(member_of_cluster(&redis.url(), toml).await);
    }
    nodes.try_into().ok().expect("as many as were asked for")
}

/// Waits until a node is fit for traffic, which it is not without its Redis.
pub async fn until_ready(node: &Api) {
    until("the node is ready", async || {
        node.ready().await.status == 200
    })
    .await;
}

/// A gema process on a free port.
pub struct Node {
    api: Api,
    child: Child,
    /// Holds its configuration.
    directory: TempDir,
}

impl Node {
    /// Starts one with the embedded defaults and what the TOML changes, and waits until it is ready.
    pub async fn start(toml: &str) -> Node {
        Node::start_with(toml, &[]).await
    }

    /// The same with variables of its environment.
    pub async fn start_with(toml: &str, more: &[(&str, &str)]) -> Node {
        let node = Node::listening(toml, more, |_| Stdio::inherit()).await;
        until_ready(&node).await;
        node
    }

    /// One that listens, ready or not, and whose log is kept: see [`Node::log`].
    pub async fn start_logged(toml: &str, more: &[(&str, &str)]) -> Node {
        let file = |directory: &Path| File::create(directory.join(LOG)).expect("a file").into();
        Node::listening(toml, more, file).await
    }

    async fn listening(toml: &str, more: &[(&str, &str)], log: fn(&Path) -> Stdio) -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("gema.toml");
        std::fs::write(&config, toml).expect("a file");
        let config = config.to_str().expect("a path");
        let args = ["serve", "--config", config, "--port", "0"];
        let mut variables = vec![("GEMA_LOG", "info"), ("GEMA_ADMIN__PORT", "0")];
        variables.extend(more);
        let program = env!("CARGO_BIN_EXE_gema");
        let log = log(directory.path());
        let mut child = Child::start_logged(directory.path(), program, &args, &variables, log);
        let output = child.output();
        let reading = spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line = timeout(DEADLINE, reading).await.expect("a banner");
        let line = line.expect("no panic").expect("a line");
        let address = line.trim_end().rsplit(' ').next().map(str::parse);
        let Some(Ok(address)) = address else {
            panic!("the node does not listen: {line:?}");
        };
        Node {
            api: Api::new(address),
            child,
            directory,
        }
    }

    /// What a node of [`Node::start_logged`] has said so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.path().join(LOG)).expect("a log");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The most memory that it has had at a time, in bytes: what the kernel calls VmHWM.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
        kib.expect("a number") * 1024
    }

    /// SIGHUP: the configuration is to be read again.
    pub fn reload(&self) {
        self.child.signal("HUP");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.child.signal("TERM");
    }

    /// SIGUSR2: another process is to take over.
    pub fn hand_over(&self) {
        self.child.signal("USR2");
    }

    /// The file that its settings are in.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("gema.toml")
    }

    /// SIGSTOP: to the others it is as good as dead.
    pub fn freeze(&self) {
        self.child.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.child.signal("CONT");
    }

    /// Waits until it has ended; it must have been content.
    pub async fn ended(&mut self) {
        until("the node ends", async || self.child.exit_code().is_some()).await;
        assert_eq!(self.child.exit_code(), Some(Some(0)), "its exit code");
    }
}

impl Deref for Node {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}
