//! A node that dies, hangs or ends takes its members with it, exactly them, exactly once, and in time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::Api;
use crate::support::node::{LEASE, Node, app, member_of_cluster, settings};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server, until};

const ROOM: &str = "presence-room.1";

/// A dead node's members are gone this long after its death at most.
const NOTICED: Duration = LEASE.saturating_add(Duration::from_secs(2));

/// How long a returned node and the others may take to agree again.
const AGREED: Duration = Duration::from_secs(3);

/// Longer than an absence is held back, and than the next look for dead nodes is away: what is told twice has been
/// told twice by then.
const GRACE: Duration = Duration::from_secs(5);

/// The app of a cluster that tells `receiver` who comes and goes.
fn telling(receiver: &Receiver) -> String {
    let url = receiver.url();
    app(&format!("[[apps.webhooks]]\nurl = '{url}'"))
}

async fn join_all(node: &Api, ids: &[&str]) -> Vec<View> {
    let mut views = Vec::new();
    for id in ids {
        views.push(View::join(node, ROOM, id).await);
    }
    views
}

fn removed(user: &str) -> Value {
    json!({ "name": "member_removed", "channel": ROOM, "user_id": user })
}

fn count(events: &[Value], wanted: &Value) -> usize {
    events.iter().filter(|event| *event == wanted).count()
}

#[tokio::test]
async fn what_killed_nodes_held_is_gone_everywhere_in_time_and_told_once() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let toml = telling(&receiver);
    let staying: [Server; 2] = [
        member_of_cluster(&redis.url(), &toml).await,
        member_of_cluster(&redis.url(), &toml).await,
    ];
    let toml = settings(&redis.url(), &toml);
    let mut dying = [Node::start(&toml).await, Node::start(&toml).await];
    let mut watchers = vec![
        View::join(&staying[0], ROOM, "w0").await,
        View::join(&staying[1], ROOM, "w1").await,
    ];
    // "both" is on both nodes that will die, "here" also on one that will not.
    let _doomed = (
        join_all(&dying[0], &["p1", "both", "here"]).await,
        join_all(&dying[1], &["p2", "both"]).await,
    );
    let _here = View::join(&staying[0], ROOM, "here").await;
    let mut lonely = dying[0].client().await;
    lonely.subscribe("only-there").await;
    let deadline = Instant::now() + DEADLINE;
    let all = users(["w0", "w1", "p1", "p2", "both", "here"]);
    for watcher in &mut watchers {
        watcher.agrees(&all, deadline).await;
    }

    for node in &mut dying {
        node.kill();
    }
    let deadline = Instant::now() + NOTICED;
    let left = users(["w0", "w1", "here"]);
    for (watcher, node) in watchers.iter_mut().zip(&staying) {
        watcher.agrees(&left, deadline).await;
        node.agrees(ROOM, &left, deadline).await;
        let answer = node.get("/apps/app-id/channels", "").await;
        assert_eq!(answer.json(), json!({ "channels": { ROOM: {} } }));
    }

    let vacated = json!({ "name": "channel_vacated", "channel": "only-there" });
    let gone = ["p1", "p2", "both"];
    receiver
        .until("webhooks of those who are gone", |receiver| {
            let told = receiver.taken();
            let all = gone.iter().all(|user| told.contains(&removed(user)));
            all && told.contains(&vacated)
        })
        .await;
    let told = receiver.taken_after(GRACE).await;
    assert_eq!(count(&told, &vacated), 1, "{told:#?}");
    for user in gone {
        assert_eq!(count(&told, &removed(user)), 1, "{user}: {told:#?}");
    }
    let absences = ["member_removed", "channel_vacated"];
    let all = told
        .iter()
        .filter(|event| absences.contains(&event["name"].as_str().unwrap()));
    assert_eq!(all.count(), 4, "{told:#?}");
    for watcher in &mut watchers {
        watcher.catch_up().await;
        for user in gone {
            assert_eq!(watcher.removals(user), 1, "{user}");
        }
        assert_eq!(watcher.removals("here"), 0);
    }
}

