//! The plain door: JSON over WebSocket, for clients that know no Pusher protocol.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::authorizer::{config, token};
use crate::support::client::data;
use crate::support::{Client, Raw, Server, until};

fn user(id: u32, rooms: &[&str]) -> String {
    token(json!({ "sub": id, "name": format!("User {id}"), "rooms": rooms }))
}

fn path(id: u32, rooms: &[&str]) -> String {
    format!("/ws?token={}", user(id, rooms))
}

/// A client of this door who is joined to its channels.
async fn enter(server: &Server, id: u32, rooms: &[&str]) -> Client {
    let mut client = Client::open(server.address, &path(id, rooms), |_| {}).await;
    settled(&mut client).await;
    client
}

/// Proves that nothing was due before: the answer to a ping is the next message.
async fn settled(client: &mut Client) -> Value {
    client.send(json!({ "type": "ping", "data": {} })).await;
    told(client, "pong").await
}

/// The next message, which must be of this type.
async fn told(client: &mut Client, kind: &str) -> Value {
    let message = client.next().await;
    assert_eq!(message["type"], kind, "{message}");
    message
}

/// The code of the error that is next.
async fn refused(client: &mut Client, message: Value) -> String {
    client.send(message).await;
    let error = told(client, "error").await;
    assert!(error["data"]["message"].is_string(), "{error}");
    crate::support::client::text_of(&error["data"]["code"])
}

async fn subscribe(client: &mut Client, channel: &str) -> Value {
    let data = json!({ "channel": channel });
    client
        .send(json!({ "type": "subscribe", "data": data }))
        .await;
    let answer = told(client, "subscription_succeeded").await;
    assert_eq!(answer["channel"], channel);
    answer
}

