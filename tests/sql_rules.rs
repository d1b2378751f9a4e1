//! Channel rules with `sql`: a row of the database lets a user in, on each kind of database, and no answer lets nobody in.

use serde_json::json;

use crate::authorizer::{config, token};
use crate::support::database::{Database, Kind, run};
use crate::support::http::Answer;
use crate::support::{Server, until};

const RULE: &str = "[[auth.channels]]\nchannel = 'private-order.{order}'\n\
                    sql = 'select 1 from orders where id = $1 and user_id = $2'\n";

const ORDERS: &str = "create table orders (id bigint primary key, user_id bigint not null);\n\
                      insert into orders (id, user_id) values (5, 7), (6, 8);";

async fn ask(server: &Server, user: &str, channel: &str) -> Answer {
    let body = format!("socket_id=1.2&channel_name={channel}");
    let request = server.http.post(server.url("/api/broadcasting/auth"));
    let request = request
        .body(body)
        .bearer_auth(token(json!({ "sub": user })))
        .header("content-type", "application/x-www-form-urlencoded");
    Answer::of(request.send().await.unwrap()).await
}

async fn a_row_opens_the_channel_to_its_user_alone(kind: Kind) {
    let database = Database::start(kind).await;
    run(&database.pool().await, ORDERS).await;
    let server = Server::with(&(database.setting() + &config("") + RULE)).await;
    for (user, channel, status) in [
        ("7", "private-order.5", 200),
        ("7", "private-order.6", 403),
        ("8", "private-order.5", 403),
        ("8", "private-order.6", 200),
        ("x", "private-order.5", 403),
        ("7", "private-order.none", 403),
        ("7", "private-order.5'--", 400),
    ] {
        let answer = ask(&server, user, channel).await;
        assert_eq!(
            answer.status, status,
            "user {user}, {channel}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_row_opens_the_channel_to_its_user_alone_on_sqlite() {
    a_row_opens_the_channel_to_its_user_alone(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_row_opens_the_channel_to_its_user_alone_on_postgresql() {
    a_row_opens_the_channel_to_its_user_alone(Kind::Postgres).await;
}

#[tokio::test]
async fn a_row_opens_the_channel_to_its_user_alone_on_mariadb() {
    a_row_opens_the_channel_to_its_user_alone(Kind::MariaDb).await;
}

#[tokio::test]
async fn columns_of_text_and_uuids_are_compared_as_such_on_postgresql() {
    let database = Database::start(Kind::Postgres).await;
    let order = "0188e3ce-6a1d-7b1c-8f0e-aabbccddeeff";
    let table = "create table orders (id uuid primary key, user_id varchar(20) not null)";
    let row = format!("insert into orders values ('{order}', 'ada')");
    run(&database.pool().await, &format!("{table}; {row}")).await;
    let server = Server::with(&(database.setting() + &config("") + RULE)).await;
    let channel = format!("private-order.{order}");
    assert_eq!(ask(&server, "ada", &channel).await.status, 200);
    assert_eq!(ask(&server, "bob", &channel).await.status, 403);
    assert_eq!(ask(&server, "ada", "private-order.1").await.status, 403);
}

/// Broadcasting goes on without the database, `/ready` says so, and a rule that cannot be decided lets nobody in.
async fn nobody_gets_in_and_all_else_goes_on(server: &Server) {
    let refused = ask(server, "7", "private-order.5").await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    let said = "Channel private-order.5 cannot be decided about now; try again later";
    assert!(refused.text.contains(said), "{}", refused.text);
    assert_eq!(server.ready().await.status, 200);
    let mut client = server.client().await;
    client.subscribe("news").await;
    server.trigger("news", "told", "{}").await;
    client.event("told").await;
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_lets_nobody_in_until_it_is_there() {
    let mut database = Database::down(Kind::Postgres);
    let server = Server::with(&(database.setting() + &config("") + RULE)).await;
    nobody_gets_in_and_all_else_goes_on(&server).await;
    database.start_again().await;
    run(&database.pool().await, ORDERS).await;
    until("the channel opens", async || {
        ask(&server, "7", "private-order.5").await.status == 200
    })
    .await;
}

async fn a_database_that_goes_away_later_is_taken_up_again(kind: Kind) {
    let mut database = Database::start(kind).await;
    run(&database.pool().await, ORDERS).await;
    let server = Server::with(&(database.setting() + &config("") + RULE)).await;
    assert_eq!(ask(&server, "7", "private-order.5").await.status, 200);
    database.kill();
    nobody_gets_in_and_all_else_goes_on(&server).await;
    database.start_again().await;
    until("the channel opens again", async || {
        ask(&server, "7", "private-order.5").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_postgresql_that_goes_away_later_is_taken_up_again() {
    a_database_that_goes_away_later_is_taken_up_again(Kind::Postgres).await;
}

#[tokio::test]
async fn a_mariadb_that_goes_away_later_is_taken_up_again() {
    a_database_that_goes_away_later_is_taken_up_again(Kind::MariaDb).await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_none() {
    let database = Database::start(Kind::Postgres).await;
    let slow = RULE.replace(
        "select 1 from orders where",
        "select pg_sleep(60) where $1 <> $2 or",
    );
    let slow = slow.replace("id = $1 and user_id = $2", "$1 = $2");
    let server = Server::with(&(database.setting() + &config("") + &slow)).await;
    assert_eq!(ask(&server, "7", "private-order.5").await.status, 503);
}
