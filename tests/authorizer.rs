//! The built-in authorizer over HTTP: what a user with a JWT gets signed, and that the server takes it.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::client::data;
use crate::support::http::{Answer, unix_s};

pub const SECRET: &str = "a secret of at least thirty-two bytes";

pub fn config(more: &str) -> String {
    format!("{more}\n[auth]\njwt_secret = \"{SECRET}\"\n")
}

pub fn token(mut claims: Value) -> String {
    claims["exp"] = json!(unix_s() + 3600);
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

async fn ask(server: &Server, path: &str, token: &str, body: &str, kind: &str) -> Answer {
    let request = server.http.post(server.url(path)).body(body.to_owned());
    let request = request.bearer_auth(token).header("content-type", kind);
    Answer::of(request.send().await.unwrap()).await
}

async fn form(server: &Server, token: &str, socket: &str, channel: &str) -> Answer {
    let body = format!("socket_id={socket}&channel_name={channel}");
    let kind = "application/x-www-form-urlencoded";
    ask(server, "/api/broadcasting/auth", token, &body, kind).await
}

#[tokio::test]
async fn form_and_json_get_the_same_signature_and_it_opens_the_channel() {
    let server = Server::with(&config("")).await;
    let mut client = server.client().await;
    let user = token(json!({ "sub": 7 }));
    let by_form = form(&server, &user, &client.socket_id, "private-booking.7")
        .await
        .json();
    let body = json!({ "socket_id": client.socket_id, "channel_name": "private-booking.7" });
    let body = body.to_string();
    for path in [
        "/api/broadcasting/auth",
        "/broadcasting/auth",
        "/pusher/auth",
    ] {
        let by_json = ask(
            &server,
            path,
            &user,
            &body,
            "application/json; charset=utf-8",
        )
        .await;
        assert_eq!(by_json.json(), by_form);
    }
    let data = json!({ "channel": "private-booking.7", "auth": by_form["auth"] });
    client
        .send(json!({ "event": "pusher:subscribe", "data": data }))
        .await;
    client.event("pusher_internal:subscription_succeeded").await;
}

#[tokio::test]
async fn a_member_is_described_by_the_token() {
    let server = Server::with(&config("")).await;
    let mut client = server.client().await;
    let user = token(json!({ "sub": "7", "name": "Ayu", "rooms": ["1", "2"] }));
    let grant = form(&server, &user, &client.socket_id, "presence-room.2")
        .await
        .json();
    let subscription = json!({
        "channel": "presence-room.2", "auth": grant["auth"], "channel_data": grant["channel_data"],
    });
    client
        .send(json!({ "event": "pusher:subscribe", "data": subscription }))
        .await;
    let answer = client.event("pusher_internal:subscription_succeeded").await;
    assert_eq!(
        data(&answer)["presence"]["hash"],
        json!({ "7": { "name": "Ayu" } })
    );
    let other = form(&server, &user, &client.socket_id, "presence-room.3").await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn refusals_are_json_with_the_right_status_and_say_why() {
    let server = Server::with(&config("")).await;
    let user = token(json!({ "sub": 7, "roles": ["staff"] }));
    let ok = "1234.1234";
    for (token, socket, channel, status) in [
        (user.as_str(), ok, "private-staff", 200),
        (&user, ok, "private-admin", 403),
        (&user, ok, "private-booking.8", 403),
        (&user, ok, "private-unknown", 403),
        (&user, ok, "availability", 403),
        (&user, "nonsense", "private-staff", 400),
        (&user, "", "private-staff", 400),
        (&user, ok, "", 400),
        (&user, ok, "private-a%20b", 400),
        ("nonsense", ok, "private-staff", 401),
    ] {
        let answer = form(&server, token, socket, channel).await;
        assert_eq!(answer.status, status, "{channel}: {}", answer.text);
        if status != 200 {
            let body: Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!(body["success"], false);
            assert!(!body["error"].as_str().unwrap().is_empty());
        }
    }
    let bare = server.http.post(server.url("/api/broadcasting/auth"));
    let answer = Answer::of(bare.send().await.unwrap()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text.contains("Authorization"), "{}", answer.text);
    let huge = "x".repeat(20_000);
    let answer = ask(
        &server,
        "/api/broadcasting/auth",
        &user,
        &huge,
        "application/json",
    )
    .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn without_a_key_the_setting_to_add_is_named() {
    let server = Server::start().await;
    let answer = form(&server, "x.y.z", "1.1", "private-staff").await;
    assert_eq!(answer.status, 401);
    assert!(answer.text.contains("auth.jwt_secret"), "{}", answer.text);
}

#[tokio::test]
async fn an_encrypted_channel_gets_its_own_key() {
    let app = "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\n\
               encryption_master_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"";
    let rule = "[[auth.channels]]\nchannel = \"private-encrypted-{x}\"";
    let server = Server::with(&(config(app) + rule)).await;
    let user = token(json!({ "sub": 7 }));
    let one = form(&server, &user, "1.1", "private-encrypted-a")
        .await
        .json();
    let two = form(&server, &user, "1.1", "private-encrypted-b")
        .await
        .json();
    let master: [u8; 32] = std::array::from_fn(|index| index as u8);
    let expected = gema_protocol::auth::shared_secret(&master, "private-encrypted-a");
    let expected = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, expected);
    assert_eq!(one["shared_secret"], expected);
    assert_ne!(one["shared_secret"], two["shared_secret"]);
}

#[tokio::test]
async fn a_signed_in_user_joins_presence_channels_without_channel_data() {
    let server = Server::with(&config("")).await;
    let mut client = server.client().await;
    let user = token(json!({ "sub": 7, "name": "Ayu" }));
    let body = format!("socket_id={}", client.socket_id);
    let kind = "application/x-www-form-urlencoded";
    let path = "/api/broadcasting/user-auth";
    let grant = ask(&server, path, &user, &body, kind).await.json();
    client
        .send(json!({ "event": "pusher:signin", "data": grant }))
        .await;
    let success = client.event("pusher:signin_success").await;
    assert_eq!(data(&success)["user_data"], grant["user_data"]);
    let answer = client.subscribe_signed("presence-room.1", None).await;
    assert_eq!(
        data(&answer)["presence"]["hash"],
        json!({ "7": { "name": "Ayu" } })
    );
}