/// The status with which a handshake is refused; `None` when it is not.
async fn status(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Option<u16> {
    let url = format!("ws://{}{path}", server.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let tcp = TcpStream::connect(server.address).await.unwrap();
    match tokio_tungstenite::client_async(request, tcp).await {
        Ok(_) => None,
        Err(Error::Http(response)) => Some(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn who_may_not_come_in_is_told_by_the_status_before_the_upgrade() {
    let origins = "[[apps]]\nid = \"a\"\nkey = \"k\"\nsecret = \"s\"\n\
                   allowed_origins = [\"http://localhost:3000\"]";
    let server = Server::with(&config(origins)).await;
    let token = user(7, &[]);
    let (good, bearer) = (format!("/ws?token={token}"), format!("Bearer {token}"));
    for (path, headers, expected) in [
        ("/ws", vec![], Some(401)),
        ("/ws?token=", vec![], Some(401)),
        ("/ws?token=x.y.z", vec![], Some(401)),
        ("/ws", vec![("authorization", "Bearer x")], Some(401)),
        ("/ws", vec![("authorization", bearer.as_str())], None),
        (&good, vec![], None),
        ("/ws/?a=b", vec![("authorization", &bearer)], None),
        (&good, vec![("origin", "http://localhost:3000")], None),
        (&good, vec![("origin", "https://evil.test")], Some(403)),
        ("/socket", vec![("authorization", &bearer)], Some(404)),
        ("/ws/more", vec![("authorization", &bearer)], Some(404)),
    ] {
        assert_eq!(
            status(&server, path, &headers).await,
            expected,
            "{path} {headers:?}"
        );
    }
    let plain = server.http.get(server.url(&good)).send().await.unwrap();
    assert_eq!(plain.status(), 426);
    let without = server.http.get(server.url("/ws")).send().await.unwrap();
    assert_eq!(without.status(), 401);
    let said: Value = serde_json::from_str(&without.text().await.unwrap()).unwrap();
    assert_eq!(said["success"], false);
}

#[tokio::test]
async fn too_many_handshakes_a_second_are_told_to_come_later() {
    let server = Server::with(&config("limits.handshakes_per_s = 1")).await;
    let good = path(7, &[]);
    until("one too many", async || {
        status(&server, &good, &[]).await == Some(429)
    })
    .await;
}

#[tokio::test]
async fn a_place_is_given_back_when_its_client_has_gone_and_a_full_server_says_503() {
    let server = Server::with(&config("limits.max_connections = 1")).await;
    let client = enter(&server, 7, &[]).await;
    assert_eq!(status(&server, &path(8, &[]), &[]).await, Some(503));
    client.vanish();
    until("a free place", async || {
        status(&server, &path(8, &[]), &[]).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_door_that_is_closed_is_not_there() {
    let server = Server::with(&config("gateways.plain_path = \"\"")).await;
    assert_eq!(status(&server, &path(7, &[]), &[]).await, Some(404));
    let server = Server::with(&config("gateways.plain_path = \"/live/ws\"")).await;
    let elsewhere = path(7, &[]).replace("/ws", "/live/ws");
    assert_eq!(status(&server, &elsewhere, &[]).await, None);
}

#[tokio::test]
async fn a_ping_is_answered_as_the_guide_has_it() {
    let server = Server::with(&config("")).await;
    let mut client = enter(&server, 7, &[]).await;
    let pong = settled(&mut client).await;
    assert_eq!(pong["data"], Value::Null);
    let keys: Vec<_> = pong.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["data", "id", "timestamp", "type"]);
    let timestamp = crate::support::client::text_of(&pong["timestamp"]);
    assert!(
        timestamp.len() == 20 && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    let id = crate::support::client::text_of(&pong["id"]);
    let lengths: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert_eq!(&id[14..15], "4", "{id}");
    assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
}

#[tokio::test]
async fn events_of_a_back_end_arrive_with_their_data_as_json() {
    let server = Server::with(&config("")).await;
    let mut client = enter(&server, 7, &[]).await;
    subscribe(&mut client, "news").await;
    for (sent, shown) in [
        (r#"{ "n": 1 }"#, json!({ "n": 1 })),
        ("plain words", json!("plain words")),
        ("7", json!(7)),
        ("", json!("")),
    ] {
        server.trigger("news", r"App\Events\New", sent).await;
        let event = told(&mut client, r"App\Events\New").await;
        assert_eq!(
            (&event["data"], &event["channel"]),
            (&shown, &json!("news"))
        );
    }
    let leave = json!({ "type": "unsubscribe", "data": { "channel": "news" } });
    client.send(leave.clone()).await;
    settled(&mut client).await;
    server.trigger("news", "late", "{}").await;
    settled(&mut client).await;
    assert_eq!(refused(&mut client, leave).await, "not_joined");
}

#[tokio::test]
async fn a_chat_message_arrives_flat_without_what_is_not_known_of_the_sender() {
    let server = Server::with(&config("")).await;
    let mut client = enter(&server, 5, &[]).await;
    let channel = "private-chat.5";
    let known = json!({
        "id": 1, "sender_id": 10, "receiver_id": 5, "content": "Halo \"Ani\"",
        "created_at": "2025-06-05T12:00:00Z",
        "sender": { "name": "Andi", "photo_url": "/a.jpg", "table_number": "03" },
    });
    server
        .trigger(channel, "receive_message", &known.to_string())
        .await;
    let whole = json!({
        "sender_id": 10, "sender_name": "Andi", "sender_photo_url": "/a.jpg",
        "sender_table_number": "03", "text": "Halo \"Ani\"",
    });
    assert_eq!(client.next().await, whole);
    let unknown = json!({ "id": 2, "sender_id": 10, "receiver_id": 5, "content": "Bro" });
    server
        .trigger(channel, "receive_message", &unknown.to_string())
        .await;
    assert_eq!(
        client.next().await,
        json!({ "sender_id": 10, "text": "Bro" })
    );
    // A back end's own event of that name is no chat message.
    server
        .trigger(channel, "receive_message", r#"{"any":1}"#)
        .await;
    assert_eq!(
        told(&mut client, "receive_message").await["data"],
        json!({ "any": 1 })
    );
    server.trigger(channel, "message_sent", r#"{"id":3}"#).await;
    assert_eq!(told(&mut client, "message_sent").await["channel"], channel);
}

#[tokio::test]
async fn typing_is_told_to_the_others_in_the_room_whatever_they_speak() {
    let server = Server::with(&config("")).await;
    let mut pusher = server.client().await;
    pusher.join("presence-room.a", "1").await;
    let mut ani = enter(&server, 7, &["a"]).await;
    let mut budi = enter(&server, 8, &["a"]).await;
    let typing = |kind: &str| json!({ "type": kind, "data": { "room_id": "a" } });

    ani.send(typing("typing_start")).await;
    // The first of it enters the room, and is told who is there.
    let room = told(&mut ani, "subscription_succeeded").await;
    assert_eq!(room["data"]["presence"]["ids"], json!(["1", "7"]));
    let added = pusher.event("pusher_internal:member_added").await;
    assert_eq!(data(&added)["user_info"]["name"], "User 7");
    let started = pusher.event("client-typing_start").await;
    assert_eq!(data(&started), json!({ "room_id": "a", "user_id": 7 }));
    assert_eq!(started["user_id"], "7");

    budi.send(typing("typing_stop")).await;
    told(&mut budi, "subscription_succeeded").await;
    assert_eq!(told(&mut ani, "member_added").await["data"]["user_id"], "8");
    let stopped = told(&mut ani, "typing_stop").await;
    assert_eq!(stopped["data"], json!({ "room_id": "a", "user_id": 8 }));
    assert_eq!(stopped["channel"], "presence-room.a");
    settled(&mut budi).await;
    budi.vanish();
    assert_eq!(
        told(&mut ani, "member_removed").await["data"]["user_id"],
        "8"
    );

    let whisper =
        json!({ "event": "client-wave", "channel": "presence-room.a", "data": { "n": 1 } });
    pusher.send(whisper).await;
    assert_eq!(told(&mut ani, "wave").await["data"], json!({ "n": 1 }));
}

#[tokio::test]
async fn a_room_is_for_those_whom_the_rules_let_in() {
    let server = Server::with(&config("")).await;
    let mut client = enter(&server, 7, &["a"]).await;
    let typing = json!({ "type": "typing_start", "data": { "room_id": "b" } });
    assert_eq!(refused(&mut client, typing).await, "forbidden");
    for channel in [
        "presence-room.b",
        "private-chat.8",
        "private-admin",
        "#server-to-user-8",
    ] {
        let ask = json!({ "type": "subscribe", "data": { "channel": channel } });
        assert_eq!(refused(&mut client, ask).await, "forbidden", "{channel}");
    }
    let ask = json!({ "type": "subscribe", "data": { "channel": "no such name" } });
    assert_eq!(refused(&mut client, ask).await, "bad_request");
    let again = json!({ "type": "subscribe", "data": { "channel": "private-chat.7" } });
    assert_eq!(refused(&mut client, again).await, "joined");
}

#[tokio::test]
async fn a_status_is_told_in_the_rooms_shared_and_the_invisible_are_offline() {
    let server = Server::with(&config("")).await;
    let mut ani = enter(&server, 7, &["a", "b"]).await;
    let mut budi = enter(&server, 8, &["a"]).await;
    let mut citra = enter(&server, 9, &["b"]).await;
    subscribe(&mut budi, "presence-room.a").await;
    subscribe(&mut citra, "presence-room.b").await;
    for room in ["presence-room.a", "presence-room.b"] {
        subscribe(&mut ani, room).await;
    }
    for other in [&mut budi, &mut citra] {
        told(other, "member_added").await;
    }
    let change =
        |status: &str| json!({ "type": "user_status_change", "data": { "status": status } });
    for (status, shown) in [
        ("away", "away"),
        ("invisible", "offline"),
        ("online", "online"),
    ] {
        ani.send(change(status)).await;
        for (other, room) in [
            (&mut budi, "presence-room.a"),
            (&mut citra, "presence-room.b"),
        ] {
            let told = told(other, "user_status_change").await;
            assert_eq!(told["data"], json!({ "user_id": 7, "status": shown }));
            assert_eq!(told["channel"], room);
        }
    }
    assert_eq!(refused(&mut ani, change("asleep")).await, "bad_request");
    settled(&mut budi).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_and_nothing_ends() {
    let server = Server::with(&config("")).await;
    let mut client = enter(&server, 7, &[]).await;
    for text in ["hello", "[]", "{}", r#"{"type":"typing_start"}"#] {
        client.send_text(text).await;
        let error = told(&mut client, "error").await;
        assert_eq!(error["data"]["code"], "bad_request", "{text}");
    }
    let dance = json!({ "type": "dance", "data": {} });
    assert_eq!(refused(&mut client, dance).await, "unknown_type");
    settled(&mut client).await;
}

#[tokio::test]
async fn who_says_too_much_is_told_so_and_who_goes_on_is_sent_away() {
    let server = Server::with(&config("limits.client_events_per_s = 2")).await;
    let mut client = enter(&server, 7, &["a"]).await;
    subscribe(&mut client, "presence-room.a").await;
    let typing = json!({ "type": "typing_start", "data": { "room_id": "a" } });
    let since = Instant::now();
    for _ in 0..2 {
        client.send(typing.clone()).await;
    }
    assert_eq!(refused(&mut client, typing.clone()).await, "rate");
    settled(&mut client).await;
    let code = loop {
        client.send(typing.clone()).await;
        if let Err(code) = client.next_or_close().await {
            break code;
        }
    };
    assert_eq!(code, Some(1008));
    // Twenty refusals a second are answered, and two typings a second are not refused.
    assert!(since.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn connections_end_with_the_codes_of_the_guide() {
    let mut server = Server::with(&config(
        "limits.message_bytes = 1000\nserver.shutdown_grace_s = 1",
    ))
    .await;
    let good = path(7, &[]);
    let closed = async |bytes: Vec<u8>| {
        let mut raw = Raw::upgrade(server.address, &good).await;
        raw.write(&bytes).await;
        let rest = raw.rest().await;
        let close = rest.iter().position(|byte| *byte == 0x88).unwrap();
        u16::from_be_bytes([rest[close + 2], rest[close + 3]])
    };
    let normal = 1000u16.to_be_bytes();
    for (bytes, code) in [
        (Raw::frame(0x88, &normal), 1000),
        (vec![0x81, 0x00], 1002),
        (Raw::frame(0x82, b"{}"), 1003),
        (Raw::frame(0x81, &[0xff]), 1007),
        (Raw::frame(0x81, &[b' '; 1001]), 1009),
    ] {
        assert_eq!(closed(bytes).await, code);
    }

    let mut sent_away = enter(&server, 7, &[]).await;
    let end = "/apps/app-id/users/7/terminate_connections";
    assert_eq!(server.post(end, "{}").await.status, 200);
    assert_eq!(sent_away.next_or_close().await, Err(Some(1008)));

    let mut last = enter(&server, 8, &[]).await;
    server.begin_shutdown();
    assert_eq!(last.next_or_close().await, Err(Some(1001)));
    last.vanish();
    drop(sent_away);
    server.ended().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_its_place_given_back() {
    let limits =
        "[limits]\noutbox_bytes = 3000000\nevent_data_bytes = 1100000\nrequest_bytes = 2000000";
    let server = Server::with(&config(limits)).await;
    let mut slow = Raw::upgrade(server.address, &path(7, &[])).await;
    let ask = br#"{"type":"subscribe","data":{"channel":"a"}}"#;
    slow.write(&Raw::frame(0x81, ask)).await;
    slow.through("subscription_succeeded").await;
    let padding = "x".repeat(1_000_000);
    let count = async || {
        let info = server.get("/apps/app-id/channels/a", "info=subscription_count");
        info.await.json()["subscription_count"].clone()
    };
    until("the slow one has gone", async || {
        server
            .trigger("a", "n", &format!(r#"{{"p":"{padding}"}}"#))
            .await;
        count().await != 1
    })
    .await;
    drop(slow);
}

#[tokio::test]
async fn one_who_is_silent_is_pinged_and_one_who_answers_stays() {
    let server = Server::with(&config(
        "[limits]\nactivity_timeout_s = 1\npong_timeout_s = 1",
    ))
    .await;
    let mut mute = Raw::upgrade(server.address, &path(7, &[])).await;
    let mut alive = enter(&server, 8, &[]).await;
    // tungstenite answers pings while it reads; this one never does.
    let (rest, still) = tokio::join!(mute.rest(), async {
        tokio::time::timeout(std::time::Duration::from_secs(4), alive.next_or_close()).await
    });
    assert_eq!(rest.first(), Some(&0x89), "{rest:?}");
    assert!(still.is_err(), "{still:?}");
    settled(&mut alive).await;
}
