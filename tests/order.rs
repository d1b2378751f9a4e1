//! All subscribers of a channel hear the same events in the same order, whoever publishes and however fast.

use std::sync::Arc;

use serde_json::json;

use crate::support::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_on_different_shards_hear_concurrent_publishers_in_one_order() {
    const PUBLISHERS: usize = 4;
    const EVENTS: usize = 100;
    let server = Arc::new(Server::with("[server]\nshards = 4").await);
    let mut reading = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        client.subscribe("a").await;
        reading.push(tokio::spawn(async move {
            let mut heard = Vec::new();
            for _ in 0..PUBLISHERS * EVENTS {
                heard.push(client.event("n").await["data"].clone());
            }
            heard
        }));
    }
    let publishing = (0..PUBLISHERS).map(|publisher| {
        let server = server.clone();
        tokio::spawn(async move {
            for number in 0..EVENTS {
                let data = format!("{publisher}-{number:03}");
                server.trigger("a", "n", &data).await;
            }
        })
    });
    for publisher in publishing.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let mut orders = Vec::new();
    for reader in reading {
        orders.push(reader.await.unwrap());
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "two orders");
    for publisher in 0..PUBLISHERS {
        let prefix = format!("{publisher}-");
        let own = orders[0]
            .iter()
            .filter(|data| data.as_str().unwrap().starts_with(&prefix));
        assert!(
            own.is_sorted_by_key(|data| data.as_str()),
            "publisher {publisher} out of order"
        );
    }
}

#[tokio::test]
async fn a_batch_is_heard_in_its_own_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let batch: Vec<_> = (0..10)
        .map(|n| json!({ "name": "n", "channel": "a", "data": n.to_string() }))
        .collect();
    let body = json!({ "batch": batch });
    assert_eq!(
        server
            .post("/apps/app-id/batch_events", &body.to_string())
            .await
            .json(),
        json!({})
    );
    for number in 0..10 {
        assert_eq!(client.event("n").await["data"], number.to_string());
    }
}
