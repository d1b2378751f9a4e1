//! Apps from the tables of others, Soketi and laravel-websockets, which are read as they are and never written to.

use serde_json::json;

use crate::apps::{LATE, connect, hears, publish, refused, serve, sql};
use crate::support::Client;
use crate::support::database::{Database, Kind, number, run};
use crate::support::receiver::Receiver;

async fn soketis_table_is_read_as_it_is(kind: Kind) {
    let database = Database::start(kind).await;
    let pool = database.pool().await;
    let limits = "max_backend_events_per_sec integer not null, max_client_events_per_sec integer not null, \
                  max_read_req_per_sec integer not null, max_presence_members_per_channel integer default null";
    let (flag, texts) = match kind {
        Kind::Sqlite => ("integer", "text"),
        Kind::Postgres => ("smallint", "json"),
        Kind::MariaDb => ("tinyint(1)", "json"),
    };
    let mut receiver = Receiver::start();
    let webhooks = json!([{
        "url": receiver.url(), "event_types": ["channel_occupied"], "headers": { "X-Whose": "soketi" },
        "filter": { "channel_name_starts_with": "ne", "channel_name_ends_with": "" },
    }]);
    let table = format!(
        "create table apps (id varchar(255) primary key, `key` varchar(255) not null, secret varchar(255) not null, \
         max_connections integer not null, enabled {flag} not null, enable_client_messages {flag} not null, {limits}, \
         webhooks {texts}, enable_user_authentication {flag} not null)"
    );
    run(&pool, &sql(&pool, &table)).await;
    let rows = format!(
        "insert into apps values ('one', 'one-key', 'one-secret', 1, 1, 1, -1, -1, -1, null, '{webhooks}', 0), \
         ('off', 'off-key', 'off-secret', -1, 0, 0, -1, 100, -1, 50, '[]', 0)"
    );
    run(&pool, &rows).await;

    let server = serve(&database, LATE).await;
    let mut client = connect(&server, "one").await;
    client.subscribe("news").await;
    assert_eq!(publish(&server, "one").await.json(), json!({}));
    hears(&mut client, "one").await;
    assert_eq!(refused(&server, "one").await, Some(4004));
    assert_eq!(refused(&server, "off").await, Some(4003));
    let event = json!({ "name": "channel_occupied", "channel": "news" });
    assert_eq!(receiver.has_taken(1).await, [event]);
    let hit = &receiver.hits()[0];
    assert_eq!(hit.headers["x-whose"], "soketi");
    assert_eq!(hit.headers["x-pusher-key"], "one-key");
    // Nothing was made, and nothing was written.
    assert_eq!(number(&pool, "select count(*) from apps").await, Some(2));
    assert_eq!(
        number(&pool, "select count(*) from gema_migrations").await,
        None
    );
}

async fn the_table_of_laravel_websockets_is_read_as_it_is(kind: Kind) {
    let database = Database::start(kind).await;
    let pool = database.pool().await;
    let table = "create table websockets_apps (id varchar(255) not null, `key` varchar(255) not null, \
                 secret varchar(255) not null, name varchar(255) not null, host varchar(255), path varchar(255), \
                 enable_client_messages boolean default false, enable_statistics boolean default true, \
                 capacity integer, allowed_origins varchar(255))";
    run(&pool, &sql(&pool, table)).await;
    let rows = "insert into websockets_apps values \
                ('one', 'one-key', 'one-secret', 'One', null, null, true, true, null, ''), \
                ('two', 'two-key', 'two-secret', 'Two', 'x', 'y', false, false, 50, 'shop.test,other.test')";
    run(&pool, rows).await;
    let server = serve(&database, &format!("{LATE}apps_table = 'websockets_apps'")).await;
    let mut client = connect(&server, "one").await;
    client.subscribe("news").await;
    assert_eq!(publish(&server, "one").await.json(), json!({}));
    hears(&mut client, "one").await;
    for (origin, hello) in [("https://shop.test", true), ("https://third.test", false)] {
        let path = "/app/two-key?protocol=7";
        let mut page = Client::open(server.address, path, |request| {
            let origin = origin.parse().expect("a header");
            request.headers_mut().insert("origin", origin);
        })
        .await;
        assert_eq!(
            page.next().await["event"] == "pusher:connection_established",
            hello
        );
    }
    assert_eq!(
        number(&pool, "select count(*) from gema_migrations").await,
        None
    );
}

#[tokio::test]
async fn soketis_table_in_sqlite_is_read_as_it_is() {
    soketis_table_is_read_as_it_is(Kind::Sqlite).await;
}

#[tokio::test]
async fn the_table_of_laravel_websockets_in_sqlite_is_read_as_it_is() {
    the_table_of_laravel_websockets_is_read_as_it_is(Kind::Sqlite).await;
}

#[tokio::test]
async fn soketis_table_in_postgresql_is_read_as_it_is() {
    soketis_table_is_read_as_it_is(Kind::Postgres).await;
}

#[tokio::test]
async fn the_table_of_laravel_websockets_in_postgresql_is_read_as_it_is() {
    the_table_of_laravel_websockets_is_read_as_it_is(Kind::Postgres).await;
}

#[tokio::test]
async fn soketis_table_in_mariadb_is_read_as_it_is() {
    soketis_table_is_read_as_it_is(Kind::MariaDb).await;
}

#[tokio::test]
async fn the_table_of_laravel_websockets_in_mariadb_is_read_as_it_is() {
    the_table_of_laravel_websockets_is_read_as_it_is(Kind::MariaDb).await;
}
