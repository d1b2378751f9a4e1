//! The figures that gema means to reach, each held against what was measured.

use crate::{
    report::{Unit, number},
    results::Results,
};

/// One aim and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    figure: &'static str,
    how: String,
    reach: &'static str,
    /// As shown; empty when it was not measured.
    measured: String,
    reached: Option<bool>,
}

/// Names of the figures that count what must not be, wherever they appear.
const FAULTS: [&str; 8] = [
    "lost",
    "duplicated",
    "inverted",
    "unknown",
    "cut off",
    "failed",
    "publishes refused",
    "slow reader: skipped or out of order",
];

/// Whether a figure of that name counts what must not be, on one server or on a node of several.
pub(crate) fn is_fault(name: &str) -> bool {
    let name = name.split(", node ").next().unwrap_or(name);
    FAULTS.contains(&name)
}

/// What must not be and was found with gema: scenario, figure, the most of any round.
pub(crate) fn faults(results: &Results) -> Vec<(String, String, f64)> {
    let mut found = Vec::new();
    for result in results.all() {
        for row in result["figures"].as_array().into_iter().flatten() {
            let name = row["figure"].as_str().unwrap_or_default();
            let rounds = row["gema"]["rounds"].as_array();
            let most = rounds
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_f64());
            let most = most.fold(0.0, f64::max);
            if is_fault(name) && most > 0.0 {
                let id = result["id"].as_str().unwrap_or_default();
                found.push((id.to_owned(), name.to_owned(), most));
            }
        }
    }
    found
}

/// All aims, in the order in which they are told.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |figure, how: &str, reach, most: f64, value: Option<(f64, String)>| {
        rows.push(Row {
            figure,
            how: how.to_owned(),
            reach,
            reached: value.as_ref().map(|(value, _)| *value <= most),
            measured: value.map(|(_, text)| text).unwrap_or_default(),
        });
    };
    let ratio = |id: &str| {
        let ratio = results.ratio(id, "CPU per delivery", "floor")?;
        let us = results.gema(id, "CPU per delivery")?;
        Some((ratio, format!("{ratio:.2}x ({})", number(us, Unit::Micros))))
    };
    let plain = |id: &str, figure: &str, unit: Unit| {
        let value = results.gema(id, figure)?;
        Some((value, number(value, unit)))
    };
    let how = "1,000 subscribers, 50 publishes/s, 200 B; over the floor of the same run";
    add(
        "CPU per delivery, one publish at a time",
        how,
        "<= 1.15x",
        1.15,
        ratio("fanout-1000"),
    );
    let how = "1,000 subscribers, 16 in flight; over the floor of the same run";
    add(
        "CPU per delivery, saturated",
        how,
        "<= 0.35x",
        0.35,
        ratio("fanout-saturated"),
    );
    let how = "RSS per subscribed connection, 10,000 connections";
    let value = plain("idle-10000", "RSS per connection", Unit::Kib);
    add("idle memory", how, "<= 3 KiB", 3.0, value);
    let how = "server CPU per connection, 10,000 connections";
    let value = plain("idle-10000", "CPU per connect + subscribe", Unit::Micros);
    add("connect + subscribe", how, "<= 90 us", 90.0, value);
    for (id, how) in [
        (
            "trigger",
            "CPU per signed request over keep-alive, no subscribers; one connection",
        ),
        ("trigger-16", "the same, 16 connections"),
    ] {
        let value = plain(id, "CPU per request", Unit::Micros);
        let floor = results.row(id, "CPU per request")["floor"]["median"].as_f64();
        let how = match floor {
            Some(us) => format!("{how}; the floor's: {}", number(us, Unit::Micros)),
            None => how.to_owned(),
        };
        add("trigger API", &how, "<= 25 us", 25.0, value);
    }
    let spread = |server: &str| {
        let curve = results.curve("delivery", "CPU per delivery", server);
        let wanted = [100.0, 1_000.0, 10_000.0];
        let values = wanted.map(|x| curve.iter().find(|(at, _)| *at == x).map(|(_, y)| *y));
        let values = [values[0]?, values[1]?, values[2]?];
        let (least, most) = (
            values.iter().copied().fold(f64::MAX, f64::min),
            values.iter().copied().fold(0.0, f64::max),
        );
        Some(most / least - 1.0)
    };
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let how = match spread("floor") {
        Some(floor) => format!(
            "CPU per delivery at 100, 1,000 and 10,000 subscribers, largest over smallest; the floor's: {}",
            percent(floor)
        ),
        None => "CPU per delivery at 100, 1,000 and 10,000 subscribers, largest over smallest"
            .to_owned(),
    };
    let value = spread("gema").map(|spread| (spread, percent(spread)));
    add("growth", &how, "within 15 %", 0.15, value);
    let how = "time to the 200 with 10,000 subscribers over that with none, p50";
    let value = results.gema("publish-latency", "everybody over nobody, p50");
    let value = value.map(|ratio| (ratio, format!("{ratio:.2}x")));
    add("publish latency", how, "<= 2x", 2.0, value);
    let how = "second node's delivery later than the first's, p50, 100 subscribers each";
    let value = plain("cluster-100", "node 2 later, p50", Unit::Micros);
    add("across nodes", how, "<= 500 us", 500.0, value);

    let measured = !results.all().is_empty();
    // The sum of nothing is -0.
    let found = faults(results)
        .iter()
        .fold(0.0, |sum, (_, _, count)| sum + count);
    let how =
        "lost, duplicated, inverted, unknown, cut off, failed or refused, all scenarios and rounds";
    let value = measured.then(|| (found, number(found, Unit::Count)));
    add("faults", how, "0", 0.0, value);
    let how = "one reader of 101 stops: the code it is closed with";
    let code = plain("slow", "slow reader: close code", Unit::Count);
    let value = code.map(|(code, text)| ((code - 4_100.0).abs(), text.replace(',', "")));
    add("slow consumer", how, "4100", 0.0, value);
    let how = "the most that memory grows meanwhile; `outbox_bytes` is 1 MiB";
    let value = plain("slow", "RSS peak over the start", Unit::Kib);
    add("slow consumer", how, "<= 4 MiB", 4_096.0, value);
    rows
}

