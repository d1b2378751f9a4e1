//! The chat: what is stored, who hears of it, who may read it, and what happens when it cannot be stored.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::authorizer::{config, token};
use crate::support::client::data;
use crate::support::database::{Database, Kind};
use crate::support::http::{Answer, Api};
use crate::support::port::Port;
use crate::support::{Client, Server, until};

/// A user's connection, in the channel where it hears of its messages.
async fn user(server: &Api, id: i64) -> Client {
    let mut client = server.client().await;
    let answer = client
        .subscribe_signed(&format!("private-chat.{id}"), None)
        .await;
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
    client
}

/// What Echo's `whisper` sends on the user's own channel.
async fn whisper(client: &mut Client, id: i64, event: &str, data: Value) {
    let channel = format!("private-chat.{id}");
    client
        .send(json!({ "event": format!("client-{event}"), "channel": channel, "data": data }))
        .await;
}

/// Sends a message and gives what its sender is told.
async fn send(client: &mut Client, from: i64, to: i64, content: &str) -> Value {
    let message = json!({ "receiver_id": to, "content": content });
    whisper(client, from, "send_message", message).await;
    data(&client.event("message_sent").await)
}

/// The code of the error that must be next.
async fn refused(client: &mut Client) -> String {
    let error = client.event("error").await;
    assert!(data(&error)["message"].is_string(), "{error}");
    crate::support::client::text_of(&data(&error)["code"])
}

async fn call(server: &Api, method: Method, path: &str, sub: &str) -> Answer {
    let request = server.http.request(method, server.url(path));
    let request = request.bearer_auth(token(json!({ "sub": sub })));
    Answer::of(request.send().await.unwrap()).await
}

/// The data of a list.
async fn list(server: &Api, path: &str, user: i64) -> Vec<Value> {
    let answer = call(server, Method::GET, path, &user.to_string()).await;
    let body = answer.json();
    assert_eq!(body["success"], true);
    body["data"].as_array().expect("a list").clone()
}

