//! The faults: what is restarted and killed, in turn. Node 0 is left alone: it is the one whose memory is judged.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::child::until;
use crate::error::SoakError;
use crate::ledger::count;
use crate::outages::Scope;
use crate::redis_server::RedisServer;
use crate::scene::Scene;

/// How long visits, and what is told of them, may take to end: a stay, the grace of webhooks, a lease, a busy machine.
const SETTLING: Duration = Duration::from_secs(40);
/// As long as a webhook that is lost for good is waited for.
const LOST_WEBHOOKS: Duration = Duration::from_secs(15);
/// How long Redis may take to be known by all to be back.
const READY: Duration = Duration::from_secs(30);
/// From then on all have said what they have, and read what there is.
const AGREED: Duration = Duration::from_secs(4);

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// SIGTERM, and a new start.
    Restart(usize),
    /// SIGUSR2.
    HandOver(usize),
    /// `kill -9`, and a new start within or after the lease.
    Kill(usize),
    /// Redis is killed and comes back empty.
    Redis,
}

/// One after the other, for ever.
pub(crate) const CYCLE: [Trouble; 8] = [
    Trouble::Restart(1),
    Trouble::HandOver(2),
    Trouble::Kill(1),
    Trouble::Redis,
    Trouble::Restart(2),
    Trouble::HandOver(1),
    Trouble::Kill(2),
    Trouble::Redis,
];

/// Half a cycle has each kind once.
pub(crate) const EACH_ONCE: usize = CYCLE.len() / 2;

impl Trouble {
    /// Makes it, and waits until it is over. Gives what it was in words.
    pub(crate) async fn make(
        self,
        scene: &Scene,
        redis: &mut RedisServer,
    ) -> Result<String, SoakError> {
        let began = Instant::now();
        let what = match self {
            Trouble::Restart(node) => {
                scene.nodes[node]
                    .restart(&scene.http, &scene.findings)
                    .await?;
                format!("node {node} restarted")
            }
            Trouble::HandOver(node) => {
                scene.nodes[node].hand_over(&scene.http).await?;
                format!("node {node} handed over")
            }
            Trouble::Kill(node) => {
                end_era(scene, true).await?;
                scene.outages.begin(Scope::Node(node));
                scene.nodes[node].kill();
                let away = random(500, 6_000);
                sleep(away).await;
                scene.nodes[node].start(&scene.http).await?;
                scene.outages.end();
                end_era(scene, false).await?;
                format!("node {node} killed, away for {:.1} s", away.as_secs_f64())
            }
            Trouble::Redis => {
                end_era(scene, true).await?;
                scene.outages.begin(Scope::Everybody);
                redis.kill();
                let away = random(1_000, 8_000);
                sleep(away).await;
                redis.start_again().await?;
                for node in &scene.nodes {
                    let what = format!("node {} is ready again", node.index);
                    until(&what, READY, async || node.is_ready(&scene.http).await).await?;
                }
                sleep(AGREED).await;
                scene.outages.end();
                end_era(scene, false).await?;
                format!("Redis killed, away for {:.1} s", away.as_secs_f64())
            }
        };
        Ok(format!("{what} ({:.0} s)", began.elapsed().as_secs_f64()))
    }
}

fn random(from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(fastrand::u64(from_ms..to_ms))
}

/// Begins another era of visits, waits until those of the last have ended, and holds against them what webhooks told. In an
/// era without a fault that may cost a webhook (`strict`) all must balance.
pub(crate) async fn end_era(scene: &Scene, strict: bool) -> Result<(), SoakError> {
    let era = scene.era.get();
    scene.era.set(era + 1);
    until("all visits have ended", SETTLING, async || {
        scene
            .visits
            .borrow()
            .get(&era)
            .is_none_or(|open| *open == 0)
    })
    .await?;
    scene.visits.borrow_mut().remove(&era);
    let patience = if strict { SETTLING } else { LOST_WEBHOOKS };
    let balanced = until("webhooks balance", patience, async || {
        scene.webhooks.unbalanced(era).is_empty()
    });
    if balanced.await.is_err() {
        let unbalanced = scene.webhooks.unbalanced(era);
        if strict {
            for words in unbalanced {
                scene.findings.add("webhooks", words);
            }
        } else {
            count(&scene.tallies.announced_webhooks, unbalanced.len() as u64);
        }
    }
    scene.webhooks.forget(era);
    Ok(())
}
