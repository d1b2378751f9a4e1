//! The end of a run: everybody goes, and nothing may be left behind.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::child::until;
use crate::error::SoakError;
use crate::procfs::descriptors;
use crate::redis_server::RedisServer;
use crate::scene::{Scene, Stage};
use crate::troubles::end_era;

/// What is on its way may take so long to arrive.
const ARRIVAL: Duration = Duration::from_secs(3);
/// Everybody may take so long to go, and a node to notice.
const GOING: Duration = Duration::from_secs(30);
/// After the last subscriber a node listens at Redis for five seconds more; what it has there ends after that.
const FORGETTING: Duration = Duration::from_secs(60);
/// Descriptors of a node that everybody has left may be so many more than at its start: connections to the receiver of webhooks are
/// kept for a while.
const KEPT: u64 = 12;
/// What must be zero when everybody has gone.
const GAUGES: [&str; 4] = ["connections", "subscriptions", "channels", "outbox_bytes"];

/// Sends everybody home and looks at what is left. `idle`: descriptors of each node before anybody came; that of a process
/// that was started since is not known.
pub(crate) async fn close(
    scene: &Scene,
    redis: &RedisServer,
    guests: &mut JoinSet<()>,
    idle: &[(u32, u64)],
) -> Result<(), SoakError> {
    scene.stage.send_replace(Stage::Quiet);
    end_era(scene, true).await?;
    sleep(ARRIVAL).await;
    scene.stage.send_replace(Stage::Over);
    let gone = timeout(GOING, async { while guests.join_next().await.is_some() {} });
    if gone.await.is_err() {
        scene.findings.add("end", "not everybody could go");
    }
    for node in &scene.nodes {
        let empty = async || {
            let figures = node.figures(&scene.http).await;
            figures.is_some_and(|figures| GAUGES.iter().all(|gauge| figures.sum(gauge) == 0.0))
        };
        if until("gauges are zero", GOING, empty).await.is_err() {
            let figures = node.figures(&scene.http).await;
            let values = GAUGES.map(|gauge| {
                let value = figures.as_ref().map(|figures| figures.sum(gauge));
                format!("{gauge} {value:?}")
            });
            let words = format!("node {}: {}", node.index, values.join(", "));
            scene.findings.add("gauges", words);
        }
        for counter in ["slow_consumers_total", "bus_gaps_total"] {
            let value = node
                .figures(&scene.http)
                .await
                .map(|figures| figures.sum(counter));
            println!(
                "node {}: {counter} {}",
                node.index,
                value.unwrap_or(f64::NAN)
            );
        }
    }
    for (process, before) in idle {
        let fewer = async || descriptors(*process).is_none_or(|now| now <= before + KEPT);
        if until("descriptors are closed", GOING, fewer).await.is_err() {
            let words = format!(
                "process {process}: {before} at first, {:?} now",
                descriptors(*process)
            );
            scene.findings.add("descriptors", words);
        }
    }
    let mut staying = Vec::new();
    let all_end = async || match redis.keys() {
        Ok(keys) => {
            let keys = keys.into_iter().filter(|(_, left)| left.is_none());
            staying = keys.map(|(name, _)| name).collect();
            staying.is_empty()
        }
        Err(_) => false,
    };
    if until("every key has its end", FORGETTING, all_end)
        .await
        .is_err()
    {
        let words = format!(
            "{} keys stay for ever: {:?}",
            staying.len(),
            staying.first()
        );
        scene.findings.add("redis", words);
    }
    for node in &scene.nodes {
        node.end(&scene.findings).await?;
    }
    Ok(())
}
