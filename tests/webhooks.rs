//! Webhooks: every event arrives, once, in its channel's order, at those who asked for it, however the receiver behaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gema::apps::Apps;
use gema::config::Config;
use gema::webhooks::{Delivery, Event, Settings, Webhooks};
use gema_protocol::auth::sign_webhook;
use gema_protocol::channel::ChannelName;
use gema_protocol::socket_id::SocketId;
use serde_json::{Value, json};

use crate::support::receiver::{Down, OK, Receiver, Treat};
use crate::support::{DEADLINE, until};

const MS: Duration = Duration::from_millis(1);

/// No grace to speak of, and pauses of milliseconds.
fn quick() -> Settings {
    Settings {
        grace: MS,
        cache_miss_pause: Duration::from_secs(3600),
        first_retry: 2 * MS,
        longest_retry: 20 * MS,
        ..Settings::default()
    }
}

/// The webhooks of app 0, `more` being further keys of its only one, for this receiver.
fn start(receiver: &Receiver, more: &str, settings: Settings) -> (Arc<Webhooks>, Delivery) {
    start_at(&receiver.url(), more, settings)
}

fn start_at(url: &str, more: &str, settings: Settings) -> (Arc<Webhooks>, Delivery) {
    start_all(&app("one", &format!("url = '{url}'\n{more}")), settings)
}

fn start_all(toml: &str, settings: Settings) -> (Arc<Webhooks>, Delivery) {
    let config = Config::from_toml(toml).expect("the test's config is good");
    Webhooks::start(&Apps::new(config.apps), &settings, None).expect("an HTTP client")
}

fn app(name: &str, webhook: &str) -> String {
    format!(
        "[[apps]]\nid = '{name}'\nkey = '{name}-key'\nsecret = '{name}-secret'\n[[apps.webhooks]]\n{webhook}\n"
    )
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 200).expect("a name")
}

fn occupied(name: &str) -> Event {
    Event::ChannelOccupied {
        channel: channel(name),
    }
}

fn vacated(name: &str) -> Event {
    Event::ChannelVacated {
        channel: channel(name),
    }
}

fn added(name: &str, user_id: &str) -> Event {
    Event::MemberAdded {
        channel: channel(name),
        user_id: user_id.into(),
    }
}

fn removed(name: &str, user_id: &str) -> Event {
    Event::MemberRemoved {
        channel: channel(name),
        user_id: user_id.into(),
    }
}

fn count(name: &str, count: u32) -> Event {
    Event::SubscriptionCount {
        channel: channel(name),
        count,
    }
}

/// What `count` gives, as it arrives.
fn counted(name: &str, count: u32) -> Value {
    json!({ "name": "subscription_count", "channel": name, "subscription_count": count })
}

/// Emits `each` counts in every one of the channels, and gives their number back.
fn emit_counts(webhooks: &Webhooks, channels: &[&str], each: u32) -> usize {
    for number in 0..each {
        for name in channels {
            webhooks.emit(0, count(name, number));
        }
    }
    channels.len() * each as usize
}

/// Every channel's counts are there, from 0 up, each once.
fn assert_complete(taken: &[Value], channels: &[&str], each: u32) {
    let mut by_channel: HashMap<&str, Vec<u64>> = HashMap::new();
    for event in taken {
        let channel = event["channel"].as_str().unwrap();
        let count = event["subscription_count"].as_u64().unwrap();
        by_channel.entry(channel).or_default().push(count);
    }
    for channel in channels {
        let wanted: Vec<u64> = (0..u64::from(each)).collect();
        assert_eq!(by_channel[channel], wanted, "{channel}");
    }
}

