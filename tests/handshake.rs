//! Connecting: the greeting, the refusals that come after the upgrade, and requests that are no handshake.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::client::data;
use crate::support::http::Answer;
use crate::support::{Client, Raw, Server, until};

/// What a refused client sees: the error event, then the close code.
async fn refusal(server: &Server, path: &str) -> (Value, Option<u16>) {
    let mut client = Client::open(server.address, path, |_| {}).await;
    let error = client.event("pusher:error").await;
    (error["data"]["code"].clone(), client.close_code().await)
}

#[tokio::test]
async fn the_greeting_has_a_unique_socket_id_and_the_activity_timeout() {
    let server = Server::start().await;
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let mut client = Client::open(server.address, "/app/app-key?protocol=7", |_| {}).await;
        let hello = client.event("pusher:connection_established").await;
        assert!(hello["data"].is_string());
        let hello = data(&hello);
        assert_eq!(hello["activity_timeout"], 120);
        let id = hello["socket_id"].as_str().unwrap().to_owned();
        let (node, number) = id.split_once('.').unwrap();
        assert!(node.parse::<u64>().is_ok() && number.parse::<u64>().is_ok());
        assert!(ids.insert(id));
    }
}

#[tokio::test]
async fn protocols_4_to_7_and_none_at_all_are_welcome() {
    let server = Server::start().await;
    for query in [
        "?protocol=4",
        "?protocol=5",
        "?protocol=6&x=y",
        "?protocol=7",
        "",
        "?",
    ] {
        Client::connect(server.address, &format!("/app/app-key{query}")).await;
    }
}

#[tokio::test]
async fn a_refusal_is_told_after_the_upgrade_by_event_and_close_code() {
    let server = Server::with(
        r#"
        [[apps]]
        id = "off"
        key = "off-key"
        secret = "s"
        enabled = false
        [[apps]]
        id = "small"
        key = "small-key"
        secret = "s"
        max_connections = 1
        [[apps]]
        id = "home"
        key = "home-key"
        secret = "s"
        allowed_origins = ["https://*.example.com"]
        "#,
    )
    .await;
    let _first = Client::connect(server.address, "/app/small-key").await;
    for (path, code) in [
        ("/app/unknown", 4001),
        ("/app/off-key", 4003),
        ("/app/small-key", 4004),
        ("/app/", 4005),
        ("/app/off-key/more", 4005),
        ("/nowhere/app/off-key", 4005),
        ("/app/small-key?protocol=seven", 4006),
        ("/app/small-key?protocol=3", 4007),
        ("/app/small-key?protocol=8", 4007),
    ] {
        assert_eq!(
            refusal(&server, path).await,
            (json!(code), Some(code)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_and_native_apps_are_not() {
    let server = Server::with(
        "[[apps]]\nid = \"a\"\nkey = \"k\"\nsecret = \"s\"\nallowed_origins = [\"https://*.example.com\"]",
    )
    .await;
    let origin = |origin: &'static str| {
        Client::open(server.address, "/app/k", move |request| {
            request
                .headers_mut()
                .insert("origin", origin.parse().unwrap());
        })
    };
    let mut friend = origin("https://shop.example.com").await;
    friend.event("pusher:connection_established").await;
    let mut stranger = origin("https://evil.test").await;
    stranger.event("pusher:error").await;
    assert_eq!(stranger.close_code().await, Some(4009));
    Client::connect(server.address, "/app/k").await;
}

#[tokio::test]
async fn a_place_is_free_again_when_its_connection_has_gone() {
    let server = Server::with("[limits]\nmax_connections = 1").await;
    let mut client = server.client().await;
    for _ in 0..3 {
        assert_eq!(refusal(&server, "/app/app-key").await.1, Some(4100));
        client.close().await;
        // The place is given back once the hub has forgotten the connection; asking again is how a client sees it.
        let mut next = None;
        until("a free place", async || {
            next = greeted(&server).await;
            next.is_some()
        })
        .await;
        client = next.unwrap();
    }
}

/// A client, unless the server is full.
async fn greeted(server: &Server) -> Option<Client> {
    let mut client = Client::open(server.address, "/app/app-key", |_| {}).await;
    if client.next().await["event"] == "pusher:connection_established" {
        return Some(client);
    }
    assert_eq!(client.close_code().await, Some(4100));
    None
}

#[tokio::test]
async fn the_offered_subprotocol_is_taken() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    raw.write(
        b"GET /app/app-key HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Protocol: pusher-channels-protocol-7\r\n\r\n",
    )
    .await;
    raw.write(&Raw::frame(0x88, &[])).await;
    let answer = String::from_utf8_lossy(&raw.rest().await).to_lowercase();
    assert!(
        answer.contains("sec-websocket-protocol: pusher-channels-protocol-7\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("sec-websocket-extensions"));
}

#[tokio::test]
async fn bytes_sent_right_behind_the_upgrade_are_not_lost() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    let mut bytes =
        b"GET /app/app-key HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
    bytes.extend(Raw::frame(0x81, br#"{"event":"pusher:ping"}"#));
    bytes.extend(Raw::frame(0x88, &[]));
    raw.write(&bytes).await;
    let answer = String::from_utf8_lossy(&raw.rest().await).into_owned();
    let greeting = answer
        .find("pusher:connection_established")
        .expect("a greeting");
    let pong = answer.find("pusher:pong").expect("a pong");
    assert!(greeting < pong);
}

#[tokio::test]
async fn a_request_that_is_no_websocket_handshake_is_told_what_is_missing() {
    let server = Server::start().await;
    let answer = Answer::of(reqwest::get(server.url("/app/app-key")).await.unwrap()).await;
    assert_eq!(answer.status, 426);
    assert!(
        answer.text.contains("Upgrade: websocket"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_token_in_the_url_must_be_good() {
    let server = Server::with("[auth]\njwt_secret = \"0123456789abcdef0123456789abcdef\"").await;
    let (code, closed) = refusal(&server, "/app/app-key?token=nonsense").await;
    assert_eq!((code, closed), (json!(4009), Some(4009)));
}
