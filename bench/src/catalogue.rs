//! What `compare` runs: every scenario with its size, in how many rounds, and the curve that it is a point of.

use std::time::Duration;

use crate::{
    board::Pace,
    doors::Door,
    report::{Unit, number},
    scenarios::{
        Scenario, channels, client_events, echo, fanout, idle, presence, publish_latency, restart,
        slow, storm, subscribe, trigger,
    },
    variants::{self, Way},
};

/// How often a scenario runs in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// As often as was asked for: its figures are held against an aim, or it is soon done.
    All,
    /// It takes long and shows a curve, or counts what must not be.
    One,
}

/// One scenario of the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// A short name that stays the same: what `--only` and the results go by.
    pub(crate) id: &'static str,
    pub(crate) name: String,
    pub(crate) rounds: Rounds,
    pub(crate) scenario: Scenario,
    /// The curve, and where on its x-axis this point is.
    pub(crate) point: Option<(&'static str, usize)>,
    pub(crate) way: Way,
}

/// How large the scenarios are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Everything is a hundredth and takes a moment: whether it works, not how well.
    pub(crate) quick: bool,
}

impl Size {
    pub(crate) fn of(self, count: usize) -> usize {
        if self.quick {
            (count / 100).max(4)
        } else {
            count
        }
    }

    pub(crate) fn long(self, seconds: u64) -> Duration {
        match self.quick {
            true => Duration::from_millis(150),
            false => Duration::from_secs(seconds),
        }
    }

    pub(crate) fn fanout(self, subscribers: usize, pace: Pace, seconds: u64) -> fanout::Plan {
        fanout::Plan {
            subscribers: self.of(subscribers),
            pace,
            length: self.long(seconds),
            payload: 200,
        }
    }

    fn trigger(self, connections: u16) -> Scenario {
        Scenario::Trigger(trigger::Plan {
            requests: self.of(20_000) as u32,
            connections,
            payload: 200,
        })
    }
}

