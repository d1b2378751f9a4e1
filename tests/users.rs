//! Signed-in users: events of their own, watching each other, and being sent away.

use serde_json::json;

use crate::support::Server;
use crate::support::client::{signed_in, watched};

#[tokio::test]
async fn an_event_for_a_user_reaches_each_of_their_connections_and_no_other() {
    let server = Server::start().await;
    let own = "#server-to-user-7";
    let (mut one, mut two) = (
        signed_in(&server, "7", &[]).await,
        signed_in(&server, "7", &[]).await,
    );
    one.subscribe(own).await;
    two.subscribe(own).await;
    let mut other = signed_in(&server, "8", &[]).await;
    let mut anonymous = server.client().await;
    for stranger in [&mut other, &mut anonymous] {
        stranger
            .send(json!({ "event": "pusher:subscribe", "data": { "channel": own, "auth": "" } }))
            .await;
        stranger.event("pusher:subscription_error").await;
    }
    server.trigger(own, "news", "1").await;
    assert_eq!(one.event("news").await["channel"], own);
    two.event("news").await;
    other.nothing_before_pong().await;
    anonymous.nothing_before_pong().await;
    let channels = server.get("/apps/app-id/channels", "").await;
    assert_eq!(channels.text, r#"{"channels":{}}"#);
    // A user who is not there is no error.
    server.trigger("#server-to-user-nobody", "news", "1").await;
}

#[tokio::test]
async fn a_terminated_user_is_closed_with_4009_everywhere_and_others_stay() {
    let server = Server::start().await;
    let (mut one, mut two) = (
        signed_in(&server, "7", &[]).await,
        signed_in(&server, "7", &[]).await,
    );
    let mut other = signed_in(&server, "8", &[]).await;
    for user in ["7", "nobody"] {
        let path = format!("/apps/app-id/users/{user}/terminate_connections");
        assert_eq!(server.post(&path, "{}").await.json(), json!({}));
    }
    for client in [&mut one, &mut two] {
        let error = client.event("pusher:error").await;
        assert_eq!(error["data"]["code"], 4009);
        assert_eq!(client.close_code().await, Some(4009));
    }
    other.nothing_before_pong().await;
    assert_eq!(
        server
            .post("/apps/app-id/users/8/terminate_connections", "")
            .await
            .status,
        200
    );
    assert_eq!(other.close_code().await, Some(4009));
}

#[tokio::test]
async fn watchers_hear_of_the_first_coming_and_the_last_going() {
    let server = Server::start().await;
    let eight = signed_in(&server, "8", &[]).await;
    let mut watcher = signed_in(&server, "7", &["8", "9"]).await;
    let initial = watched(&mut watcher).await;
    let expected = json!([
        { "name": "online", "user_ids": ["8"] }, { "name": "offline", "user_ids": ["9"] },
    ]);
    assert_eq!(initial, expected);
    let nine = signed_in(&server, "9", &[]).await;
    assert_eq!(
        watched(&mut watcher).await,
        json!([{ "name": "online", "user_ids": ["9"] }])
    );
    let again = signed_in(&server, "9", &[]).await;
    nine.close().await;
    eight.close().await;
    assert_eq!(
        watched(&mut watcher).await,
        json!([{ "name": "offline", "user_ids": ["8"] }])
    );
    again.vanish();
    assert_eq!(
        watched(&mut watcher).await,
        json!([{ "name": "offline", "user_ids": ["9"] }])
    );
}

#[tokio::test]
async fn a_longer_watchlist_is_cut_with_4302_and_the_sign_in_stands() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let ids: Vec<String> = (100..201).map(|id| id.to_string()).collect();
    let answer = client
        .sign_in(&json!({ "id": "7", "watchlist": ids }))
        .await;
    assert_eq!(answer["event"], "pusher:signin_success");
    let offline = watched(&mut client).await;
    assert_eq!(offline[0]["user_ids"].as_array().unwrap().len(), 100);
    let error = client.event("pusher:error").await;
    assert_eq!(error["data"]["code"], 4302);
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn an_app_without_watchlists_tells_nothing() {
    let server = Server::with(
        "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\nwatchlist = false",
    )
    .await;
    let mut watcher = signed_in(&server, "7", &["8"]).await;
    let mut eight = signed_in(&server, "8", &[]).await;
    eight.nothing_before_pong().await;
    watcher.nothing_before_pong().await;
}

#[tokio::test]
async fn one_connection_is_one_users_who_may_sign_in_again() {
    let server = Server::start().await;
    let mut client = signed_in(&server, "7", &["8"]).await;
    watched(&mut client).await;
    let error = client.sign_in(&json!({ "id": "9" })).await;
    assert_eq!(error["event"], "pusher:error");
    let again = client
        .sign_in(&json!({ "id": "7", "watchlist": ["9"] }))
        .await;
    assert_eq!(again["event"], "pusher:signin_success");
    watched(&mut client).await;
    // The new list counts, and the old one no longer does.
    let _eight = signed_in(&server, "8", &[]).await;
    let _nine = signed_in(&server, "9", &[]).await;
    assert_eq!(
        watched(&mut client).await,
        json!([{ "name": "online", "user_ids": ["9"] }])
    );
}

#[tokio::test]
async fn who_does_not_show_who_it_is_in_time_is_closed_with_4009() {
    let server = Server::with(
        "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\nauthorized_only_s = 2",
    )
    .await;
    let mut user = signed_in(&server, "7", &[]).await;
    let mut member = server.client().await;
    member.subscribe_signed("private-a", None).await;
    let mut stranger = server.client().await;
    stranger.subscribe("public").await;
    assert_eq!(stranger.close_code().await, Some(4009));
    user.nothing_before_pong().await;
    member.nothing_before_pong().await;
}
