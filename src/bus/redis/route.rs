//! How a link gets to its server, every time anew.

use redis::PushInfo;

use super::cluster;
use super::command::Script;
use super::connect::{Connection, Mode, connect};
use super::sentinel;
use super::url::{Access, Address};

/// Where a link connects to, and what it does before the link is up.
#[derive(Debug)]
pub(super) struct Route {
    pub target: Target,
    pub access: Access,
    pub scripts: &'static [&'static Script],
}

#[derive(Debug)]
pub(super) enum Target {
    /// One server, unless it is a node of a cluster.
    One(Address),
    /// The master of a service.
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
        access: Access,
    },
    /// A master of a cluster.
    Node(Address),
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The one server has many others beside it.
    IsCluster,
    Why {
        server: String,
        why: String,
    },
}

/// How a link's task ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// It was told to.
    Ended,
    /// See [`Refusal::IsCluster`].
    IsCluster,
}

impl Route {
    /// A connection that can be used at once, and the server's name for the log.
    pub(super) async fn open(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(String, Connection), Refusal> {
        let address = match &self.target {
            Target::One(address) | Target::Node(address) => address.clone(),
            Target::Sentinel {
                sentinels,
                service,
                access,
            } => {
                let found = sentinel::master(sentinels, service, access).await;
                found.map_err(|why| Refusal::Why {
                    server: service.clone(),
                    why,
                })?
            }
        };
        let server = address.to_string();
        let refuse = |why: String| Refusal::Why {
            server: server.clone(),
            why,
        };
        let mut connection = connect(&address, &self.access, on_push)
            .await
            .map_err(refuse)?;
        match (&self.target, connection.hello.mode) {
            (Target::One(_), Mode::Cluster) => return Err(Refusal::IsCluster),
            (Target::Sentinel { .. }, Mode::Cluster) => {
                return Err(refuse(
                    "this server is a node of a cluster, which needs no sentinels".into(),
                ));
            }
            (Target::Node(_), Mode::Standalone) => {
                return Err(refuse("this server is not a node of a cluster".into()));
            }
            _ => connection.hello.check().map_err(refuse)?,
        }
        if matches!(self.target, Target::Node(_)) {
            cluster::epoch(&mut connection).await.map_err(refuse)?;
        }
        for script in self.scripts {
            let answer = connection.ask(&script.load()).await.map_err(refuse)?;
            script.loaded(&answer);
        }
        Ok((server, connection))
    }
}
