//! What things cost: the figures of all scenarios that people plan by, in one table.

use crate::{
    report::{Unit, number},
    results::Results,
};

/// A line of the table: what, the scenario, its figure, and how that is shown.
type Line = (&'static str, &'static str, &'static str, Shown);

#[derive(Clone, Copy, Debug)]
enum Shown {
    As(Unit),
    /// A figure in KiB that is a few bytes.
    Bytes,
}

const MICROS: Shown = Shown::As(Unit::Micros);
const KIB: Shown = Shown::As(Unit::Kib);
const COUNT: Shown = Shown::As(Unit::Count);

const CONNECT: &str = "CPU per connect + subscribe";
const RSS: &str = "RSS per connection";
const DELIVERY: &str = "CPU per delivery";
const JOIN: &str = "CPU per join and leave";
const PER_S: &str = "deliveries per second";

const LINES: [Line; 35] = [
    (
        "memory of a connection, one channel for all",
        "idle-10000",
        RSS,
        KIB,
    ),
    ("the same, a channel each", "idle-own", RSS, KIB),
    ("the same, by `/ws`", "idle-ws", RSS, KIB),
    ("the same, by Socket.IO", "idle-socketio", RSS, KIB),
    ("memory of a connection with TLS", "tls-idle", RSS, KIB),
    (
        "memory of the kernel for its socket",
        "idle-10000",
        "kernel memory per socket",
        KIB,
    ),
    ("connect and subscribe", "idle-10000", CONNECT, MICROS),
    ("the same, a channel each", "idle-own", CONNECT, MICROS),
    ("connect by `/ws`, with a token", "idle-ws", CONNECT, MICROS),
    (
        "connect by Socket.IO, with a token",
        "idle-socketio",
        CONNECT,
        MICROS,
    ),
    (
        "connect and subscribe with TLS",
        "tls-idle",
        CONNECT,
        MICROS,
    ),
    (
        "of that, TCP and the TLS handshake",
        "tls-connect",
        "CPU per connect",
        MICROS,
    ),
    (
        "an idle connection, a second",
        "idle-10000",
        "CPU per idle connection and second",
        MICROS,
    ),
    (
        "a delivery, one publish at a time",
        "fanout-1000",
        DELIVERY,
        MICROS,
    ),
    ("the same with TLS", "tls-fanout", DELIVERY, MICROS),
    (
        "a delivery, saturated",
        "fanout-saturated",
        DELIVERY,
        MICROS,
    ),
    ("the same with TLS", "tls-saturated", DELIVERY, MICROS),
    (
        "a signed publish that nobody hears, one at a time",
        "trigger",
        "CPU per request",
        MICROS,
    ),
    (
        "the same, 16 at a time",
        "trigger-16",
        "CPU per request",
        MICROS,
    ),
    (
        "a publish to ten of many small channels' subscribers",
        "channels",
        "CPU per publish",
        MICROS,
    ),
    (
        "a subscription, ten channels a connection",
        "channels",
        "CPU per subscription",
        MICROS,
    ),
    (
        "a subscription, 100 channels a connection",
        "subscribe-10000",
        "CPU per subscription, filling",
        MICROS,
    ),
    (
        "join and leave of a fresh channel, with 1,000 channels",
        "subscribe-1000",
        JOIN,
        MICROS,
    ),
    ("the same, with 10,000", "subscribe-10000", JOIN, MICROS),
    ("the same, with 100,000", "subscribe-100000", JOIN, MICROS),
    (
        "memory of a subscription, 100 channels a connection, 10,000 channels",
        "subscribe-10000",
        "RSS per subscription",
        Shown::Bytes,
    ),
    (
        "the same, 100,000 channels",
        "subscribe-100000",
        "RSS per subscription",
        Shown::Bytes,
    ),
    (
        "join and leave of a presence channel of 100",
        "presence-100",
        JOIN,
        MICROS,
    ),
    ("the same, of 1,000", "presence-1000", JOIN, MICROS),
    (
        "telling one member of one that came, 1,000 members",
        "presence-1000",
        "CPU per member_added",
        MICROS,
    ),
    (
        "deliveries a second of one channel, 1 shard",
        "shards-fanout",
        "1 shard",
        COUNT,
    ),
    ("the same, 2 shards", "shards-fanout", PER_S, COUNT),
    (
        "deliveries a second of small channels, 1 shard",
        "shards-channels",
        "1 shard",
        COUNT,
    ),
    ("the same, 2 shards", "shards-channels", PER_S, COUNT),
    (
        "memory that is kept of a connection that left",
        "storm",
        "RSS kept per connection that left",
        KIB,
    ),
];

/// The table; what was not measured is left out. Empty when nothing was.
pub(crate) fn table(results: &Results) -> String {
    let mut text = String::new();
    for (what, id, figure, shown) in LINES {
        let value = match figure {
            "1 shard" => results.row(id, PER_S)[figure]["median"].as_f64(),
            _ => results.gema(id, figure),
        };
        let Some(value) = value else { continue };
        if text.is_empty() {
            text = "| what | | from the scenario |\n|---|---:|---|\n".to_owned();
        }
        let shown = match shown {
            Shown::As(unit) => number(value, unit),
            Shown::Bytes => format!("{} B", number(value * 1_024.0, Unit::Count)),
        };
        text += &format!("| {what} | {shown} | {id} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        catalogue::{Size, entries},
        results::tests::one,
    };

    #[test]
    fn every_line_is_of_a_scenario_that_runs() {
        let entries = entries(Size { quick: false });
        for (what, id, _, _) in LINES {
            assert!(entries.iter().any(|entry| entry.id == id), "{what}: {id}");
        }
    }

    #[test]
    fn what_was_measured_is_told_in_its_unit_and_the_rest_left_out() {
        let mut results = Results::about(json!({}), 1);
        assert_eq!(table(&results), "");
        results.put(
            "subscribe-100000",
            None,
            one("RSS per subscription", 0.25, 1.0),
        );
        results.put("fanout-1000", None, one("CPU per delivery", 6.0, 5.0));
        let table = table(&results);
        assert!(table.contains("| a delivery, one publish at a time | 6.00 us | fanout-1000 |"));
        assert!(table.contains("100,000 channels | 256 B |"), "{table}");
        assert_eq!(table.lines().count(), 4);
    }
}
