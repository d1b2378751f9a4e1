//! One server: order, outages, silence, passwords, TLS.

use std::time::{Duration, Instant};

use gema::bus::redis::{AskError, BACKLOG_BYTES, Happening, SETTLE};

use super::{A_WHILE, Node, plain, publication};
use crate::support::port::Port;
use crate::support::redis::Redis;
use crate::support::redis_tls::RedisTls;
use crate::support::until;

#[tokio::test]
async fn questions_and_publications_are_carried_out_in_the_order_of_the_calls() {
    let server = Redis::start().await;
    let mut node = Node::start(&server.url());
    node.up().await;
    node.listen("a").await;
    let mut answers = Vec::new();
    for number in 0..1_000 {
        node.publish("a", format!("{number}"));
        let set = plain(&["SET", "last", &number.to_string()]);
        answers.push(node.redis.ask("a", set));
        answers.push(node.redis.ask("a", plain(&["GET", "last"])));
        answers.push(node.redis.ask("a", publication("a", format!("{number}!"))));
    }
    for number in 0..1_000 {
        assert_eq!(node.message().await.1, format!("{number}"));
        assert_eq!(node.message().await.1, format!("{number}!"));
    }
    for (index, answer) in answers.into_iter().enumerate() {
        let value = answer.await.unwrap();
        if index % 3 == 1 {
            let number = (index / 3).to_string();
            assert_eq!(value, redis::Value::BulkString(number.into_bytes()));
        }
    }
}

#[tokio::test]
async fn scripts_run_and_what_they_publish_is_heard() {
    let server = Redis::start().await;
    let mut node = Node::start(&server.url());
    node.up().await;
    node.listen("a").await;
    assert_eq!(node.bump("a").await, 1);
    assert_eq!(node.bump("a").await, 2);
    assert_eq!(node.message().await, ("a".into(), "bumped".into()));
}

