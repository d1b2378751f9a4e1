//! A Redis that the bench puts between nodes: empty, without persistence, on a free port; and what it says about who
//! hears what. Asked with blocking calls, which never happen while something is measured.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use redis::Connection;
use tempfile::TempDir;

use crate::{child::guarded, error::BenchError};

const PROGRAM: &str = "redis-server";
/// How long it may take to answer.
const START: Duration = Duration::from_secs(5);
/// Another program may take the free port first.
const ATTEMPTS: u32 = 3;

/// A running Redis; dropping it ends it.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Child,
    url: String,
    /// Where it would write, if it wrote anything.
    _directory: TempDir,
}

/// One of its clients, as `CLIENT LIST` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RedisClient {
    pub(crate) id: u64,
    /// Channels it is subscribed to, sharded ones and patterns included.
    pub(crate) subscriptions: u64,
}

impl RedisServer {
    /// Whether there is one to start.
    pub(crate) fn is_installed() -> bool {
        let mut command = Command::new(PROGRAM);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Result<Self, BenchError> {
        if !Self::is_installed() {
            return Err(BenchError::NoRedis);
        }
        for _ in 1..ATTEMPTS {
            if let Ok(server) = Self::attempt() {
                return Ok(server);
            }
        }
        Self::attempt()
    }

    fn attempt() -> Result<Self, BenchError> {
        let port = free_port().map_err(BenchError::io("looking for a free port"))?;
        let directory =
            tempfile::tempdir().map_err(BenchError::io("making a temporary directory"))?;
        let child = guarded(OsStr::new(PROGRAM))
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(BenchError::io("starting redis-server"))?;
        let server = Self {
            child,
            url: format!("redis://127.0.0.1:{port}"),
            _directory: directory,
        };
        let deadline = Instant::now() + START;
        loop {
            match server.is_it() {
                Ok(()) => return Ok(server),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Where nodes find it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its clients, but for the one who asks.
    pub(crate) fn clients(&self) -> Result<Vec<RedisClient>, BenchError> {
        let mut connection = self.connect()?;
        let own: u64 = redis::cmd("CLIENT").arg("ID").query(&mut connection)?;
        let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection)?;
        let clients = list.lines().filter_map(parse_client);
        Ok(clients.filter(|client| client.id != own).collect())
    }

    /// To how many clients it sends what is published to the channels whose names match the pattern.
    pub(crate) fn subscribers(&self, pattern: &str) -> Result<u64, BenchError> {
        let mut connection = self.connect()?;
        let channels: Vec<String> = redis::cmd("PUBSUB")
            .arg("CHANNELS")
            .arg(pattern)
            .query(&mut connection)?;
        let mut sum = 0;
        for channel in channels {
            let (_, count): (String, u64) = redis::cmd("PUBSUB")
                .arg("NUMSUB")
                .arg(channel)
                .query(&mut connection)?;
            sum += count;
        }
        Ok(sum)
    }

    /// Fails unless the process that answers is the one that was started.
    fn is_it(&self) -> Result<(), BenchError> {
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query(&mut self.connect()?)?;
        let line = format!("process_id:{}", self.pid());
        if info.lines().any(|l| l == line) {
            return Ok(());
        }
        Err(BenchError::Child {
            program: PROGRAM.to_owned(),
            why: "another one has its port".to_owned(),
        })
    }

    fn connect(&self) -> Result<Connection, BenchError> {
        let client = redis::Client::open(self.url())?;
        Ok(client.get_connection_with_timeout(START)?)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Fails only when the child has ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// `id=3 addr=… sub=1 psub=0 ssub=0 …`; older versions have no `ssub`.
fn parse_client(line: &str) -> Option<RedisClient> {
    let field = |name: &str| {
        let mut fields = line.split_ascii_whitespace();
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        value.parse::<u64>().ok()
    };
    Some(RedisClient {
        id: field("id")?,
        subscriptions: field("sub")? + field("psub")? + field("ssub").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_read_whatever_else_is_said_of_it() {
        let line =
            "id=12 addr=127.0.0.1:5 laddr=127.0.0.1:6 fd=8 name= sub=2 psub=1 ssub=3 multi=-1";
        let client = RedisClient {
            id: 12,
            subscriptions: 6,
        };
        assert_eq!(parse_client(line), Some(client));
        assert_eq!(parse_client(""), None);
    }

    #[test]
    fn who_subscribes_is_counted_at_redis_itself() {
        let server = RedisServer::start().unwrap();
        let (mut connection, mut idle) = (server.connect().unwrap(), server.connect().unwrap());
        let id_of = |c: &mut Connection| redis::cmd("CLIENT").arg("ID").query::<u64>(c).unwrap();
        let (busy_id, idle_id) = (id_of(&mut connection), id_of(&mut idle));
        assert_eq!(server.subscribers("bench:*").unwrap(), 0);
        // It takes its subscriptions back when it is dropped.
        let mut subscriber = connection.as_pubsub();
        subscriber.subscribe(&["bench:a", "other"]).unwrap();
        assert_eq!(server.subscribers("bench:*").unwrap(), 1);
        let client = |id, subscriptions| RedisClient { id, subscriptions };
        assert_eq!(
            server.clients().unwrap(),
            [client(busy_id, 2), client(idle_id, 0)]
        );
    }
}