fn ids(list: &[Value]) -> Vec<i64> {
    list.iter()
        .map(|entry| entry["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_is_heard_by_its_receiver_and_confirmed_to_every_connection_of_its_sender() {
    let server = Server::with(&config("")).await;
    let claims = json!({
        "sub": 1, "name": "Ani", "photo_url": "https://x/1.png", "table_number": 12, "secret": "s",
    });
    let path = format!("/app/app-key?protocol=7&token={}", token(claims));
    let mut ani = Client::connect(server.address, &path).await;
    ani.subscribe_signed("private-chat.1", None).await;
    let (mut also_ani, mut budi) = (user(&server, 1).await, user(&server, 2).await);
    let message = json!({ "receiver_id": 2, "content": "Halo!", "client_id": "a-1" });
    whisper(&mut ani, 1, "send_message", message).await;

    let heard = budi.event("receive_message").await;
    assert_eq!(heard["channel"], "private-chat.2");
    let heard = data(&heard);
    let at = heard["created_at"].as_str().unwrap();
    assert!(at.len() == 20 && at.ends_with('Z'), "{at}");
    let sender = json!({ "name": "Ani", "photo_url": "https://x/1.png", "table_number": "12" });
    let expected = json!({
        "id": 1, "sender_id": 1, "receiver_id": 2, "content": "Halo!", "created_at": at, "sender": sender,
    });
    assert_eq!(heard, expected);
    let expected = json!({
        "id": 1, "receiver_id": 2, "content": "Halo!", "created_at": at, "client_id": "a-1",
    });
    for client in [&mut ani, &mut also_ani] {
        assert_eq!(data(&client.event("message_sent").await), expected);
        // And the whisper itself went nowhere.
        client.nothing_before_pong().await;
    }
}

#[tokio::test]
async fn a_sender_of_whom_nothing_is_known_has_no_profile() {
    let server = Server::with(&config("")).await;
    let (mut ani, mut budi) = (user(&server, 1).await, user(&server, 2).await);
    let sent = send(&mut ani, 1, 2, "Halo!").await;
    let heard = data(&budi.event("receive_message").await);
    let at = &sent["created_at"];
    let expected = json!({
        "id": sent["id"], "sender_id": 1, "receiver_id": 2, "content": "Halo!", "created_at": at,
    });
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn other_whispers_reach_the_others_and_only_the_users_own_channel_sends() {
    let server = Server::with(&config("")).await;
    let (mut ani, mut also_ani) = (user(&server, 1).await, user(&server, 1).await);
    whisper(&mut ani, 1, "typing", json!({})).await;
    also_ani.event("client-typing").await;
    // Two texts for one number would be two users with one inbox.
    for channel in ["private-chat.01", "private-chat.x", "private-other.1"] {
        ani.subscribe_signed(channel, None).await;
        also_ani.subscribe_signed(channel, None).await;
        let message = json!({ "receiver_id": 2, "content": "Halo!" });
        let event = json!({ "event": "client-send_message", "channel": channel, "data": message });
        ani.send(event).await;
        also_ani.event("client-send_message").await;
    }
    assert!(list(&server, "/api/chats/unread", 2).await.is_empty());
}

#[tokio::test]
async fn what_is_no_message_is_answered_with_a_code_and_nobody_hears_it() {
    let server = Server::with(&config("chat.content_chars = 5")).await;
    let (mut ani, mut budi) = (user(&server, 1).await, user(&server, 2).await);
    for (message, code) in [
        (json!({ "receiver_id": 2, "content": "" }), "empty"),
        (json!({ "receiver_id": 2, "content": " \n" }), "empty"),
        (json!({ "receiver_id": 2, "content": "ééééé!" }), "too_long"),
        (
            json!({ "receiver_id": 2, "content": "a\0b" }),
            "bad_request",
        ),
        (
            json!({ "receiver_id": "budi", "content": "a" }),
            "bad_request",
        ),
        (json!({ "receiver_id": 2.5, "content": "a" }), "bad_request"),
        (json!({ "content": "a" }), "bad_request"),
        (json!("a"), "bad_request"),
    ] {
        whisper(&mut ani, 1, "send_message", message.clone()).await;
        assert_eq!(refused(&mut ani).await, code, "{message}");
    }
    let long = json!({ "receiver_id": 2, "content": "a", "client_id": "x".repeat(65) });
    whisper(&mut ani, 1, "send_message", long).await;
    assert_eq!(refused(&mut ani).await, "bad_request");
    assert!(list(&server, "/api/chats/history/2", 1).await.is_empty());
    budi.nothing_before_pong().await;
    let at_the_limit = json!({ "receiver_id": "2", "content": "ééééé" });
    whisper(&mut ani, 1, "send_message", at_the_limit).await;
    budi.event("receive_message").await;
}

#[tokio::test]
async fn sending_again_what_was_sent_is_confirmed_to_that_sender_and_told_to_nobody_else() {
    let server = Server::with(&config("")).await;
    let (mut ani, mut also_ani) = (user(&server, 1).await, user(&server, 1).await);
    let mut budi = user(&server, 2).await;
    let message = json!({ "receiver_id": 2, "content": "Halo!", "client_id": "a" });
    whisper(&mut ani, 1, "send_message", message.clone()).await;
    let first = data(&ani.event("message_sent").await);
    whisper(&mut ani, 1, "send_message", message.clone()).await;
    assert_eq!(data(&ani.event("message_sent").await), first);
    also_ani.event("message_sent").await;
    also_ani.nothing_before_pong().await;
    budi.event("receive_message").await;
    budi.nothing_before_pong().await;
    // Another's message of that name is another message, and so is a name in other letters.
    whisper(&mut budi, 2, "send_message", message).await;
    budi.event("receive_message").await;
    let upper = json!({ "receiver_id": 2, "content": "Halo!", "client_id": "A" });
    whisper(&mut ani, 1, "send_message", upper).await;
    assert_ne!(data(&ani.event("message_sent").await)["id"], first["id"]);
}

#[tokio::test]
async fn only_its_receiver_marks_a_message_as_read_and_its_author_is_told_once() {
    let server = Server::with(&config("")).await;
    let (mut ani, mut budi) = (user(&server, 1).await, user(&server, 2).await);
    let id = send(&mut ani, 1, 2, "Halo!").await["id"].clone();
    budi.event("receive_message").await;
    whisper(&mut ani, 1, "mark_as_read", json!({ "message_id": id })).await;
    assert_eq!(refused(&mut ani).await, "not_yours");
    whisper(&mut budi, 2, "mark_as_read", json!({ "message_id": 999 })).await;
    assert_eq!(refused(&mut budi).await, "no_such_message");
    let path = format!("/api/chats/{id}/read");
    assert_eq!(call(&server, Method::PATCH, &path, "1").await.status, 403);
    let missing = call(&server, Method::PATCH, "/api/chats/999/read", "2").await;
    assert_eq!(missing.status, 404);

    whisper(&mut budi, 2, "mark_as_read", json!({ "message_id": id })).await;
    let read = ani.event("messege_read").await;
    assert_eq!(read["channel"], "private-chat.1");
    assert_eq!(data(&read), json!({ "message_id": id, "user_id": 2 }));
    let again = call(&server, Method::PATCH, &path, "2").await;
    assert_eq!(again.json(), json!({ "success": true }));
    ani.nothing_before_pong().await;
    budi.nothing_before_pong().await;
}

/// What lists show, on each kind of database.
async fn lists_show_messages_as_the_clients_expect_them(kind: Kind) {
    let database = Database::start(kind).await;
    let server = Server::with(&config(&database.setting())).await;
    // The database answers, but opening it with its tables made takes a while.
    until("the chat is open", async || {
        call(&server, Method::GET, "/api/chats", "1").await.status == 200
    })
    .await;
    let claims = json!({ "sub": "1", "name": "Añi 😀", "picture": "https://x/1.png" });
    let body = json!({ "socket_id": "1.2", "channel_name": "private-chat.1" });
    let request = server.http.post(server.url("/api/broadcasting/auth"));
    let request = request.bearer_auth(token(claims)).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let (mut ani, mut budi) = (user(&server, 1).await, user(&server, 2).await);
    let first = send(&mut ani, 1, 2, "satu 😀").await;
    let second = send(&mut ani, 1, 2, "dua").await;
    send(&mut ani, 1, 3, "kepada tiga").await;
    let heard = data(&budi.event("receive_message").await);
    assert_eq!(heard["sender"]["name"], "Añi 😀");
    budi.event("receive_message").await;
    let answer = send(&mut budi, 2, 1, "tiga").await;
    ani.event("receive_message").await;
    let to_myself = json!({ "receiver_id": 1, "content": "to myself" });
    whisper(&mut ani, 1, "send_message", to_myself).await;
    ani.event("receive_message").await;
    ani.event("message_sent").await;
    for (client_id, content) in [("x", "empat"), ("x", "empat")] {
        let message = json!({ "receiver_id": 1, "content": content, "client_id": client_id });
        whisper(&mut budi, 2, "send_message", message).await;
        budi.event("message_sent").await;
    }

    let history = list(&server, "/api/chats/history/2", 1).await;
    assert_eq!(history.len(), 4);
    assert_eq!(history, list(&server, "/api/chats/history/1", 2).await);
    let oldest = json!({
        "id": first["id"], "sender_id": 1, "receiver_id": 2, "content": "satu 😀", "is_read": false,
        "created_at": first["created_at"],
    });
    assert_eq!(history[3], oldest);
    let newest_first = ids(&history);
    assert!(newest_first.is_sorted_by(|a, b| a > b), "{newest_first:?}");
    let before = format!("/api/chats/history/2?limit=1&before={}", answer["id"]);
    assert_eq!(
        ids(&list(&server, &before, 1).await),
        [second["id"].as_i64().unwrap()]
    );
    let own = list(&server, "/api/chats/history/1", 1).await;
    assert_eq!(own.len(), 1, "a message to oneself is one");

    let unread = list(&server, "/api/chats/unread", 2).await;
    let expected = json!({
        "id": second["id"], "sender_id": 1, "receiver_id": 2, "content": "dua",
        "created_at": second["created_at"],
    });
    assert_eq!((unread.len(), &unread[0]), (2, &expected));
    let path = format!("/api/chats/{}/read", second["id"]);
    assert_eq!(call(&server, Method::PATCH, &path, "2").await.status, 200);
    assert_eq!(list(&server, "/api/chats/unread", 2).await.len(), 1);
    let history = list(&server, "/api/chats/history/2", 1).await;
    assert_eq!(history[2]["is_read"], true);

    let recent = list(&server, "/api/chats/", 2).await;
    assert_eq!(recent.len(), 1);
    let entry = json!({
        "user_id": 1, "username": "Añi 😀", "avatar": "https://x/1.png", "last_message": "empat",
        "last_message_time": recent[0]["last_message_time"], "last_message_id": newest_first[0],
        "unread_count": 1,
    });
    assert_eq!(recent[0], entry);
    let partners = |recent: &[Value]| {
        let pairs = recent.iter().map(|entry| {
            let of = |key: &str| entry[key].as_i64().unwrap();
            (of("user_id"), of("unread_count"))
        });
        pairs.collect::<Vec<_>>()
    };
    let recent = list(&server, "/api/chats", 1).await;
    assert_eq!(partners(&recent), [(2, 2), (1, 1), (3, 0)]);
    assert_eq!(recent[0]["username"], Value::Null);
    let rest = format!("/api/chats?limit=1&before={}", recent[0]["last_message_id"]);
    assert_eq!(partners(&list(&server, &rest, 1).await), [(1, 1)]);
}

#[tokio::test]
async fn lists_show_messages_as_the_clients_expect_them_on_sqlite() {
    lists_show_messages_as_the_clients_expect_them(Kind::Sqlite).await;
}

#[tokio::test]
async fn lists_show_messages_as_the_clients_expect_them_on_postgresql() {
    lists_show_messages_as_the_clients_expect_them(Kind::Postgres).await;
}

#[tokio::test]
async fn lists_show_messages_as_the_clients_expect_them_on_mariadb() {
    lists_show_messages_as_the_clients_expect_them(Kind::MariaDb).await;
}

#[tokio::test]
async fn who_may_not_read_gets_the_right_status_and_a_reason() {
    let server = Server::with(&config("")).await;
    let get = |path: &'static str, user: &'static str| call(&server, Method::GET, path, user);
    for (answer, status) in [
        (get("/api/chats", "ani").await, 403),
        (get("/api/chats/history/budi", "1").await, 400),
        (get("/api/chats?limit=many", "1").await, 400),
        (get("/api/chats/unread?before=x", "1").await, 400),
        (get("/api/chats?limit=100000", "1").await, 200),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text);
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(body["success"], status == 200);
        assert_eq!(body["error"].is_string(), status != 200);
    }
    let response = server.http.get(server.url("/api/chats")).send().await;
    assert_eq!(response.unwrap().status(), 401);

    let preflight = server
        .http
        .request(Method::OPTIONS, server.url("/api/chats/1/read"));
    let preflight = preflight
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "authorization");
    let response = preflight.send().await.unwrap();
    let methods = response.headers()["access-control-allow-methods"].to_str();
    assert!(methods.unwrap().contains("PATCH"));

    let off = Server::with(&config("chat.enabled = false")).await;
    let answer = call(&off, Method::GET, "/api/chats", "1").await;
    assert_eq!(answer.status, 404, "{}", answer.text);
}

#[tokio::test]
async fn without_its_database_the_sender_is_told_nobody_hears_it_and_broadcasting_goes_on() {
    let port = Port::free();
    let nobody = port.address();
    let database =
        format!("database = {{ url = 'postgres://{nobody}/x', acquire_timeout_ms = 100 }}");
    let server = Server::with(&config(&database)).await;
    let (mut ani, mut budi) = (user(&server, 1).await, user(&server, 2).await);
    whisper(
        &mut ani,
        1,
        "send_message",
        json!({ "receiver_id": 2, "content": "a" }),
    )
    .await;
    assert_eq!(refused(&mut ani).await, "away");
    let answer = call(&server, Method::GET, "/api/chats", "1").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(server.ready().await.status, 200);
    server.trigger("private-chat.2", "anything", "1").await;
    budi.event("anything").await;
}

#[tokio::test]
async fn a_message_that_was_refused_while_the_database_was_gone_is_taken_when_it_is_back() {
    let mut database = Database::start(Kind::Postgres).await;
    let toml = format!("{}acquire_timeout_ms = 300\n", database.setting());
    let server = Server::with(&config(&toml)).await;
    let mut ani = user(&server, 1).await;
    until("the chat is open", async || {
        call(&server, Method::GET, "/api/chats", "1").await.status == 200
    })
    .await;
    send(&mut ani, 1, 2, "before").await;
    database.kill();
    let during = json!({ "receiver_id": 2, "content": "during", "client_id": "d" });
    whisper(&mut ani, 1, "send_message", during.clone()).await;
    assert_eq!(refused(&mut ani).await, "away");
    database.start_again().await;
    until("the message is taken", async || {
        whisper(&mut ani, 1, "send_message", during.clone()).await;
        ani.next().await["event"] == "message_sent"
    })
    .await;
    let history = list(&server, "/api/chats/history/2", 1).await;
    let contents: Vec<_> = history.iter().map(|entry| &entry["content"]).collect();
    assert_eq!(contents, ["during", "before"]);
}

/// Also says how many messages a second that were, in a debug build: `--no-capture`.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_many_senders_at_once_are_all_stored_and_heard_in_the_order_of_their_ids() {
    const SENDERS: i64 = 50;
    const EACH: usize = 100;
    let database = Database::start(Kind::Sqlite).await;
    let toml = format!("limits.client_events_per_s = 0\n{}", database.setting());
    let server = Server::with(&config(&toml)).await;
    let mut receiver = user(&server, 0).await;
    let mut senders = Vec::new();
    for id in 1..=SENDERS {
        senders.push((id, user(&server, id).await));
    }
    let started = Instant::now();
    let sending = senders.into_iter().map(|(id, mut client)| {
        tokio::spawn(async move {
            for n in 0..EACH {
                send(&mut client, id, 0, &format!("{n}")).await;
            }
        })
    });
    let sending: Vec<_> = sending.collect();
    let mut heard = Vec::new();
    for _ in 0..SENDERS as usize * EACH {
        heard.push(data(&receiver.event("receive_message").await));
    }
    for sender in sending {
        sender.await.unwrap();
    }
    let rate = heard.len() as f64
        / started
            .elapsed()
            .max(Duration::from_millis(1))
            .as_secs_f64();
    println!("{} messages, {rate:.0} a second", heard.len());
    let order = ids(&heard);
    assert!(order.is_sorted_by(|a, b| a < b), "ids in another order");
    let unread = list(&server, "/api/chats", 0).await;
    let count = unread
        .iter()
        .map(|entry| entry["unread_count"].as_u64().unwrap());
    assert_eq!(count.sum::<u64>(), SENDERS as u64 * EACH as u64);
}