#[tokio::test]
async fn a_node_that_hung_longer_than_its_lease_comes_back_with_its_members() {
    let redis = Redis::start().await;
    let staying = member_of_cluster(&redis.url(), "").await;
    let hanging = Node::start(&settings(&redis.url(), "")).await;
    let mut watcher = View::join(&staying, ROOM, "w").await;
    let mut theirs = join_all(&hanging, &["p1", "p2"]).await;
    let all = users(["w", "p1", "p2"]);
    watcher.agrees(&all, Instant::now() + DEADLINE).await;
    theirs[0].agrees(&all, Instant::now() + DEADLINE).await;

    hanging.freeze();
    let deadline = Instant::now() + NOTICED;
    watcher.agrees(&users(["w"]), deadline).await;
    staying.agrees(ROOM, &users(["w"]), deadline).await;
    let _joiner = View::join(&staying, ROOM, "j").await;

    hanging.thaw();
    let deadline = Instant::now() + AGREED;
    let all = users(["w", "j", "p1", "p2"]);
    watcher.agrees(&all, deadline).await;
    staying.agrees(ROOM, &all, deadline).await;
    hanging.agrees(ROOM, &all, deadline).await;
    for view in &mut theirs {
        view.agrees(&all, deadline).await;
        // They have been there all the time, and so has the watcher.
        for user in ["w", "p1", "p2"] {
            assert_eq!(view.removals(user), 0, "{user} for {}", view.user);
        }
    }
    for user in ["p1", "p2"] {
        assert_eq!((watcher.removals(user), watcher.additions(user)), (1, 2));
    }
    // What is still done about the dead node does not touch it: it has another name.
    until("the registry has it by its second name alone", async || {
        let nodes: Vec<u64> = redis.command(&["ZRANGE", "gema:{nodes}", "0", "-1"]).await;
        nodes.len() == 2 && nodes.iter().any(|node| node & 0xffff == 1)
    })
    .await;
    // It is a member of the cluster like any other again.
    hanging.trigger(ROOM, "n", "1").await;
    watcher.client.event("n").await;
    staying.trigger(ROOM, "m", "1").await;
    theirs[0].client.event("n").await;
    theirs[0].client.event("m").await;
}

#[tokio::test]
async fn the_members_of_a_node_that_ends_move_without_leaving_a_ghost() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let toml = format!("[server]\nshutdown_grace_s = 1\n{}", telling(&receiver));
    let staying = member_of_cluster(&redis.url(), &toml).await;
    let mut ending = Node::start(&settings(&redis.url(), &toml)).await;
    let mut watcher = View::join(&staying, ROOM, "w").await;
    let ids = ["p1", "p2", "p3", "p4", "goes"];
    let theirs = join_all(&ending, &ids).await;
    let mut all = users(ids);
    all.insert("w".into());
    watcher.agrees(&all, Instant::now() + DEADLINE).await;

    ending.terminate();
    let mut moved = Vec::new();
    for mut view in theirs {
        assert_eq!(view.client.close_code().await, Some(4200));
        view.client.vanish();
        if view.user != "goes" {
            moved.push(View::join(&staying, ROOM, &view.user).await);
        }
    }
    all.remove("goes");
    ending.ended().await;
    let deadline = Instant::now() + AGREED;
    watcher.agrees(&all, deadline).await;
    staying.agrees(ROOM, &all, deadline).await;
    for view in &mut moved {
        view.agrees(&all, deadline).await;
    }
    // The back end hears of the one who is gone, and of nobody who came back.
    receiver
        .until("webhook of the one who is gone", |receiver| {
            receiver.taken().contains(&removed("goes"))
        })
        .await;
    let told = receiver.taken_after(GRACE).await;
    let absences: Vec<_> = told
        .iter()
        .filter(|event| event["name"] == "member_removed")
        .collect();
    assert_eq!(absences, [&removed("goes")]);
    assert_eq!(watcher.removals("goes"), 1);
}

#[tokio::test]
async fn a_node_that_died_while_redis_was_away_leaves_no_ghost() {
    let mut redis = Redis::start().await;
    let staying = member_of_cluster(&redis.url(), "").await;
    let mut dying = Node::start(&settings(&redis.url(), "")).await;
    let mut watcher = View::join(&staying, ROOM, "w").await;
    let _theirs = join_all(&dying, &["p1", "p2"]).await;
    let all = users(["w", "p1", "p2"]);
    watcher.agrees(&all, Instant::now() + DEADLINE).await;
    redis.kill();
    until("it is cut off", async || {
        staying.ready().await.status == 503
    })
    .await;
    dying.kill();
    redis.start_again().await;
    let deadline = Instant::now() + AGREED;
    watcher.agrees(&users(["w"]), deadline).await;
    staying.agrees(ROOM, &users(["w"]), deadline).await;
    assert_eq!((watcher.removals("p1"), watcher.removals("p2")), (1, 1));
}
