//! What a run found: a line a minute, a table at the end, and all of it as JSON.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::samples::{KIB_PER_MINUTE, Samples};
use crate::scene::Scene;

/// What is going on, in one line.
pub(crate) fn line(scene: &Scene, samples: &Samples, began: Instant) {
    let sums = &scene.ledger.sums;
    let last = samples.last();
    let of_each = |value: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..last.len()).map(value).collect();
        all.join("/")
    };
    println!(
        "{:5.1} min  connections {} ({} made)  events {} -> {}  lost {} duplicated {} inverted {}  webhooks {}  \
         RSS {} MiB  files {}  found {}",
        began.elapsed().as_secs_f64() / 60.0,
        of_each(&|node| format!("{:.0}", last[node].connections)),
        scene.tallies.connected.get(),
        sums.published.get(),
        sums.delivered.get(),
        sums.lost.get(),
        sums.duplicated.get(),
        sums.inverted.get(),
        scene.webhooks.events.get(),
        of_each(&|node| format!("{:.1}", last[node].rss_kib as f64 / 1024.0)),
        of_each(&|node| last[node].descriptors.to_string()),
        scene.findings.count(),
    );
}

/// The figures at the end: name, value, what it has to be.
fn rows(
    scene: &Scene,
    samples: &Samples,
    troubles: &[String],
) -> Vec<(&'static str, String, String)> {
    let (sums, tallies) = (&scene.ledger.sums, &scene.tallies);
    let growth = samples.growth();
    let unknown = || "run too short".to_owned();
    let row = |name, value: u64, must: &str| (name, value.to_string(), must.to_owned());
    vec![
        row("faults made", troubles.len() as u64, ""),
        row("connections made", tallies.connected.get(), ""),
        row(
            "connections ended by the faults",
            tallies.sent_away.get(),
            "",
        ),
        row("events published", sums.published.get(), ""),
        row("of these by clients", tallies.talked.get(), ""),
        row(
            "posts that the faults failed",
            tallies.failed_posts.get(),
            "",
        ),
        row("events delivered", sums.delivered.get(), ""),
        row("lost", sums.lost.get(), "0"),
        row("lost in announced outages", sums.announced.get(), ""),
        row("duplicated", sums.duplicated.get(), "0"),
        row("inverted", sums.inverted.get(), "0"),
        row("webhook events", scene.webhooks.events.get(), ""),
        row(
            "webhooks out of balance in announced outages",
            tallies.announced_webhooks.get(),
            "",
        ),
        row(
            "webhooks after their era was closed",
            scene.webhooks.late(),
            "",
        ),
        (
            "memory of node 0, KiB a minute",
            growth.map_or_else(unknown, |growth| format!("{:.1}", growth.kib_per_minute)),
            format!("<= {KIB_PER_MINUTE}"),
        ),
        (
            "descriptors of node 0, more at the end",
            growth.map_or_else(unknown, |growth| format!("{:.0}", growth.descriptors)),
            "<= 4".to_owned(),
        ),
        row("findings", scene.findings.count(), "0"),
    ]
}

/// Prints the table and gives everything as JSON.
pub(crate) fn end(scene: &Scene, samples: &Samples, troubles: &[String], minutes: f64) -> Value {
    let rows = rows(scene, samples, troubles);
    println!("\n{:<46} {:>14}  must be", "figure", "value");
    for (name, value, must) in &rows {
        println!("{name:<46} {value:>14}  {must}");
    }
    for (kind, count, words) in scene.findings.all() {
        println!("\n{kind}: {count}");
        for words in words {
            println!("  {words}");
        }
    }
    let figures: serde_json::Map<String, Value> = rows
        .into_iter()
        .map(|(name, value, _)| (name.to_owned(), Value::from(value)))
        .collect();
    json!({
        "minutes": minutes,
        "figures": figures,
        "faults": troubles,
        "findings": scene.findings.all(),
        "node 0: seconds, RSS in KiB, descriptors": samples.judged(),
    })
}