#[tokio::test]
async fn a_request_is_signed_and_has_the_documented_form() {
    let mut receiver = Receiver::start();
    let headers = "headers = { Authorization = 'Bearer x', X-Site = 'booking' }";
    let (webhooks, _delivery) = start(&receiver, headers, quick());
    let event = Event::ClientEvent {
        channel: channel("presence-a"),
        event: "client-typing".to_owned(),
        data: Some(r#"{"by":"é"}"#.to_owned()),
        socket_id: SocketId { node: 1, number: 2 },
        user_id: Some("7".into()),
    };
    let before = unix_ms();
    webhooks.emit(0, event);
    receiver.has_taken(1).await;
    let hit = receiver.hits().remove(0);
    assert_eq!(hit.path, "/hook");
    assert_eq!(hit.headers["content-type"], "application/json");
    assert_eq!(hit.headers["x-pusher-key"], "one-key");
    let signature = sign_webhook("one-secret", hit.body.as_bytes());
    assert_eq!(hit.headers["x-pusher-signature"], signature);
    assert_eq!(hit.headers["authorization"], "Bearer x");
    assert_eq!(hit.headers["x-site"], "booking");
    let time_ms = hit.json()["time_ms"].as_u64().unwrap();
    assert!((before..=unix_ms()).contains(&time_ms));
    assert_eq!(
        hit.events(),
        [json!({
            "name": "client_event", "channel": "presence-a", "event": "client-typing",
            "data": "{\"by\":\"é\"}", "socket_id": "1.2", "user_id": "7",
        })]
    );
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

#[tokio::test]
async fn an_app_without_webhooks_wants_no_events() {
    let (webhooks, delivery) = start_all("", quick());
    assert!(!webhooks.wanted(0));
    webhooks.emit(0, occupied("a"));
    delivery.finish(DEADLINE).await;
}

#[tokio::test]
async fn a_receiver_that_is_down_for_a_while_loses_nothing_and_hears_nothing_twice() {
    let down = Down::new();
    let (webhooks, _delivery) = start_at(&down.url(), "", quick());
    let channels = ["a", "b", "c"];
    let all = emit_counts(&webhooks, &channels, 20);
    wait_for_failures(&webhooks, 10).await;
    let mut receiver = down.up(|_| OK);
    let taken = receiver.has_taken(all).await;
    assert_complete(&taken, &channels, 20);
    assert_eq!(receiver.hits().len(), all);
    assert_eq!(webhooks.totals().given_up, 0);
}

async fn wait_for_failures(webhooks: &Webhooks, count: u64) {
    until("failed attempts", async || {
        webhooks.totals().failed_attempts >= count
    })
    .await;
}

#[tokio::test]
async fn a_channels_order_survives_answers_of_500_resets_and_stalls() {
    let mut number = 0;
    let mut receiver = Receiver::that(move |_| {
        number += 1;
        match number % 20 {
            1 | 6 => Treat::Answer(500),
            3 => Treat::Answer(404),
            8 => Treat::Reset,
            11 => Treat::Stall,
            13 => Treat::Redirect,
            _ => Treat::Answer(204),
        }
    });
    let settings = Settings {
        patience: 100 * MS,
        ..quick()
    };
    let (webhooks, _delivery) = start(&receiver, "", settings);
    let channels = ["a", "b", "c", "d", "e"];
    let all = emit_counts(&webhooks, &channels, 20);
    // An answer may come too late for the sender, who then rightly sends again.
    let once = |receiver: &Receiver| without_repeats(receiver.taken());
    receiver
        .until("such number of events", |receiver| {
            once(receiver).len() >= all
        })
        .await;
    assert_complete(&once(&receiver), &channels, 20);
    let hits = receiver.hits();
    assert!(hits.iter().all(|hit| hit.path == "/hook"));
    let failed = webhooks.totals().failed_attempts as usize;
    assert!(hits.len() <= all + failed, "sent again without a failure");
}

/// Without the events that were sent again before the next one of their channel.
fn without_repeats(mut taken: Vec<Value>) -> Vec<Value> {
    let mut last = HashMap::new();
    taken.retain(|event| {
        let channel = event["channel"].to_string();
        last.insert(channel, event.clone()).as_ref() != Some(event)
    });
    taken
}

#[tokio::test]
async fn what_is_sent_again_is_the_same_request() {
    let mut left = 3;
    let mut receiver = Receiver::that(move |_| {
        left -= 1;
        if left > 0 { Treat::Answer(503) } else { OK }
    });
    let (webhooks, _delivery) = start(&receiver, "", quick());
    webhooks.emit(0, occupied("a"));
    receiver.has_taken(1).await;
    let hits = receiver.hits();
    assert_eq!(hits.len(), 3);
    for hit in &hits {
        assert_eq!(hit.body, hits[0].body);
        assert_eq!(
            hit.headers["x-pusher-signature"],
            hits[0].headers["x-pusher-signature"]
        );
    }
}

#[tokio::test]
async fn an_event_that_is_always_refused_holds_up_its_own_channel_only_and_is_given_up() {
    let refused = counted("bad", 0);
    let mut receiver = Receiver::that(move |body| {
        if body["events"][0] == refused {
            Treat::Answer(500)
        } else {
            OK
        }
    });
    let settings = Settings {
        give_up: Duration::from_secs(1),
        ..quick()
    };
    let (webhooks, _delivery) = start(&receiver, "", settings);
    webhooks.emit(0, count("bad", 0));
    webhooks.emit(0, count("bad", 1));
    for number in 0..50 {
        webhooks.emit(0, count("good", number));
    }
    let taken = receiver.has_taken(50).await;
    assert_complete(&taken, &["good"], 50);
    let taken = receiver.has_taken(51).await;
    assert_eq!(taken[50], counted("bad", 1));
    assert_eq!(webhooks.totals().given_up, 1);
}

#[tokio::test]
async fn a_stalled_receiver_is_asked_by_a_bounded_number_of_requests() {
    let mut receiver = Receiver::that(|_| Treat::Stall);
    let settings = Settings {
        in_flight: 3,
        patience: DEADLINE * 2,
        ..quick()
    };
    let (webhooks, delivery) = start(&receiver, "", settings);
    emit_counts(&webhooks, &["a", "b", "c", "d", "e", "f"], 5);
    receiver
        .until("three requests", |receiver| receiver.hits().len() == 3)
        .await;
    let began = Instant::now();
    delivery.finish(200 * MS).await;
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert_eq!(receiver.hits().len(), 3);
}

#[tokio::test]
async fn a_receiver_is_told_the_events_and_the_channels_it_asked_for() {
    let mut receiver = Receiver::start();
    let filters = "events = ['member_added', 'channel_vacated']\nchannel_prefix = 'presence-'";
    let (webhooks, delivery) = start(&receiver, filters, quick());
    for name in ["presence-a", "private-a"] {
        webhooks.emit(0, occupied(name));
        webhooks.emit(0, added(name, "7"));
        webhooks.emit(0, removed(name, "7"));
        webhooks.emit(0, vacated(name));
        webhooks.emit(0, count(name, 1));
    }
    delivery.finish(DEADLINE).await;
    assert_eq!(
        receiver.has_taken(2).await,
        [
            json!({ "name": "member_added", "channel": "presence-a", "user_id": "7" }),
            json!({ "name": "channel_vacated", "channel": "presence-a" }),
        ]
    );
    assert_eq!(receiver.hits().len(), 2);
}

#[tokio::test]
async fn two_apps_and_two_receivers_of_one_app_are_never_mixed() {
    let (one, two, slow) = (
        Receiver::start(),
        Receiver::start(),
        Receiver::that(|_| Treat::Stall),
    );
    let webhook = |receiver: &Receiver| format!("url = '{}'\nbatch_ms = 1", receiver.url());
    let second = format!("[[apps.webhooks]]\n{}\n", webhook(&slow));
    let toml = app("one", &webhook(&one)) + &second + &app("two", &webhook(&two));
    let (webhooks, delivery) = start_all(&toml, quick());
    for number in 0..20 {
        for (index, name) in [(0, "of-one"), (1, "of-two")] {
            webhooks.emit(index, count(name, number));
        }
    }
    delivery.finish(500 * MS).await;
    for (receiver, name) in [(&one, "one"), (&two, "two")] {
        let channel = format!("of-{name}");
        assert_complete(&receiver.taken(), &[&channel], 20);
        assert_eq!(receiver.taken().len(), 20);
        for hit in receiver.hits() {
            assert_eq!(hit.headers["x-pusher-key"], format!("{name}-key"));
            let signature = sign_webhook(&format!("{name}-secret"), hit.body.as_bytes());
            assert_eq!(hit.headers["x-pusher-signature"], signature);
        }
    }
    assert_eq!(slow.hits()[0].headers["x-pusher-key"], "one-key");
}

#[tokio::test]
async fn a_window_collects_the_events_of_all_channels_in_one_request() {
    let mut receiver = Receiver::start();
    let (webhooks, _delivery) = start(&receiver, "batch_ms = 200", quick());
    emit_counts(&webhooks, &["a", "b"], 3);
    let taken = receiver.has_taken(6).await;
    assert_complete(&taken, &["a", "b"], 3);
    assert_eq!(receiver.hits().len(), 1);
}

#[tokio::test]
async fn batches_keep_the_order_too_when_the_receiver_fails() {
    let mut number = 0;
    let mut receiver = Receiver::that(move |_| {
        number += 1;
        if number % 2 == 1 { Treat::Reset } else { OK }
    });
    let (webhooks, _delivery) = start(&receiver, "batch_ms = 1", quick());
    let all = emit_counts(&webhooks, &["a", "b"], 200);
    let taken = receiver.has_taken(all).await;
    assert_complete(&taken, &["a", "b"], 200);
}

#[tokio::test]
async fn who_comes_back_within_the_grace_was_never_gone() {
    let mut receiver = Receiver::start();
    let settings = Settings {
        grace: DEADLINE * 2,
        ..quick()
    };
    let (webhooks, _delivery) = start(&receiver, "", settings);
    for event in [
        occupied("presence-a"),
        added("presence-a", "7"),
        removed("presence-a", "7"),
        vacated("presence-a"),
        occupied("presence-a"),
        added("presence-a", "7"),
        count("presence-a", 1),
    ] {
        webhooks.emit(0, event);
    }
    assert_eq!(
        receiver.has_taken(3).await,
        [
            json!({ "name": "channel_occupied", "channel": "presence-a" }),
            json!({ "name": "member_added", "channel": "presence-a", "user_id": "7" }),
            counted("presence-a", 1),
        ]
    );
}

#[tokio::test]
async fn who_stays_away_is_told_after_the_grace_and_others_do_not_wait() {
    let mut receiver = Receiver::start();
    let settings = Settings {
        grace: 300 * MS,
        ..quick()
    };
    let (webhooks, _delivery) = start(&receiver, "", settings);
    let began = Instant::now();
    webhooks.emit(0, removed("presence-a", "7"));
    webhooks.emit(0, added("presence-a", "8"));
    let member =
        |name: &str, user: &str| json!({ "name": name, "channel": "presence-a", "user_id": user });
    assert_eq!(
        receiver.has_taken(2).await,
        [member("member_added", "8"), member("member_removed", "7")]
    );
    assert!(began.elapsed() >= settings.grace);
    webhooks.emit(0, added("presence-a", "7"));
    assert_eq!(receiver.has_taken(3).await[2], member("member_added", "7"));
}

#[tokio::test]
async fn a_receiver_of_departures_alone_is_not_told_of_those_who_came_back() {
    let receiver = Receiver::start();
    let settings = Settings {
        grace: DEADLINE * 2,
        ..quick()
    };
    let (webhooks, delivery) = start(&receiver, "events = ['channel_vacated']", settings);
    for event in [vacated("a"), vacated("b"), occupied("a")] {
        webhooks.emit(0, event);
    }
    delivery.finish(DEADLINE).await;
    let told = [json!({ "name": "channel_vacated", "channel": "b" })];
    assert_eq!(receiver.taken(), told);
}

#[tokio::test]
async fn one_miss_in_a_cache_channel_stands_for_those_of_all_who_subscribe_at_once() {
    let receiver = Receiver::start();
    let (webhooks, delivery) = start(&receiver, "", quick());
    for name in ["cache-a", "cache-a", "cache-b", "cache-a"] {
        let channel = channel(name);
        webhooks.emit(0, Event::CacheMiss { channel });
    }
    delivery.finish(DEADLINE).await;
    let mut told: Vec<String> = receiver.taken().iter().map(Value::to_string).collect();
    told.sort();
    let miss = |name: &str| json!({ "name": "cache_miss", "channel": name }).to_string();
    assert_eq!(told, [miss("cache-a"), miss("cache-b")]);
}

#[tokio::test]
async fn a_full_queue_drops_what_is_new_and_counts_it() {
    let down = Down::new();
    let settings = Settings {
        queue_events: 10,
        ..quick()
    };
    let (webhooks, _delivery) = start_at(&down.url(), "", settings);
    emit_counts(&webhooks, &["a"], 25);
    assert_eq!(webhooks.totals().overflowed, 15);
    let mut receiver = down.up(|_| OK);
    let taken = receiver.has_taken(10).await;
    assert_complete(&taken, &["a"], 10);
    until("an empty queue", async || webhooks.totals().delivered == 10).await;
    webhooks.emit(0, count("a", 99));
    assert_eq!(receiver.has_taken(11).await[10], counted("a", 99));
}

#[tokio::test]
async fn the_end_delivers_what_is_held_what_is_collected_and_what_failed() {
    let mut first = true;
    let receiver = Receiver::that(move |_| {
        if std::mem::take(&mut first) {
            Treat::Answer(500)
        } else {
            OK
        }
    });
    let settings = Settings {
        grace: DEADLINE * 2,
        first_retry: DEADLINE * 2,
        longest_retry: DEADLINE * 2,
        ..quick()
    };
    let (webhooks, delivery) = start(&receiver, "", settings);
    webhooks.emit(0, occupied("a"));
    wait_for_failures(&webhooks, 1).await;
    webhooks.emit(0, vacated("a"));
    let began = Instant::now();
    delivery.finish(DEADLINE).await;
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    let told =
        ["channel_occupied", "channel_vacated"].map(|name| json!({ "name": name, "channel": "a" }));
    assert_eq!(receiver.taken(), told);

    let receiver = Receiver::start();
    let (webhooks, delivery) = start(&receiver, "batch_ms = 60000", settings);
    webhooks.emit(0, occupied("a"));
    delivery.finish(DEADLINE).await;
    assert_eq!(receiver.taken().len(), 1);
}

/// App 0 as the file says, in force now.
fn put_in_force(apps: &Apps, webhooks: &Arc<Webhooks>, toml: &str) {
    let config = Config::from_toml(toml).expect("the test's config is good");
    apps.replace(config.apps);
    let app = apps.by_index(0).expect("an app");
    webhooks.set(&app).expect("an HTTP client");
}

/// A receiver that answers 500 until the switch is on.
fn switched() -> (Receiver, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = switch.clone();
    let receiver = Receiver::that(move |_| match is_on.load(Ordering::Relaxed) {
        true => OK,
        false => Treat::Answer(500),
    });
    (receiver, switch)
}

#[tokio::test]
async fn receivers_that_are_not_the_apps_any_more_still_get_what_waits_for_them() {
    let ((mut last, switch), mut next) = (switched(), Receiver::start());
    let apps = Apps::new(Vec::new());
    let (webhooks, _delivery) = Webhooks::start(&apps, &quick(), None).expect("an HTTP client");
    put_in_force(
        &apps,
        &webhooks,
        &app("one", &format!("url = '{}'", last.url())),
    );
    webhooks.emit(0, count("a", 1));
    last.until("attempt", |receiver| !receiver.hits().is_empty())
        .await;
    put_in_force(
        &apps,
        &webhooks,
        &app("one", &format!("url = '{}'", next.url())),
    );
    webhooks.emit(0, count("a", 2));
    assert_eq!(next.has_taken(1).await, [counted("a", 2)]);
    switch.store(true, Ordering::Relaxed);
    assert_eq!(last.has_taken(1).await, [counted("a", 1)]);
    webhooks.retire(0);
    assert!(!webhooks.wanted(0));
    webhooks.emit(0, count("a", 3));
    until("both are counted", async || {
        webhooks.totals().delivered == 2
    })
    .await;
}

#[tokio::test]
async fn a_changed_secret_signs_what_waits_and_the_queue_stays() {
    let (mut receiver, switch) = switched();
    let apps = Apps::new(Vec::new());
    let (webhooks, _delivery) = Webhooks::start(&apps, &quick(), None).expect("an HTTP client");
    let toml = app("one", &format!("url = '{}'", receiver.url()));
    put_in_force(&apps, &webhooks, &toml);
    webhooks.emit(0, count("a", 1));
    receiver
        .until("attempt", |receiver| !receiver.hits().is_empty())
        .await;
    put_in_force(&apps, &webhooks, &toml.replace("one-secret", "other"));
    switch.store(true, Ordering::Relaxed);
    assert_eq!(receiver.has_taken(1).await, [counted("a", 1)]);
    let hits = receiver.hits();
    let (first, taken) = (&hits[0], hits.last().expect("a hit"));
    assert_eq!(first.body, taken.body);
    let signature = |secret: &str| sign_webhook(secret, first.body.as_bytes());
    assert_eq!(first.headers["x-pusher-signature"], signature("one-secret"));
    assert_eq!(taken.headers["x-pusher-signature"], signature("other"));
}
