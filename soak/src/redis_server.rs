//! The Redis between the nodes: empty at each start, always at the same port.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use crate::child::{Lineage, Nursery, until};
use crate::error::SoakError;
use crate::ports::free_port;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// It runs, unless it was killed.
#[derive(Debug)]
pub(crate) struct RedisServer {
    nursery: Nursery,
    address: SocketAddrV4,
    running: Option<Lineage>,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    pub(crate) async fn start(nursery: &Nursery) -> Result<RedisServer, SoakError> {
        let mut server = RedisServer {
            nursery: nursery.clone(),
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port()?),
            running: None,
        };
        server.start_again().await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// `kill -9`: all it knew is gone.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it where it was before.
    pub(crate) async fn start_again(&mut self) -> Result<(), SoakError> {
        let mut command = Command::new("redis-server");
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.address.port().to_string(),
            ])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.nursery.directory());
        self.running = Some(self.nursery.start("redis", command)?);
        until("redis-server answers", START, async || self.keys().is_ok()).await
    }

    /// All keys, each with the seconds it has left; `None` for one that stays for ever.
    pub(crate) fn keys(&self) -> Result<Vec<(String, Option<i64>)>, SoakError> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(ANSWER)?;
        let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection)?;
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            let left: i64 = redis::cmd("TTL").arg(&name).query(&mut connection)?;
            // -2: gone meanwhile; -1: it has no end.
            if left != -2 {
                keys.push((name, (left != -1).then_some(left)));
            }
        }
        Ok(keys)
    }
}