/// All of them, in the order in which they run.
pub(crate) fn entries(size: Size) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |id, rounds, name: String, scenario, point| {
        entries.push(Entry {
            id,
            name,
            rounds,
            scenario,
            point,
            way: Way::Default,
        });
    };
    let paced = |subscribers: usize, rate: u32| {
        Scenario::Fanout(size.fanout(subscribers, Pace::PerSecond(rate), 5))
    };
    let saturated = Pace::InFlight(16);
    // The publishes of these keep the deliveries per second the same.
    for (id, subscribers, rate, rounds) in [
        ("fanout-100", 100, 500, Rounds::All),
        ("fanout-300", 300, 167, Rounds::One),
        ("fanout-1000", 1_000, 50, Rounds::All),
        ("fanout-3000", 3_000, 17, Rounds::One),
        ("fanout-10000", 10_000, 5, Rounds::All),
    ] {
        let name = format!(
            "fan-out paced: {} subscribers, {rate} publishes/s, 200 B",
            count(subscribers)
        );
        let point = Some(("delivery", subscribers));
        add(id, rounds, name, paced(subscribers, rate), point);
    }
    let name = "fan-out saturated: 1,000 subscribers, 16 in flight, 200 B".to_owned();
    let plan = size.fanout(1_000, saturated, 3);
    add(
        "fanout-saturated",
        Rounds::All,
        name,
        Scenario::Fanout(plan),
        None,
    );

    let name = "many small channels: 10,000 connections in 10 of 10,000 channels each, 1,000 publishes/s at random";
    let plan = channels::Plan {
        connections: size.of(10_000),
        each: 10,
        rate: 1_000,
        length: size.long(5),
        payload: 200,
    };
    add(
        "channels",
        Rounds::One,
        name.to_owned(),
        Scenario::Channels(plan),
        None,
    );

    for (id, connections, channels, rounds) in [
        ("idle-1000", 1_000, 1, Rounds::One),
        ("idle-3000", 3_000, 1, Rounds::One),
        ("idle-10000", 10_000, 1, Rounds::All),
        ("idle-own", 10_000, 10_000, Rounds::One),
    ] {
        let what = if channels == 1 {
            "one channel"
        } else {
            "a channel each"
        };
        let name = format!("idle: {} connections, {what}", count(connections));
        let plan = idle::Plan {
            connections: size.of(connections),
            channels: if channels == 1 { 1 } else { size.of(channels) },
            door: Door::Pusher,
            hold: size.long(2),
        };
        let point = (channels == 1).then_some(("idle", connections));
        add(id, rounds, name, Scenario::Idle(plan), point);
    }

    let name = "connect storm: 10,000 connections, 256 at once, come and leave three times";
    let plan = storm::Plan {
        connections: size.of(10_000),
        at_once: 256,
        storms: 3,
        rest: size.long(12),
    };
    add(
        "storm",
        Rounds::One,
        name.to_owned(),
        Scenario::Storm(plan),
        None,
    );

    for (id, members) in [
        ("presence-100", 100),
        ("presence-300", 300),
        ("presence-1000", 1_000),
    ] {
        let name = format!(
            "presence storm: {} members join one channel, half leave",
            count(members)
        );
        let plan = presence::Plan {
            members: size.of(members),
            visits: size.of(100) as u32,
        };
        let point = Some(("presence", members));
        add(id, Rounds::All, name, Scenario::Presence(plan), point);
    }

    let name = "client events: 1,000 members in 100 private channels, 2 events/s each";
    let plan = client_events::Plan {
        channels: size.of(100),
        members: 10,
        rate: 2.0,
        length: size.long(5),
        payload: 200,
    };
    add(
        "client-events",
        Rounds::One,
        name.to_owned(),
        Scenario::ClientEvents(plan),
        None,
    );

    let name = "trigger API: 20,000 signed requests, no subscribers, one connection".to_owned();
    add("trigger", Rounds::All, name, size.trigger(1), None);
    let name = "trigger API: 20,000 signed requests, no subscribers, 16 connections".to_owned();
    add("trigger-16", Rounds::All, name, size.trigger(16), None);

    let name = "publish latency: the 200 with nobody and with 10,000 subscribed, 5 publishes/s";
    let plan = publish_latency::Plan {
        subscribers: size.of(10_000),
        rate: 5,
        length: size.long(5),
        payload: 200,
    };
    add(
        "publish-latency",
        Rounds::All,
        name.to_owned(),
        Scenario::PublishLatency(plan),
        None,
    );

    let name = "slow consumer: 1 of 101 readers stops, 200 publishes/s of 10,000 B";
    let plan = slow::Plan {
        readers: size.of(100),
        // Enough for what kernels hold and for the server's own bound, also when quick.
        rate: if size.quick { 4_000 } else { 200 },
        length: if size.quick {
            Duration::from_millis(500)
        } else {
            size.long(5)
        },
        payload: 10_000,
    };
    add(
        "slow",
        Rounds::One,
        name.to_owned(),
        Scenario::Slow(plan),
        None,
    );

    let name = "reconnect storm: the server is killed, 5,000 connections come back at once";
    let plan = restart::Plan {
        connections: size.of(5_000),
        publishes: 20,
        payload: 200,
    };
    add(
        "restart",
        Rounds::One,
        name.to_owned(),
        Scenario::Restart(plan),
        None,
    );

    let name = "echo on 10 other connections while a channel of 10,000 is saturated";
    let plan = echo::Plan {
        subscribers: size.of(10_000),
        in_flight: 4,
        connections: 10,
        rate: 20.0,
        length: size.long(5),
        payload: 200,
    };
    add(
        "echo",
        Rounds::One,
        name.to_owned(),
        Scenario::Echo(plan),
        None,
    );

    for (id, channels) in [
        ("subscribe-1000", 1_000),
        ("subscribe-10000", 10_000),
        ("subscribe-100000", 100_000),
    ] {
        let name = format!(
            "subscribing with {} channels, 100 a connection",
            count(channels)
        );
        let plan = subscribe::Plan {
            channels: size.of(channels),
            each: if size.quick { 10 } else { 100 },
            pairs: size.of(5_000) as u32,
        };
        let point = Some(("subscribe", channels));
        add(id, Rounds::All, name, Scenario::Subscribe(plan), point);
    }

    for (id, subscribers, pace, rounds) in [
        ("cluster-1", 1, Pace::PerSecond(200), Rounds::One),
        ("cluster-100", 100, Pace::PerSecond(200), Rounds::All),
        ("cluster-saturated", 100, saturated, Rounds::One),
    ] {
        let how = match pace {
            Pace::PerSecond(rate) => format!("{rate} publishes/s"),
            Pace::InFlight(count) => format!("{count} in flight"),
        };
        let name = format!("cluster: {subscribers} subscriber(s) on each of 2 nodes, {how}, 200 B");
        let plan = fanout::Plan {
            subscribers,
            ..size.fanout(100, pace, 5)
        };
        add(id, rounds, name, Scenario::Cluster(plan), None);
    }
    entries.extend(variants::entries(size));
    entries
}

fn count(number_of: usize) -> String {
    number(number_of as f64, Unit::Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_whatever_its_size() {
        let ids = |quick| -> Vec<&str> { entries(Size { quick }).iter().map(|e| e.id).collect() };
        let all = ids(false);
        assert_eq!(all, ids(true));
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }
}