/// The aims as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "| figure | how | reach | gema | reached |\n|---|---|---|---:|---|\n".to_owned();
    for row in rows {
        let reached = match row.reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "not measured",
        };
        text += &format!(
            "| {} | {} | {} | {} | {reached} |\n",
            row.figure, row.how, row.reach, row.measured
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::tests::one;

    #[test]
    fn an_aim_is_reached_missed_or_not_measured() {
        let mut results = Results::about(json!({}), 3);
        results.put("fanout-1000", None, one("CPU per delivery", 6.0, 5.0));
        results.put("fanout-saturated", None, one("CPU per delivery", 0.5, 5.0));
        results.put("trigger", None, one("CPU per request", 40.0, 20.0));
        let rows = rows(&results);
        let of = |figure: &str| rows.iter().find(|row| row.figure == figure).unwrap();
        assert_eq!(
            of("CPU per delivery, one publish at a time").reached,
            Some(false)
        );
        assert_eq!(of("CPU per delivery, saturated").reached, Some(true));
        assert_eq!(of("idle memory").reached, None);
        let table = table(&rows);
        assert!(table.contains("| 1.20x (6.00 us) | **no** |"), "{table}");
        assert!(
            table.contains("one connection; the floor's: 20.0 us |"),
            "{table}"
        );
        assert!(table.contains("not measured"));
    }

    #[test]
    fn growth_is_the_largest_over_the_smallest_of_three() {
        let mut results = Results::about(json!({}), 3);
        for (x, us) in [(100, 5.0), (300, 9.0), (1_000, 5.5), (10_000, 6.0)] {
            let id = format!("fanout-{x}");
            results.put(&id, Some(("delivery", x)), one("CPU per delivery", us, 5.0));
        }
        let rows = rows(&results);
        let row = rows.iter().find(|row| row.figure == "growth").unwrap();
        assert_eq!((&*row.measured, row.reached), ("20 %", Some(false)));
        assert!(row.how.ends_with("the floor's: 0 %"), "{}", row.how);
    }

    #[test]
    fn a_fault_in_any_round_is_found() {
        let mut results = Results::about(json!({}), 3);
        let result = json!({"figures": [
            {"figure": "inverted, node 2", "gema": {"median": 0.0, "rounds": [0.0, 3.0, 0.0]}},
            {"figure": "publishes skipped", "gema": {"median": 9.0, "rounds": [9.0]}}]});
        results.put("cluster-100", None, result);
        let found = faults(&results);
        assert_eq!(
            found,
            [("cluster-100".to_owned(), "inverted, node 2".to_owned(), 3.0)]
        );
        let rows = rows(&results);
        let row = rows.iter().find(|row| row.figure == "faults").unwrap();
        assert_eq!(row.reached, Some(false));
    }
}