#[tokio::test]
async fn an_error_is_its_askers_alone() {
    let server = Redis::start().await;
    let mut node = Node::start(&server.url());
    node.up().await;
    let set = node.redis.ask("a", plain(&["SET", "a", "1"]));
    let wrong = node.redis.ask("a", plain(&["HGET", "a", "b"]));
    let get = node.redis.ask("a", plain(&["GET", "a"]));
    assert!(set.await.is_ok());
    let Err(AskError::Refused(why)) = wrong.await else {
        panic!("not refused");
    };
    assert!(why.starts_with("WRONGTYPE Operation"), "{why}");
    assert_eq!(get.await, Ok(redis::Value::BulkString(b"1".to_vec())));
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_anew() {
    let server = Redis::start().await;
    let mut node = Node::start(&server.url());
    node.up().await;
    assert_eq!(node.bump("a").await, 1);
    let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
    let refused = node.redis.ask("a", super::bump("a")).await;
    assert!(matches!(refused, Err(AskError::Refused(why)) if why.starts_with("NOSCRIPT")));
    node.down().await;
    node.up().await;
    assert_eq!(node.bump("a").await, 2);
}

#[tokio::test]
async fn after_an_outage_kept_publications_arrive_in_order_at_those_who_are_back() {
    let mut server = Redis::start().await;
    let (mut speaker, mut hearer) = (Node::start(&server.url()), Node::start(&server.url()));
    let link = speaker.up().await;
    hearer.up().await;
    hearer.listen("a").await;
    speaker.publish("a", "before");
    assert_eq!(hearer.message().await.1, "before");
    server.kill();
    assert_eq!(speaker.down().await.0, link);
    hearer.down().await;
    for number in 0..1_000 {
        speaker.publish("a", number.to_string());
    }
    let asked = speaker.redis.ask("a", plain(&["PING"])).await;
    assert_eq!(asked, Err(AskError::Away));
    assert!(!speaker.redis.is_up("a"));
    let why = speaker.redis.health().unwrap_err();
    assert!(why.starts_with("cut off from Redis for "), "{why}");
    until("refused", async || {
        let why = speaker.redis.health().unwrap_err();
        why.contains("refused")
    })
    .await;
    server.start_again().await;
    assert_eq!(speaker.up().await, link);
    let up = Instant::now();
    assert_eq!(speaker.redis.health(), Ok(()));
    // Late, but before the others are thought to be back.
    hearer.up().await;
    hearer.listen("a").await;
    speaker.publish("a", "1000");
    for number in 0..=1_000 {
        assert_eq!(hearer.message().await.1, number.to_string());
    }
    assert!(
        up.elapsed() > SETTLE - Duration::from_millis(50),
        "too early"
    );
    assert_eq!(speaker.redis.dropped(), 0);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_and_what_it_owed_is_sent_again() {
    let server = Redis::start().await;
    let (mut speaker, mut hearer) = (Node::start(&server.url()), Node::start(&server.url()));
    speaker.up().await;
    hearer.up().await;
    server.freeze();
    let since = Instant::now();
    let answer = speaker.redis.ask("a", plain(&["PING"]));
    speaker.publish("a", "1");
    assert_eq!(answer.await, Err(AskError::Away));
    let (_, why) = speaker.down().await;
    assert!(why.contains("no answer for 2 s"), "{why}");
    // Without a question of its own the other notices by its probe.
    hearer.down().await;
    assert!(since.elapsed() < Duration::from_secs(5));
    server.thaw();
    hearer.up().await;
    hearer.listen("a").await;
    assert_eq!(hearer.message().await.1, "1");
}

#[tokio::test]
async fn a_full_backlog_drops_the_oldest_and_counts_them() {
    let port = Port::free();
    let mut node = Node::start(&format!("redis://{}", port.address()));
    let text = "x".repeat(BACKLOG_BYTES / 8);
    for _ in 0..10 {
        node.publish("a", text.clone());
    }
    node.publish("a", "last");
    assert_eq!(node.redis.dropped(), 3);
    let server = Redis::on(port, &[]).await;
    node.up().await;
    node.listen("a").await;
    for _ in 0..7 {
        assert_eq!(node.message().await.1.len(), text.len());
    }
    assert_eq!(node.message().await.1, "last");
    drop(server);
}

#[tokio::test]
async fn a_user_with_a_password_gets_in_and_a_wrong_password_is_said_not_shown() {
    let user = "--user me on >hunter2 ~* &* +@all --user default off";
    let args: Vec<&str> = user.split(' ').collect();
    // `--user` takes the rest up to the next option as one line of the config.
    let server = Redis::with(&args).await;
    let mut good = Node::start(&format!("redis://me:hunter2@{}", server.address()));
    good.up().await;
    good.listen("a").await;
    let bad = Node::start(&format!("redis://me:hunter3@{}", server.address()));
    until("the password is refused", async || {
        bad.redis
            .health()
            .is_err_and(|why| why.contains("WRONGPASS invalid username-password pair"))
    })
    .await;
    assert!(!bad.redis.health().unwrap_err().contains("hunter"));
    assert!(!format!("{:?}", bad.redis).contains("hunter"));
    let none = Node::start(&server.url());
    until("a password is asked for", async || {
        none.redis.health().is_err_and(|why| why.contains("NOAUTH"))
    })
    .await;
}

#[tokio::test]
async fn publications_that_are_refused_are_counted() {
    let args = "--user me on nopass ~* &* +@all -publish --user default off";
    let args: Vec<&str> = args.split(' ').collect();
    let server = Redis::with(&args).await;
    let mut node = Node::start(&format!("redis://me:x@{}", server.address()));
    node.up().await;
    node.publish("a", "1");
    until("it is counted", async || node.redis.dropped() == 1).await;
    assert!(node.redis.is_up("a"));
}

#[tokio::test]
async fn tls_needs_a_certificate_that_is_believed() {
    let redis = RedisTls::start(&[]).await;
    let mut node = Node::start(&redis.url("127.0.0.1"));
    node.up().await;
    node.listen("a").await;
    node.publish("a", "1");
    assert_eq!(node.message().await.1, "1");
    let stranger = Node::start(&redis.url("localhost"));
    until("the name is refused", async || {
        let health = stranger.redis.health();
        health.is_err_and(|why| why.contains("TLS: invalid peer certificate"))
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let node = Node::start(&replica.url());
    until("it is refused", async || {
        let health = node.redis.health();
        health.is_err_and(|why| why.contains("replica"))
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_falls_too_far_behind_is_cut_off_and_begins_anew() {
    let server = Redis::with(&["--client-output-buffer-limit", "pubsub 0 0 0"]).await;
    let (mut speaker, mut hearer) = (Node::start(&server.url()), Node::start(&server.url()));
    speaker.up().await;
    hearer.up().await;
    hearer.listen("a").await;
    let payload = "x".repeat(1024 * 1024);
    let mut last = None;
    for _ in 0..70 {
        last = Some(speaker.redis.ask("a", publication("a", payload.clone())));
    }
    last.unwrap().await.unwrap();
    until("it is down", async || !hearer.redis.is_up("a")).await;
    let mut messages = 0;
    let why = loop {
        match hearer.next().await {
            Happening::Message { .. } => messages += 1,
            Happening::Down { why, .. } => break why,
            Happening::Up { .. } => panic!("up twice"),
            Happening::Mark(_) => panic!("nobody made a mark"),
        }
    };
    assert!((60..64).contains(&messages), "{messages}");
    assert!(why.contains("faster than they are read"), "{why}");
    hearer.up().await;
    hearer.listen("a").await;
    speaker.publish("a", "1");
    assert_eq!(hearer.message().await.1, "1");
}

#[tokio::test]
async fn with_the_last_handle_the_connections_end() {
    let server = Redis::start().await;
    let mut node = Node::start(&server.url());
    node.up().await;
    node.listen("a").await;
    let another = node.redis.clone();
    drop(node.redis);
    tokio::time::sleep(A_WHILE).await;
    let subscribers = async || {
        let (_, count): (String, u64) = server.command(&["PUBSUB", "NUMSUB", "a"]).await;
        count
    };
    assert_eq!(subscribers().await, 1);
    drop(another);
    until("nobody listens", async || subscribers().await == 0).await;
    assert_eq!(node.inbox.next().await, None);
}
