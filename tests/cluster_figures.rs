//! The figures of a cluster: who is cut off, what was missed meanwhile, and who has cleaned up after a dead node.

use crate::support::node::{Node, member_of_cluster, settings, until_ready};
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::view::View;
use crate::support::{Server, until};

/// A node with its figures, fit for traffic.
async fn counting(url: &str) -> Server {
    let node = Server::with_admin(&settings(url, "")).await;
    until_ready(&node).await;
    node
}

#[tokio::test]
async fn events_that_a_node_missed_while_it_was_cut_off_are_counted() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address());
    let far = counting(&relay.url()).await;
    let near = counting(&redis.url()).await;
    let mut there = far.client().await;
    let mut here = near.client().await;
    for client in [&mut there, &mut here] {
        client.subscribe("a").await;
    }
    near.trigger("a", "n", "0").await;
    assert_eq!(there.event("n").await["data"], "0");
    assert_eq!(far.figures().await.of("bus_up"), 1.0);
    relay.stop();
    until("it says that it is cut off", async || {
        far.figures().await.of("bus_up") == 0.0
    })
    .await;
    for data in ["1", "2", "3"] {
        near.trigger("a", "n", data).await;
    }
    for data in ["0", "1", "2", "3"] {
        assert_eq!(here.event("n").await["data"], data);
    }
    until("Redis has had them all", async || {
        let info: String = redis.command(&["INFO", "commandstats"]).await;
        info.contains("cmdstat_publish:calls=4,")
    })
    .await;
    assert_eq!(far.figures().await.of("bus_gaps_total"), 0.0);
    relay.open();
    until_ready(&far).await;
    until("it listens again", async || {
        redis.subscribers("gema:{app-id:c:a}").await == 2
    })
    .await;
    near.trigger("a", "n", "4").await;
    assert_eq!(there.event("n").await["data"], "4");
    let figures = far.figures().await;
    assert_eq!(figures.of("bus_up"), 1.0);
    assert_eq!(figures.of("bus_gaps_total"), 3.0);
    let figures = near.figures().await;
    assert_eq!(figures.of("bus_up"), 1.0);
    assert_eq!(figures.of("bus_gaps_total"), 0.0);
    // The next gap is counted from there.
    near.trigger("a", "n", "5").await;
    there.event("n").await;
    assert_eq!(far.figures().await.of("bus_gaps_total"), 3.0);
}

#[tokio::test]
async fn a_dead_node_is_counted_by_the_one_that_cleaned_up_after_it() {
    let redis = Redis::start().await;
    let staying = [counting(&redis.url()).await, counting(&redis.url()).await];
    let mut dying = Node::start(&settings(&redis.url(), "")).await;
    let _doomed = View::join(&dying, "presence-a", "1").await;
    let swept = async || {
        let mut sum = 0.0;
        for node in &staying {
            sum += node.figures().await.of("presence_sweeps_total");
        }
        sum
    };
    assert_eq!(swept().await, 0.0);
    dying.kill();
    until("somebody has cleaned up", async || swept().await >= 1.0).await;
    // Each looks again when another node joins and is seen.
    let late = member_of_cluster(&redis.url(), "").await;
    let view = View::join(&late, "presence-a", "2").await;
    assert_eq!(view.members.len(), 1);
    assert_eq!(swept().await, 1.0);
}
