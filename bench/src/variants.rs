//! What `compare` runs of gema alone: with TLS and with two shards, each beside itself without, and by its own doors.

use crate::{
    board::Pace,
    catalogue::{Entry, Rounds, Size},
    child::Setup,
    doors::Door,
    scenarios::{Scenario, connect, idle, throughput},
};

/// How gema is started for a scenario, and what runs beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By its defaults, beside whoever can do the same.
    Default,
    /// With TLS, beside itself without.
    Tls,
    /// With two shards, beside itself with one.
    Shards,
}

impl Way {
    /// How gema is started.
    pub(crate) fn setup(self) -> Setup {
        match self {
            Self::Default => Setup::default(),
            Self::Tls => Setup {
                tls: true,
                ..Setup::default()
            },
            Self::Shards => Setup {
                shards: Some("2"),
                ..Setup::default()
            },
        }
    }

    /// What the gema beside it is called, and how it is started.
    pub(crate) fn beside(self) -> Option<(&'static str, Setup)> {
        match self {
            Self::Default => None,
            Self::Tls => Some(("plain", Setup::default())),
            Self::Shards => {
                let one = Setup {
                    shards: Some("1"),
                    ..Setup::default()
                };
                Some(("1 shard", one))
            }
        }
    }
}

/// All of them. They take one round: none has an aim.
pub(crate) fn entries(size: Size) -> Vec<Entry> {
    let entry = |id, way, name: &str, scenario| Entry {
        id,
        name: name.to_owned(),
        rounds: Rounds::One,
        scenario,
        point: None,
        way,
    };
    let idle = |door| {
        Scenario::Idle(idle::Plan {
            connections: size.of(10_000),
            channels: 1,
            door,
            hold: size.long(2),
        })
    };
    let paced = size.fanout(1_000, Pace::PerSecond(50), 4);
    let saturated = size.fanout(1_000, Pace::InFlight(16), 3);
    let connect = connect::Plan {
        connections: size.of(5_000),
    };
    let one_channel = throughput::Plan {
        connections: size.of(1_000),
        channels: 1,
        each: 1,
        at_once: 1,
        length: size.long(3),
        payload: 200,
    };
    let small_channels = throughput::Plan {
        connections: size.of(10_000),
        channels: size.of(10_000),
        each: 10,
        at_once: 10,
        ..one_channel
    };
    vec![
        entry(
            "tls-fanout",
            Way::Tls,
            "TLS, fan-out paced: 1,000 subscribers, 50 publishes/s, 200 B",
            Scenario::Fanout(paced),
        ),
        entry(
            "tls-saturated",
            Way::Tls,
            "TLS, fan-out saturated: 1,000 subscribers, 16 in flight, 200 B",
            Scenario::Fanout(saturated),
        ),
        entry(
            "tls-connect",
            Way::Tls,
            "TLS, 5,000 connections that ask for nothing: the handshake, without resumption",
            Scenario::Connect(connect),
        ),
        entry(
            "tls-idle",
            Way::Tls,
            "TLS, idle: 10,000 connections, one channel",
            idle(Door::Pusher),
        ),
        entry(
            "idle-ws",
            Way::Default,
            "idle: 10,000 connections on /ws, a token and a channel each",
            idle(Door::Plain),
        ),
        entry(
            "idle-socketio",
            Way::Default,
            "idle: 10,000 connections of Socket.IO by WebSocket, a token and a channel each",
            idle(Door::Socketio),
        ),
        entry(
            "shards-fanout",
            Way::Shards,
            "2 shards and 1, as fast as they can: 1,000 subscribers of one channel, 200 B",
            Scenario::Throughput(one_channel),
        ),
        entry(
            "shards-channels",
            Way::Shards,
            "2 shards and 1, as fast as they can: 10,000 connections in 10 of 10,000 channels each, 10 channels a request",
            Scenario::Throughput(small_channels),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gema_never_runs_beside_itself_as_it_is() {
        for way in [Way::Default, Way::Tls, Way::Shards] {
            if let Some((_, beside)) = way.beside() {
                assert_ne!(beside, way.setup(), "{way:?}");
            }
        }
    }
}
