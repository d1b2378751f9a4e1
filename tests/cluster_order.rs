//! Ten thousand events from one node to another: none out of order, none lost, none twice.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::node::cluster;
use crate::support::redis::Redis;
use crate::support::{Client, Server};

const EVENTS: usize = 10_000;

/// Everything that a subscriber hears up to the event `end`, as `publisher` and `number`.
fn hear(mut client: Client, ends: usize) -> JoinHandle<Vec<(usize, usize)>> {
    tokio::spawn(async move {
        let mut heard = Vec::with_capacity(EVENTS);
        let mut ended = 0;
        while ended < ends {
            let event = client.next().await;
            match event["event"].as_str() {
                Some("end" | "client-end") => ended += 1,
                _ => heard.push(serde_json::from_str(event["data"].as_str().unwrap()).unwrap()),
            }
        }
        heard
    })
}

/// What is wrong with what was heard of one publisher, who has said the numbers from zero on.
fn faults(heard: &[(usize, usize)], publisher: usize) -> String {
    let of_one = heard.iter().filter(|(who, _)| *who == publisher);
    let numbers: Vec<usize> = of_one.map(|(_, number)| *number).collect();
    let inversions = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    let distinct: HashSet<usize> = numbers.iter().copied().collect();
    let lost = EVENTS - distinct.len();
    let twice = numbers.len() - distinct.len();
    let mut faults = String::new();
    for (count, what) in [(inversions, "inversions"), (lost, "lost"), (twice, "twice")] {
        if count > 0 {
            write!(faults, "{count} {what} ").unwrap();
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_events_of_the_api_on_each_of_two_nodes_are_heard_in_order_on_all() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let nodes = Arc::new(nodes);
    let mut hearers = Vec::new();
    for node in nodes.iter() {
        let mut client = node.client().await;
        client.subscribe("a").await;
        hearers.push(hear(client, 2));
    }
    let publishing = (0..2).map(|publisher| {
        let nodes = nodes.clone();
        tokio::spawn(async move {
            let node = &nodes[publisher];
            for batch in 0..EVENTS / 10 {
                let event = |number| {
                    let data = json!([publisher, number]).to_string();
                    json!({ "name": "n", "channel": "a", "data": data })
                };
                let batch: Vec<_> = (batch * 10..batch * 10 + 10).map(event).collect();
                let body = json!({ "batch": batch }).to_string();
                let answer = node.post("/apps/app-id/batch_events", &body).await;
                assert_eq!(answer.json(), json!({}));
            }
            node.trigger("a", "end", "").await;
        })
    });
    for publisher in publishing.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    for (node, hearer) in hearers.into_iter().enumerate() {
        let heard = hearer.await.unwrap();
        for publisher in 0..2 {
            let faults = faults(&heard, publisher);
            assert_eq!(faults, "", "of node {publisher} on node {node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_client_events_are_heard_in_order_on_all_nodes() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "[limits]\nclient_events_per_s = 0").await;
    let mut hearers = Vec::new();
    for node in &nodes {
        let mut client = node.client().await;
        client.subscribe_signed("private-a", None).await;
        hearers.push(hear(client, 1));
    }
    let mut sender = nodes[0].client().await;
    sender.subscribe_signed("private-a", None).await;
    for number in 0..EVENTS {
        let data = json!([0, number]).to_string();
        let event = json!({ "event": "client-n", "channel": "private-a", "data": data });
        sender.send(event).await;
    }
    sender
        .send(json!({ "event": "client-end", "channel": "private-a" }))
        .await;
    for (node, hearer) in hearers.into_iter().enumerate() {
        assert_eq!(faults(&hearer.await.unwrap(), 0), "", "on node {node}");
    }
    sender.nothing_before_pong().await;
}
