//! Sentinels: whoever is the master is found, again and again.

use super::Node;
use super::child::Process;
use crate::support::until;

#[tokio::test]
async fn when_the_master_dies_its_successor_is_found_and_kept_publications_arrive() {
    let mut master = Process::server(&[]).await;
    let of = master.port.to_string();
    let replica = Process::server(&["--replicaof", "127.0.0.1", &of]).await;
    replica.ready().await;
    until("the replica is in step", async || {
        let info: String = replica.command(&["INFO", "replication"]).await;
        info.contains("master_link_status:up")
    })
    .await;
    let sentinel = Process::sentinel(&format!(
        "sentinel monitor service 127.0.0.1 {of} 1\n\
         sentinel down-after-milliseconds service 500\n\
         sentinel failover-timeout service 5000"
    ));
    sentinel.ready().await;
    until("the sentinel knows the replica", async || {
        let replicas: Vec<redis::Value> =
            sentinel.command(&["SENTINEL", "REPLICAS", "service"]).await;
        !replicas.is_empty()
    })
    .await;
    let url = format!("redis+sentinel://127.0.0.1:{}", sentinel.port);
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
