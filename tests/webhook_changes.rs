//! Webhooks that change while the server runs: a receiver that the change leaves alone does not notice it, and an absence that
//! is held back outlasts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::node::app;
use crate::support::receiver::{OK, Receiver, Treat};
use crate::support::view::{View, users};
use crate::support::{Server, until};

const ROOM: &str = "presence-room";

/// Longer than an absence is held back.
const GRACE: Duration = Duration::from_millis(4500);

/// An app that tells these, in this order.
fn telling(receivers: &[&Receiver]) -> String {
    let webhooks = receivers.iter().map(|receiver| {
        let url = receiver.url();
        format!("[[apps.webhooks]]\nurl = '{url}'\n")
    });
    app(&webhooks.collect::<String>())
}

fn occupied() -> Value {
    json!({ "name": "channel_occupied", "channel": ROOM })
}

fn added(user: &str) -> Value {
    json!({ "name": "member_added", "channel": ROOM, "user_id": user })
}

#[tokio::test]
async fn a_receiver_that_stays_in_the_list_keeps_what_waits_for_it_and_its_order() {
    let works = Arc::new(AtomicBool::new(false));
    let switch = works.clone();
    let mut stays = Receiver::that(move |_| match switch.load(Ordering::Relaxed) {
        true => OK,
        false => Treat::Answer(503),
    });
    let (mut goes, mut comes) = (Receiver::start(), Receiver::start());
    let server = Server::with(&telling(&[&goes, &stays])).await;
    let _one = View::join(&server, ROOM, "1").await;
    let _two = View::join(&server, ROOM, "2").await;
    assert_eq!(
        goes.has_taken(3).await,
        [occupied(), added("1"), added("2")]
    );
    stays
        .until("attempt", |receiver| !receiver.hits().is_empty())
        .await;

    server.reload(&telling(&[&stays, &comes])).await;
    let _three = View::join(&server, ROOM, "3").await;
    assert_eq!(comes.has_taken(1).await, [added("3")]);
    works.store(true, Ordering::Relaxed);
    stays.has_taken(4).await;
    let mut tried: Vec<Value> = stays.hits().iter().flat_map(|hit| hit.events()).collect();
    tried.dedup();
    assert_eq!(
        tried,
        [occupied(), added("1"), added("2"), added("3")],
        "each until it was taken, and only then the next"
    );
    assert_eq!(goes.taken().len(), 3, "it is told nothing more");
}

#[tokio::test]
async fn an_absence_is_held_back_through_a_change_of_the_list() {
    let (mut stays, other) = (Receiver::start(), Receiver::start());
    let server = Server::with(&telling(&[&stays])).await;
    let _one = View::join(&server, ROOM, "1").await;
    let two = View::join(&server, ROOM, "2").await;
    two.client.close().await;
    until("2 has left", async || {
        server.users(ROOM).await == users(["1"])
    })
    .await;
    server.reload(&telling(&[&stays, &other])).await;
    let _two = View::join(&server, ROOM, "2").await;
    assert_eq!(
        stays.has_taken(3).await,
        [occupied(), added("1"), added("2")]
    );
    assert_eq!(stays.taken_after(GRACE).await.len(), 3, "2 was never gone");
    assert_eq!(other.taken(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_change_of_a_long_list_gives_up_nothing() {
    const MANY: usize = 20;
    let receiver = Receiver::start();
    let list = |version: &str| {
        let webhook = |number| {
            let url = receiver.url();
            format!(
                "[[apps.webhooks]]\nurl = '{url}/{number}'\nbatch_ms = 3000\nheaders = {{ X-List = '{version}' }}\n"
            )
        };
        app(&(0..MANY).map(webhook).collect::<String>())
    };
    let server = Server::with(&list("before")).await;
    let _one = View::join(&server, ROOM, "1").await;
    server.reload(&list("after")).await;
    until("every receiver of the list before is told", async || {
        let hits = receiver.hits();
        let before = hits.iter().filter(|hit| {
            hit.headers
                .get("x-list")
                .is_some_and(|list| list == "before")
        });
        let mut told: Vec<_> = before.map(|hit| hit.path.clone()).collect();
        told.sort();
        told.dedup();
        told.len() == MANY
    })
    .await;
}
