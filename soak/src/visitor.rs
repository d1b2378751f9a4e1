//! Those who come and go: they connect to any node, subscribe to this and that, talk, sign in, and leave politely or not.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Ended, Leaving, PATIENCE};
use crate::ledger::count;
use crate::listener::STREAMS;
use crate::scene::{Scene, Stage};
use crate::webhooks::VISITED;

/// At one time.
pub(crate) const VISITORS: usize = 60;
/// Names of users; fewer than visitors, so that some are there more than once.
const USERS: usize = 40;
/// The longest stay.
const STAY_MS: u64 = 2_000;
/// Before another attempt when no node is open.
const RETRY: Duration = Duration::from_millis(100);

/// Visits until the run becomes quiet.
pub(crate) async fn visit(scene: Rc<Scene>) {
    while scene.is(Stage::Busy) {
        let node = fastrand::usize(..scene.nodes.len());
        if !scene.nodes[node].is_open() {
            sleep(RETRY).await;
            continue;
        }
        let era = scene.era.get();
        *scene.visits.borrow_mut().entry(era).or_default() += 1;
        let visited = once(&scene, node, era).await;
        if let Some(open) = scene.visits.borrow_mut().get_mut(&era) {
            *open -= 1;
        }
        if let Err(ended) = visited {
            if scene.nodes[node].may_fail() {
                count(&scene.tallies.sent_away, 1);
            } else {
                let words = format!("a visitor at node {node}: {ended}");
                scene.findings.add("closed", words);
            }
        }
    }
}

async fn once(scene: &Scene, node: usize, era: u32) -> Result<(), Ended> {
    let user = format!("visitor-{}", fastrand::usize(..USERS));
    let mut client = Client::connect(scene.nodes[node].address).await?;
    count(&scene.tallies.connected, 1);
    if fastrand::u8(..3) == 0 {
        client.ask_to_sign_in(&user).await?;
    }
    let channels = wishes(era);
    for channel in &channels {
        client.ask_to_subscribe(channel, &user).await?;
    }
    let asked = Instant::now();
    let until = asked + Duration::from_millis(fastrand::u64(..STAY_MS));
    let mut acknowledged = 0;
    // Whoever leaves before the answers have come is a visitor too; who stays must have them.
    while let Ok(event) = timeout_at(until, client.next()).await {
        let event = event?;
        let channel = event["channel"].as_str().unwrap_or_default();
        match event["event"].as_str().unwrap_or_default() {
            "pusher_internal:subscription_succeeded" => {
                acknowledged += 1;
                if channel.contains(VISITED) {
                    scene.webhooks.visited(era, channel, &user);
                }
                if channel.starts_with("private-") {
                    let event =
                        json!({ "event": "client-hello", "channel": channel, "data": "hello" });
                    client.send(&event).await?;
                }
            }
            "pusher:error" | "pusher:subscription_error" | "pusher:signin_error"
                if !scene.is_troubled(node) =>
            {
                let words = format!("a visitor at node {node}: {event}");
                scene.findings.add("refused", words);
            }
            _ => {}
        }
    }
    if acknowledged < channels.len() && asked.elapsed() > PATIENCE && !scene.is_troubled(node) {
        let words = format!(
            "a visitor at node {node} had {acknowledged} of {}",
            channels.len()
        );
        scene.findings.add("no answer", words);
    }
    if fastrand::u8(..4) == 0 {
        client.unsubscribe(&channels[0]).await?;
    }
    let how = [Leaving::Politely, Leaving::Silently, Leaving::Reset];
    client.leave(how[fastrand::usize(..how.len())]).await;
    Ok(())
}

/// What a visitor subscribes to: channels of its era, and the presence channel of some listeners.
fn wishes(era: u32) -> Vec<String> {
    let mut channels = vec![
        format!("{VISITED}{era}-{}", fastrand::u8(..20)),
        format!("private-{VISITED}{era}-{}", fastrand::u8(..10)),
        format!("presence-{VISITED}{era}-{}", fastrand::u8(..8)),
    ];
    if fastrand::bool() {
        channels.push(format!("presence-stream-{}", fastrand::usize(..STREAMS)));
    }
    channels
}
