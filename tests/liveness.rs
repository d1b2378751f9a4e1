//! Silence earns a WebSocket ping; a missing answer ends the connection; anything heard is life.

use std::time::{Duration, Instant};

use crate::support::{Raw, Server, until};

const QUICK: &str = "[limits]\nactivity_timeout_s = 1\npong_timeout_s = 1";

#[tokio::test]
async fn who_does_not_answer_a_ping_is_closed_with_4201_and_its_channel_is_free() {
    let server = Server::with(QUICK).await;
    let mut dead = Raw::subscribed(server.address, "a").await;
    let rest = dead.rest().await;
    let ping = rest
        .windows(2)
        .position(|bytes| bytes == [0x89, 0])
        .expect("a ping");
    let close = rest
        .iter()
        .rposition(|byte| *byte == 0x88)
        .expect("a close");
    assert!(ping < close);
    assert_eq!(rest[close + 2..close + 4], 4201u16.to_be_bytes());
    drop(dead);
    // The subscription ends with the connection, which is a moment after its last byte.
    until("a vacated channel", async || {
        let channel = server.get("/apps/app-id/channels/a", "").await;
        channel.json()["occupied"] == false
    })
    .await;
}

#[tokio::test]
async fn who_only_listens_and_answers_pings_stays() {
    let server = Server::with(QUICK).await;
    let mut quiet = server.client().await;
    quiet.subscribe("a").await;
    let start = Instant::now();
    let listening = tokio::spawn(async move {
        // Reading is what makes the client library answer pings.
        quiet.event("late").await;
    });
    // Longer than both timeouts together: an unanswered ping would have ended it.
    tokio::time::sleep_until((start + Duration::from_secs(4)).into()).await;
    server.trigger("a", "late", "1").await;
    listening.await.unwrap();
}
