//! Guards: public channels that are not for everyone.

use serde_json::json;

use crate::authorizer::{config, token};
use crate::support::{Client, Server};

const GUARD: &str = "[[auth.guards]]\nchannel = \"admin\"\nroles = [\"admin\"]";

async fn answer(client: &mut Client, channel: &str) -> String {
    client
        .send(json!({ "event": "pusher:subscribe", "data": { "channel": channel } }))
        .await;
    crate::support::client::text_of(&client.next().await["event"])
}

#[tokio::test]
async fn a_guarded_channel_is_for_those_who_signed_in_with_the_role() {
    let server = Server::with(&(config("") + GUARD)).await;
    let mut anonymous = server.client().await;
    assert_eq!(
        answer(&mut anonymous, "admin").await,
        "pusher:subscription_error"
    );
    assert_eq!(
        answer(&mut anonymous, "availability").await,
        "pusher_internal:subscription_succeeded"
    );

    let connect = async |roles: serde_json::Value| {
        let token = token(json!({ "sub": 1, "roles": roles }));
        Client::connect(
            server.address,
            &format!("/app/app-key?protocol=7&token={token}"),
        )
        .await
    };
    let mut staff = connect(json!(["staff"])).await;
    assert_eq!(
        answer(&mut staff, "admin").await,
        "pusher:subscription_error"
    );
    let mut admin = connect(json!("admin")).await;
    assert_eq!(
        answer(&mut admin, "admin").await,
        "pusher_internal:subscription_succeeded"
    );

    server
        .trigger("admin", "NewBookingNotification", "{}")
        .await;
    admin.event("NewBookingNotification").await;
    anonymous.nothing_before_pong().await;
    staff.nothing_before_pong().await;
}

#[tokio::test]
async fn signing_in_opens_it_as_well() {
    let server = Server::with(&(config("") + GUARD)).await;
    let mut client = server.client().await;
    let token = token(json!({ "sub": 1, "roles": ["admin"] }));
    let request = server
        .http
        .post(server.url("/api/broadcasting/user-auth"))
        .bearer_auth(token);
    let body = json!({ "socket_id": client.socket_id }).to_string();
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let grant: serde_json::Value =
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    client
        .send(json!({ "event": "pusher:signin", "data": grant }))
        .await;
    client.event("pusher:signin_success").await;
    assert_eq!(
        answer(&mut client, "admin").await,
        "pusher_internal:subscription_succeeded"
    );
}

#[tokio::test]
async fn a_forged_sign_in_is_refused_and_opens_nothing() {
    let server = Server::with(&(config("") + GUARD)).await;
    let mut client = server.client().await;
    let user_data = r#"{"id":"1","roles":["admin"]}"#;
    let auth = gema_protocol::auth::sign_user("app-key", "wrong", &client.socket_id, user_data);
    let data = json!({ "auth": auth, "user_data": user_data });
    client
        .send(json!({ "event": "pusher:signin", "data": data }))
        .await;
    let error = client.event("pusher:error").await;
    assert_eq!(error["data"]["code"], 4009);
    assert_eq!(
        answer(&mut client, "admin").await,
        "pusher:subscription_error"
    );
}
