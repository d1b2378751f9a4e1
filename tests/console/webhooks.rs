//! The log of webhooks says what was sent, and sends it again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::node::app;
use crate::support::receiver::{Receiver, Treat};
use crate::support::{Server, until};

#[tokio::test]
async fn a_webhook_is_sent_again_once_the_same_and_signed() {
    let mut fails = true;
    let mut receiver = Receiver::that(move |_| match std::mem::take(&mut fails) {
        true => Treat::Answer(500),
        false => Treat::Answer(200),
    });
    let url = receiver.url();
    let webhooks =
        format!("[[apps.webhooks]]\nurl = '{url}?secret=hush'\nevents = ['channel_occupied']");
    let server = Server::with_admin(&app(&webhooks)).await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    receiver.has_taken(1).await;
    let mut log = Value::Null;
    until("both attempts are written down", async || {
        log = server.look("/api/webhooks?app=app-id").await;
        log["items"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    assert!(!log.to_string().contains("hush"), "{log}");
    assert_eq!(
        (&log["items"][0]["status"], &log["items"][0]["ok"]),
        (&json!(200), &json!(true))
    );
    assert_eq!(
        (&log["items"][1]["status"], &log["items"][1]["ok"]),
        (&json!(500), &json!(false))
    );
    assert_eq!(log["items"][1]["events"], json!(["channel_occupied a"]));
    let number = &log["items"][1]["number"];
    let path = format!("/api/webhooks/{number}/replay?app=app-id");
    let again = server.act(&path, json!({})).await.json();
    assert_eq!(
        (&again["status"], &again["replay"]),
        (&json!(200), &json!(true))
    );
    let hits = receiver.hits();
    assert_eq!(hits.len(), 3);
    assert_eq!(hits[0].body, hits[2].body);
    assert_eq!(
        hits[0].headers["x-pusher-signature"],
        hits[2].headers["x-pusher-signature"]
    );
    let shown = server
        .look(&format!("/api/webhooks/{number}?app=app-id"))
        .await;
    assert_eq!(shown["body"], hits[0].json());
    let unknown = server
        .act("/api/webhooks/99/replay?app=app-id", json!({}))
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_replay_that_fails_is_written_down_and_not_tried_again() {
    let mut answers = [200, 500, 500].into_iter();
    let mut receiver = Receiver::that(move |_| Treat::Answer(answers.next().unwrap_or(200)));
    let url = receiver.url();
    let webhooks = format!("[[apps.webhooks]]\nurl = '{url}'\nevents = ['channel_occupied']");
    let server = Server::with_admin(&app(&webhooks)).await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    receiver.has_taken(1).await;
    until("it is written down", async || {
        let log = server.look("/api/webhooks?app=app-id").await;
        log["items"].as_array().map(Vec::len) == Some(1)
    })
    .await;
    let again = server
        .act("/api/webhooks/1/replay?app=app-id", json!({}))
        .await;
    assert_eq!(again.json()["status"], 500);
    // The queue's first retry would come within a second.
    assert_eq!(
        receiver
            .taken_after(Duration::from_millis(1500))
            .await
            .len(),
        1
    );
    assert_eq!(receiver.hits().len(), 2);
}
