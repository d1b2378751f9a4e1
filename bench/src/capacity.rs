//! What the measured costs mean on larger machines: on paper, with the formulas, so that they can be doubted.

use crate::{
    error::BenchError,
    report::{Unit, number},
    results::Results,
};

/// The machine on paper.
const CORES: f64 = 32.0;
const MEMORY_GIB: f64 = 64.0;
const NODES: f64 = 20.0;
/// The share of its cores that a node is loaded with; the rest is for peaks and for the kernel's interrupts, which are
/// in no process's account.
const SHARE: f64 = 0.6;
/// What Linux allows a process to open at most unless fs.nr_open is raised.
const DESCRIPTORS: f64 = 1_048_576.0;

/// Seconds after which a silent connection is pinged, by default.
const PING_S: f64 = 120.0;

/// The costs that everything else follows from. Microseconds of CPU and KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Per delivery, one publish at a time, 10,000 subscribers.
    delivery: f64,
    /// Per delivery of a loaded server, which sends several frames at once.
    saturated: f64,
    /// Per signed request.
    publish: f64,
    /// Per connection that comes and subscribes.
    connect: f64,
    /// Per idle connection and second, pings included.
    idle: f64,
    /// Of gema, per connection.
    rss: f64,
    /// Of the kernel, per socket.
    kernel: f64,
    /// Of a node, per publish that goes to others.
    bus: f64,
    /// Of redis-server, per publish that two nodes hear.
    redis: f64,
}

impl Costs {
    fn of(results: &Results) -> Result<Self, BenchError> {
        let find = |id: &str, figure: &str| {
            results.gema(id, figure).ok_or_else(|| BenchError::Results {
                path: format!("{id}, {figure}"),
                why: "not in the results: run the whole comparison".to_owned(),
            })
        };
        // Under load: a cluster with little to do pays for waking up at every publish.
        let loaded = "cluster-saturated";
        let first = find(loaded, "CPU per publish, node 1")?;
        let alone = results.row(loaded, "CPU per publish, node 1")["alone"]["median"].as_f64();
        let delivery = find("fanout-10000", "CPU per delivery")?;
        // No ping falls into the time in which idling is measured.
        let pings = 2.0 * delivery / PING_S;
        Ok(Self {
            delivery,
            saturated: find("fanout-saturated", "CPU per delivery")?,
            publish: find("trigger-16", "CPU per request")?,
            connect: find("idle-10000", "CPU per connect + subscribe")?,
            idle: find("idle-10000", "CPU per idle connection and second")? + pings,
            rss: find("idle-10000", "RSS per connection")?,
            kernel: find("idle-10000", "kernel memory per socket")?,
            bus: (first - alone.unwrap_or(first)).max(0.0),
            redis: find(loaded, "CPU per publish, redis-server")?,
        })
    }

    /// Microseconds of CPU a second that a node may be loaded with.
    fn budget(self) -> f64 {
        CORES * SHARE * 1e6
    }

    /// Publishes a second that one redis-server carries for a cluster of `NODES` which all hear each of them. Measured
    /// is a publish that two hear; that each further one costs half of that is more than it does.
    fn redis_publishes(self) -> f64 {
        SHARE * 1e6 / (self.redis * NODES / 2.0)
    }
}

/// A way of using a server.
struct Profile {
    name: &'static str,
    /// Connections of a node.
    connections: f64,
    /// Publishes a second to the node or, in a cluster, to all.
    publishes: f64,
    /// Subscribers of each publish, of a node.
    subscribers: f64,
}

const PROFILES: [Profile; 5] = [
    Profile {
        name: "idle: mobile apps that wait",
        connections: 1_000_000.0,
        publishes: 0.0,
        subscribers: 0.0,
    },
    Profile {
        name: "one board for all, 1 publish/s",
        connections: 500_000.0,
        publishes: 1.0,
        subscribers: 500_000.0,
    },
    Profile {
        name: "ticker: 1,000 channels, 1 publish/s each",
        connections: 500_000.0,
        publishes: 1_000.0,
        subscribers: 500.0,
    },
    Profile {
        name: "orders and bookings: 10 hear each publish",
        connections: 200_000.0,
        publishes: 20_000.0,
        subscribers: 10.0,
    },
    Profile {
        name: "chat: 2 hear each publish",
        connections: 200_000.0,
        publishes: 50_000.0,
        subscribers: 2.0,
    },
];

