//! What happens in channels reaches the app's back end as webhooks, from the clients' actions to the request.

use gema_protocol::auth::sign_webhook;
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::receiver::Receiver;

async fn server(receiver: &Receiver) -> Server {
    let url = receiver.url();
    Server::with(&format!(
        "[[apps]]\nid = 'app-id'\nkey = 'app-key'\nsecret = 'app-secret'\nsubscription_count = true\n\
         [[apps.webhooks]]\nurl = '{url}'"
    ))
    .await
}

/// The events so far, this many at least, in the order in which they arrived, all signed.
async fn events(receiver: &mut Receiver, count: usize) -> Vec<Value> {
    let all = receiver.has_taken(count).await;
    for hit in receiver.hits() {
        assert_eq!(hit.headers["content-type"], "application/json");
        assert_eq!(hit.headers["x-pusher-key"], "app-key");
        let signature = sign_webhook("app-secret", hit.body.as_bytes());
        assert_eq!(hit.headers["x-pusher-signature"], signature);
    }
    all
}

#[tokio::test]
async fn a_members_visit_is_told_from_the_first_to_the_last() {
    let mut receiver = Receiver::start();
    let server = server(&receiver).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.join("presence-a", "7").await;
    two.join("presence-a", "7").await;
    let event = json!({ "event": "client-x", "channel": "presence-a", "data": { "n": 1 } });
    one.send(event).await;
    two.event("client-x").await;
    let expected = [
        json!({ "name": "channel_occupied", "channel": "presence-a" }),
        json!({ "name": "member_added", "channel": "presence-a", "user_id": "7" }),
        json!({
            "name": "client_event", "channel": "presence-a", "event": "client-x",
            "data": "{\"n\":1}", "socket_id": one.socket_id, "user_id": "7",
        }),
    ];
    assert_eq!(events(&mut receiver, 3).await, expected);
    one.close().await;
    two.close().await;
    let expected = [
        json!({ "name": "member_removed", "channel": "presence-a", "user_id": "7" }),
        json!({ "name": "channel_vacated", "channel": "presence-a" }),
    ];
    assert_eq!(events(&mut receiver, 5).await[3..], expected);
}

#[tokio::test]
async fn misses_and_counts_are_told_and_what_users_hear_for_themselves_is_not() {
    let mut receiver = Receiver::start();
    let server = server(&receiver).await;
    let mut client = server.client().await;
    let user_data = r#"{"id":"7"}"#;
    let socket = &client.socket_id;
    let auth = gema_protocol::auth::sign_user("app-key", "app-secret", socket, user_data);
    let data = json!({ "auth": auth, "user_data": user_data });
    client
        .send(json!({ "event": "pusher:signin", "data": data }))
        .await;
    client.event("pusher:signin_success").await;
    client.subscribe("#server-to-user-7").await;
    client.subscribe("cache-a").await;
    let expected = [
        json!({ "name": "channel_occupied", "channel": "cache-a" }),
        json!({ "name": "cache_miss", "channel": "cache-a" }),
        json!({ "name": "subscription_count", "channel": "cache-a", "subscription_count": 1 }),
    ];
    assert_eq!(events(&mut receiver, 3).await, expected);
}

#[tokio::test]
async fn what_is_left_is_told_when_the_server_ends() {
    let mut receiver = Receiver::start();
    let mut server = server(&receiver).await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    events(&mut receiver, 2).await;
    server.begin_shutdown();
    client.close_code().await;
    client.vanish();
    server.ended().await;
    let expected = [
        json!({ "name": "subscription_count", "channel": "a", "subscription_count": 0 }),
        json!({ "name": "channel_vacated", "channel": "a" }),
    ];
    assert_eq!(events(&mut receiver, 4).await[2..], expected);
}
