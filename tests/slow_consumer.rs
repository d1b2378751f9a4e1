//! A client that does not read is closed, and it alone; nobody is skipped silently.

use serde_json::Value;

use crate::support::{Raw, Server, until};

#[tokio::test]
async fn the_slow_one_is_closed_with_4100_and_the_others_hear_every_event_in_order() {
    const EVENTS: usize = 40;
    let server = Server::with(
        "[limits]\noutbox_bytes = 3000000\nevent_data_bytes = 1100000\nrequest_bytes = 2000000",
    )
    .await;
    let mut slow = Raw::subscribed(server.address, "a").await;
    let mut quick = server.client().await;
    quick.subscribe("a").await;
    let reader = tokio::spawn(async move {
        for number in 0..EVENTS {
            let event = quick.event("n").await;
            let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
            assert_eq!(data["n"], number);
        }
        quick
    });
    // 40 MB: more than the kernel's buffers and the outbox hold.
    let padding = "x".repeat(1_000_000);
    for number in 0..EVENTS {
        server
            .trigger("a", "n", &format!(r#"{{"n":{number},"p":"{padding}"}}"#))
            .await;
    }
    let mut quick = reader.await.unwrap();
    quick.nothing_before_pong().await;

    // What the slow one finds when it reads at last: whole frames in order, then why it was closed.
    let rest = slow.rest().await;
    let tail = String::from_utf8_lossy(&rest[rest.len().saturating_sub(400)..]).into_owned();
    assert!(
        tail.contains("pusher:error") && tail.contains("4100"),
        "{tail}"
    );
    let close = rest.iter().rposition(|byte| *byte == 0x88).unwrap();
    assert_eq!(rest[close + 2..close + 4], 4100u16.to_be_bytes());
    drop(slow);
    // Its subscription ends with it, a moment after its last byte.
    let count = async || {
        let info = server.get("/apps/app-id/channels/a", "info=subscription_count");
        info.await.json()["subscription_count"].clone()
    };
    until("one subscription is left", async || count().await == 1).await;
}