impl Profile {
    /// Cores that a node needs.
    fn cores(&self, costs: Costs) -> f64 {
        let us = self.connections * costs.idle
            + self.publishes * costs.publish
            + self.publishes * self.subscribers * costs.delivery;
        us / 1e6
    }

    /// GiB of memory that a node needs, with the kernel's part.
    fn memory_gib(&self, costs: Costs) -> f64 {
        self.connections * (costs.rss + costs.kernel) / 1024.0 / 1024.0
    }

    fn first_to_give(&self, costs: Costs) -> &'static str {
        let parts = [
            (self.connections / DESCRIPTORS, "file descriptors"),
            (self.memory_gib(costs) / MEMORY_GIB, "memory"),
            (self.cores(costs) * 1e6 / costs.budget(), "CPU"),
        ];
        parts
            .into_iter()
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or("", |(_, name)| name)
    }
}

/// The generated part of docs/capacity.md.
pub(crate) fn text(results: &Results) -> Result<String, BenchError> {
    let costs = Costs::of(results)?;
    let us = |value: f64| number(value, Unit::Micros);
    let kib = |value: f64| number(value, Unit::Kib);
    let count = |value: f64| number(value, Unit::Count);
    let mut text = String::new();
    if results.is_quick() {
        text += "**From figures measured with --quick: they mean nothing.**\n\n";
    }
    text += &format!("Costs, measured on {}:\n\n", results.machine_line());
    text += "| cost | | from the scenario |\n|---|---:|---|\n";
    for (name, value, from) in [
        (
            "*d*: CPU per delivery, one publish at a time",
            us(costs.delivery),
            "fanout-10000",
        ),
        (
            "*s*: CPU per delivery, saturated",
            us(costs.saturated),
            "fanout-saturated",
        ),
        (
            "*p*: CPU per signed publish",
            us(costs.publish),
            "trigger-16",
        ),
        (
            "*c*: CPU per connect and subscribe",
            us(costs.connect),
            "idle-10000",
        ),
        (
            "*i*: CPU per idle connection and second",
            us(costs.idle),
            "idle-10000",
        ),
        (
            "*m*: memory of gema per connection",
            kib(costs.rss),
            "idle-10000",
        ),
        (
            "*k*: memory of the kernel per socket",
            kib(costs.kernel),
            "idle-10000",
        ),
        (
            "*b*: more CPU per publish in a cluster, the node published to",
            us(costs.bus),
            "cluster-saturated",
        ),
        (
            "*r*: CPU of redis-server per publish that two nodes hear",
            us(costs.redis),
            "cluster-saturated",
        ),
    ] {
        text += &format!("| {name} | {value} | {from} |\n");
    }

    let budget = costs.budget();
    text += &format!(
        "\n## One node of {CORES} cores and {MEMORY_GIB} GiB\n\n\
         Loaded to {:.0} % of its cores, so with a budget of *B* = {CORES} x {SHARE} x 1,000,000 = {} us of CPU a second:\n\n\
         | at most | formula | |\n|---|---|---:|\n",
        SHARE * 100.0,
        count(budget)
    );
    let memory_kib = MEMORY_GIB * 1024.0 * 1024.0;
    for (name, formula, value) in [
        (
            "deliveries/s, quiet channels",
            "B / d",
            budget / costs.delivery,
        ),
        (
            "deliveries/s, saturated channels",
            "B / s",
            budget / costs.saturated,
        ),
        (
            "publishes/s that nobody hears",
            "B / p",
            budget / costs.publish,
        ),
        ("connects/s", "B / c", budget / costs.connect),
        (
            "idle connections, by CPU",
            "B / i",
            budget / costs.idle.max(1e-3),
        ),
        (
            "idle connections, by memory",
            "half of memory / (m + k)",
            memory_kib / 2.0 / (costs.rss + costs.kernel),
        ),
        (
            "idle connections, by descriptors",
            "fs.nr_open",
            DESCRIPTORS,
        ),
    ] {
        text += &format!("| {name} | `{formula}` | {} |\n", count(value));
    }
    text += &format!(
        "\nAfter a restart, 500,000 clients that come back at once keep all of the budget busy for 500,000 x c / B = {:.1} s.\n",
        500_000.0 * costs.connect / budget
    );

    text += "\n| profile of a node | connections | publishes/s | hear each | cores | memory | closest to its limit |\n\
             |---|---:|---:|---:|---:|---:|---|\n";
    for profile in &PROFILES {
        text += &format!(
            "| {} | {} | {} | {} | {:.1} | {:.1} GiB | {} |\n",
            profile.name,
            count(profile.connections),
            count(profile.publishes),
            count(profile.subscribers),
            profile.cores(costs),
            profile.memory_gib(costs),
            profile.first_to_give(costs)
        );
    }
    text += "\n`cores = (connections x i + publishes x p + publishes x hear each x d) / 1,000,000`, `memory = connections x (m + k)`.\n";

    let heard_by_all = costs.redis_publishes();
    text += &format!(
        "\n## A cluster of {NODES} such nodes\n\n\
         Connections, deliveries and connects are {NODES} times a node's: nodes share nothing for them. Publishes are not: each goes \
         through Redis once, to every node that has a subscriber of its channel.\n\n\
         | at most | formula | |\n|---|---|---:|\n\
         | idle connections, by descriptors | {NODES} x fs.nr_open | {} |\n\
         | deliveries/s, quiet channels | {NODES} x B / d | {} |\n\
         | publishes/s that two nodes hear, one redis-server | {SHARE} x 1,000,000 / r | {} |\n\
         | publishes/s that all {NODES} nodes hear, one redis-server | {SHARE} x 1,000,000 / (r x {NODES} / 2) | {} |\n\
         | publishes/s taken by the nodes | {NODES} x B / (p + b) | {} |\n",
        count(NODES * DESCRIPTORS),
        count(NODES * budget / costs.delivery),
        count(SHARE * 1e6 / costs.redis),
        count(heard_by_all),
        count(NODES * budget / (costs.publish + costs.bus)),
    );
    text += &format!(
        "\nSo the first to give in a cluster is Redis, which works on one core: {} publishes a second that everybody hears, or {} that \
         two nodes hear. Channels are spread over the shards of a Redis Cluster; each shard adds as much again.\n",
        count(heard_by_all),
        count(SHARE * 1e6 / costs.redis)
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::tests::one;

    const COSTS: Costs = Costs {
        delivery: 8.0,
        saturated: 0.5,
        publish: 25.0,
        connect: 50.0,
        idle: 1.0,
        rss: 2.0,
        kernel: 4.0,
        bus: 60.0,
        redis: 60.0,
    };

    #[test]
    fn cores_and_memory_are_the_sum_of_their_parts() {
        let profile = Profile {
            name: "x",
            connections: 100_000.0,
            publishes: 1_000.0,
            subscribers: 100.0,
        };
        // 0.1 s of idling, 0.025 s of requests, 0.8 s of deliveries.
        assert!((profile.cores(COSTS) - 0.925).abs() < 1e-9);
        assert!((profile.memory_gib(COSTS) - 0.572).abs() < 1e-3);
        assert_eq!(profile.first_to_give(COSTS), "file descriptors");
        let busy = Profile {
            publishes: 20_000.0,
            ..profile
        };
        assert_eq!(busy.first_to_give(COSTS), "CPU");
    }

    #[test]
    fn redis_carries_fewer_publishes_the_more_nodes_hear_them() {
        assert_eq!(COSTS.redis_publishes().round(), 1_000.0);
    }

    #[test]
    fn a_cost_that_was_not_measured_is_named() {
        let mut results = Results::about(json!({}), 1);
        results.put(
            "cluster-saturated",
            None,
            one("CPU per publish, node 1", 2.0, 1.0),
        );
        let error = text(&results).unwrap_err().to_string();
        assert!(error.contains("fanout-10000, CPU per delivery"), "{error}");
    }
}
