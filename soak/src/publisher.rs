//! Back ends: one for each node posts to its HTTP API, one event after the other, to all channels in turn.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::http;
use crate::ledger::{Source, count};
use crate::listener::{STREAMS, channels};
use crate::scene::{Scene, Stage};

/// Between two events of one back end.
const PACE: Duration = Duration::from_millis(20);
/// The longest event, in bytes.
const LONGEST: usize = 2_000;

/// Publishes until the run becomes quiet.
pub(crate) async fn publish(scene: Rc<Scene>, node: usize) {
    let client = http::client();
    let all: Vec<String> = (0..STREAMS).flat_map(channels).collect();
    let source = Source::Node(node);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for channel in all.iter().cycle() {
        pace.tick().await;
        if !scene.is(Stage::Busy) {
            return;
        }
        if !scene.nodes[node].is_open() {
            continue;
        }
        let number = scene.ledger.publish(channel, source);
        let data = format!(
            "n {node} {number} {}",
            "x".repeat(fastrand::usize(..LONGEST))
        );
        match http::publish(&client, scene.nodes[node].address, channel, &data).await {
            Ok((200, _)) => scene.ledger.taken(channel, source, number),
            _ if scene.nodes[node].may_fail() => count(&scene.tallies.failed_posts, 1),
            Ok((status, text)) => {
                let words = format!("node {node} answered {status}: {text}");
                scene.findings.add("post", words);
            }
            Err(why) => scene.findings.add("post", format!("node {node}: {why}")),
        }
    }
}
