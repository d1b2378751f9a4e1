//! What several commands take: a server, how much is published, and numbers within bounds.

use std::{
    net::{SocketAddr, SocketAddrV4, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use crate::{
    board::Pace,
    child::Launch,
    doors::Door,
    error::BenchError,
    meter::Meter,
    scenarios::fanout,
    stamp,
    target::{App, JWT_SECRET, Subject, Target},
    tls::Tls,
};

/// What is published how fast to how many.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// In a cluster: on each of the two nodes
    #[arg(long, default_value_t = 1_000, value_parser = many)]
    subscribers: usize,
    /// Publishes a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Instead of a rate: so many publishes at a time that not every subscriber has yet
    #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: Option<u16>,
    #[command(flatten)]
    publishes: Publishes,
}

impl Load {
    pub(crate) fn plan(self) -> fanout::Plan {
        fanout::Plan {
            subscribers: self.subscribers,
            pace: self
                .in_flight
                .map_or(Pace::PerSecond(self.rate), Pace::InFlight),
            length: self.publishes.length(),
            payload: self.publishes.payload,
        }
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Publishes {
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Bytes of data in a publish
    #[arg(long, default_value_t = 200, value_parser = payload)]
    pub(super) payload: usize,
}

impl Publishes {
    /// Of the measured part.
    pub(super) fn length(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    #[arg(long, default_value_t = 6001)]
    port: u16,
    #[arg(long, default_value = "app-id")]
    app_id: String,
    #[arg(long, default_value = "app-key")]
    key: String,
    #[arg(long, default_value = "app-secret")]
    secret: String,
    /// Speak TLS, to the trigger API too, and trust the certificates in this PEM file
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    /// HS256 secret that the server believes tokens by, for the doors of `idle` that want one
    #[arg(long, default_value = JWT_SECRET)]
    jwt_secret: String,
    /// Process id of the server, on this machine: without it there is no CPU and no memory to tell of
    #[arg(long, conflicts_with = "start")]
    pid: Option<u32>,
    /// Start the server with this line of the shell, and end it afterwards; it has to listen on --host and --port
    #[arg(long)]
    start: Option<String>,
    /// Also write the figures to this file
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Where the server of a scenario comes from.
pub(crate) enum Source {
    There(Subject),
    Start(Launch),
}

impl ServerArgs {
    /// What the arguments mean; a host name is looked up.
    pub(crate) fn source(&self) -> Result<Source, BenchError> {
        let app = App {
            address: self.address()?,
            id: self.app_id.clone(),
            key: self.key.clone(),
            secret: self.secret.clone(),
            tls: self
                .tls_ca
                .as_deref()
                .map(|ca| Tls::trusting(ca, &self.host))
                .transpose()?,
            door: Door::Pusher,
            jwt_secret: self.jwt_secret.clone(),
        };
        Ok(match &self.start {
            Some(line) => Source::Start(Launch::Command {
                line: line.clone(),
                app,
            }),
            None => Source::There(Subject {
                target: Target::Pusher(app),
                meter: Meter { pid: self.pid },
            }),
        })
    }

    fn address(&self) -> Result<SocketAddrV4, BenchError> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found = found.map_err(BenchError::io("looking up --host"))?;
        let mut v4 = found.filter_map(|address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        });
        v4.next().ok_or_else(|| BenchError::Setting {
            name: "--host",
            why: format!("{} has no IPv4 address; give one that has", self.host),
        })
    }
}

pub(super) fn many(text: &str) -> Result<usize, String> {
    between(text, 1, 1_000_000)
}

/// User ids have six digits, and each member is told of each.
pub(super) fn members(text: &str) -> Result<usize, String> {
    between(text, 1, 20_000)
}

pub(super) fn payload(text: &str) -> Result<usize, String> {
    between(text, stamp::SHORTEST, 10_240)
}

fn between(text: &str, least: usize, most: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_always_holds_its_stamp() {
        assert!(payload("45").is_err());
        assert_eq!(payload("46"), Ok(stamp::SHORTEST));
        assert!(payload("10241").is_err());
    }
}
