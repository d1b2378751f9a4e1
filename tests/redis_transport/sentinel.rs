//! Sentinels: whoever is the master is found, again and again.

use super::Node;
use crate::support::redis::Redis;
use crate::support::until;

#[tokio::test]
async fn when_the_master_dies_its_successor_is_found_and_kept_publications_arrive() {
    let mut master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let sentinel = Redis::sentinel_of(&master).await;
    let url = format!("redis+sentinel://{}", sentinel.address());
    let unknown = Node::start(&format!("{url}/other"));
    let mut node = Node::start(&format!("{url}/service"));
    let link = node.up().await;
    node.listen("a").await;
    node.publish("a", "1");
    assert_eq!(node.message().await.1, "1");
    until("the other service is unknown", async || {
        let health = unknown.redis.health();
        health.is_err_and(|why| why.contains("the service 'other' is unknown"))
    })
    .await;
    master.kill();
    node.down().await;
    node.publish("a", "2");
    assert_eq!(node.up().await, link);
    node.listen("a").await;
    assert_eq!(node.message().await.1, "2");
    let info: String = replica.command(&["INFO", "replication"]).await;
    assert!(info.contains("role:master"));
}
