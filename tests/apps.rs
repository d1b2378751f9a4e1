//! Apps from a table: a new one works at once, one that is changed, switched off or deleted is so soon, in every kind of
//! database and in the tables of others; and the configuration's own apps are not touched by any of it.

use gema::store::Pool;
use gema_protocol::request::ApiRequest;
use serde_json::{Value, json};

use crate::support::database::{Database, Kind, number, run};
use crate::support::http::{Answer, Api, unix_s};
use crate::support::node::{Node, settings, until_ready};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::{Client, Server, until};

/// Once a second; the quickest there is.
const SOON: &str = "apps = true\napps_refresh_s = 1\n";

/// Never within a test: what is seen is seen for another reason.
pub const LATE: &str = "apps = true\napps_refresh_s = 3600\n";

/// A server whose apps are in this database, too; `more` stands in `[database]`.
pub async fn serve(database: &Database, more: &str) -> Server {
    Server::with(&format!(
        "chat.enabled = false\n{}{more}",
        database.setting()
    ))
    .await
}

/// The same once it has made its table, and the test's own pool.
async fn serve_own(database: &Database, more: &str) -> (Server, Pool) {
    let server = serve(database, more).await;
    let pool = database.pool().await;
    until("the table is made", async || {
        number(&pool, "select count(*) from apps").await.is_some()
    })
    .await;
    (server, pool)
}

/// `key` is a word of its own in some of them.
pub fn sql(pool: &Pool, sql: &str) -> String {
    match pool {
        Pool::Postgres(_) => sql.replace("`key`", "key"),
        Pool::Sqlite(_) | Pool::MySql(_) => sql.to_owned(),
    }
}

/// An app `name` with the key `name-key` and the secret `name-secret`.
async fn insert(pool: &Pool, name: &str) {
    insert_with(pool, name, "[]").await;
}

/// The same with webhooks from the start: a look may come at any time.
async fn insert_with(pool: &Pool, name: &str, webhooks: &str) {
    let row = format!(
        "insert into apps (id, `key`, secret, webhooks) \
         values ('{name}', '{name}-key', '{name}-secret', '{webhooks}')"
    );
    run(pool, &sql(pool, &row)).await;
}

pub async fn connect(server: &Api, name: &str) -> Client {
    Client::connect(server.address, &format!("/app/{name}-key?protocol=7")).await
}

/// The code with which a connection to the app is refused.
pub async fn refused(server: &Api, name: &str) -> Option<u16> {
    let path = format!("/app/{name}-key?protocol=7");
    let mut client = Client::open(server.address, &path, |_| {}).await;
    client.event("pusher:error").await;
    let code = client.close_code().await;
    assert_ne!(code, None, "a close frame");
    code
}

/// Publishes `told` as this app's back end.
async fn publish_as(server: &Api, name: &str, secret: &str) -> Answer {
    let body = json!({ "name": "told", "channel": "news", "data": name }).to_string();
    let path = format!("/apps/{name}/events");
    let request = ApiRequest {
        method: "POST",
        path: &path,
        query: "",
        body: body.as_bytes(),
    };
    let query = request.sign(&format!("{name}-key"), secret, unix_s());
    let request = server.http.post(server.url(&format!("{path}?{query}")));
    Answer::of(request.body(body).send().await.expect("an answer")).await
}

pub async fn publish(server: &Api, name: &str) -> Answer {
    publish_as(server, name, &format!("{name}-secret")).await
}

pub async fn hears(client: &mut Client, name: &str) {
    assert_eq!(client.event("told").await["data"], name);
}

async fn a_new_row_works_at_once(kind: Kind) {
    let database = Database::start(kind).await;
    let (server, pool) = serve_own(&database, LATE).await;
    assert_eq!(refused(&server, "one").await, Some(4001));
    assert_eq!(publish(&server, "one").await.status, 404);
    insert(&pool, "one").await;
    let mut client = connect(&server, "one").await;
    client.subscribe("news").await;
    assert_eq!(publish(&server, "one").await.json(), json!({}));
    hears(&mut client, "one").await;
    // The other way round: the back end is the first to come.
    insert(&pool, "two").await;
    assert_eq!(publish(&server, "two").await.json(), json!({}));
    connect(&server, "two").await;
    client.nothing_before_pong().await;
}

async fn what_is_changed_switched_off_or_deleted_is_so_soon(kind: Kind) {
    let database = Database::start(kind).await;
    let (server, pool) = serve_own(&database, SOON).await;
    for name in ["stays", "goes", "off"] {
        insert(&pool, name).await;
    }
    let mut stays = connect(&server, "stays").await;
    stays.subscribe("news").await;
    let (mut goes, mut off) = (
        connect(&server, "goes").await,
        connect(&server, "off").await,
    );

    run(&pool, "update apps set enabled = false where id = 'off'").await;
    assert_eq!(off.close_code().await, Some(4003));
    assert_eq!(refused(&server, "off").await, Some(4003));
    assert_eq!(publish(&server, "off").await.status, 403);

    run(&pool, "delete from apps where id = 'goes'").await;
    assert_eq!(goes.close_code().await, Some(4001));
    assert_eq!(refused(&server, "goes").await, Some(4001));
    assert_eq!(publish(&server, "goes").await.status, 404);

    run(&pool, "update apps set secret = 'new' where id = 'stays'").await;
    until("the new secret counts", async || {
        publish_as(&server, "stays", "new").await.status == 200
    })
    .await;
    assert_eq!(publish(&server, "stays").await.status, 401);
    hears(&mut stays, "stays").await;
    stays.nothing_before_pong().await;

    run(&pool, "update apps set enabled = true where id = 'off'").await;
    until("it is switched on again", async || {
        publish(&server, "off").await.status == 200
    })
    .await;
    let mut again = connect(&server, "off").await;
    again.subscribe("news").await;
    assert_eq!(publish(&server, "off").await.status, 200);
    hears(&mut again, "off").await;
}

async fn a_bad_row_is_left_out_and_the_configuration_wins(kind: Kind) {
    let database = Database::start(kind).await;
    let (server, pool) = serve_own(&database, LATE).await;
    insert(&pool, "good").await;
    insert_with(&pool, "bad", r#"[{"url":"gopher://x"}]"#).await;
    let rows = "insert into apps (id, `key`, secret) values ('app-id', 'x-key', 'x'), ('y', 'app-key', 'y')";
    run(&pool, &sql(&pool, rows)).await;
    connect(&server, "good").await;
    assert_eq!(refused(&server, "bad").await, Some(4001));
    assert_eq!(refused(&server, "x").await, Some(4001));
    let mut client = server.client().await;
    client.subscribe("news").await;
    server.trigger("news", "told", "app").await;
    hears(&mut client, "app").await;
    run(&pool, "update apps set webhooks = null where id = 'bad'").await;
    connect(&server, "bad").await;
    // A column that whoever keeps the table has added means nothing, and does no harm.
    run(
        &pool,
        "alter table apps add column note varchar(20) default 'x'",
    )
    .await;
    insert(&pool, "late").await;
    connect(&server, "late").await;
}

async fn while_the_database_is_away_the_known_apps_serve(kind: Kind) {
    let mut database = Database::start(kind).await;
    let (server, pool) = serve_own(
        &database,
        "acquire_timeout_ms = 300\napps = true\napps_refresh_s = 1\n",
    )
    .await;
    insert(&pool, "one").await;
    let mut client = connect(&server, "one").await;
    client.subscribe("news").await;
    database.kill();
    until("it is seen that the database is away", async || {
        publish(&server, "two").await.status == 503
    })
    .await;
    assert_eq!(publish(&server, "one").await.status, 200);
    hears(&mut client, "one").await;
    connect(&server, "one").await;
    // Not 4001, after which clients stay away for good.
    assert_eq!(refused(&server, "two").await, Some(4100));
    assert_eq!(server.ready().await.status, 200);
    database.start_again().await;
    let pool = database.pool().await;
    insert(&pool, "two").await;
    until("a new app works again", async || {
        publish(&server, "two").await.status == 200
    })
    .await;
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn a_new_row_in_sqlite_works_at_once() {
    a_new_row_works_at_once(Kind::Sqlite).await;
}

#[tokio::test]
async fn what_is_changed_in_sqlite_is_so_soon() {
    what_is_changed_switched_off_or_deleted_is_so_soon(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_bad_row_in_sqlite_is_left_out() {
    a_bad_row_is_left_out_and_the_configuration_wins(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_new_row_in_postgresql_works_at_once() {
    a_new_row_works_at_once(Kind::Postgres).await;
}

#[tokio::test]
async fn what_is_changed_in_postgresql_is_so_soon() {
    what_is_changed_switched_off_or_deleted_is_so_soon(Kind::Postgres).await;
}

#[tokio::test]
async fn a_bad_row_in_postgresql_is_left_out() {
    a_bad_row_is_left_out_and_the_configuration_wins(Kind::Postgres).await;
}

#[tokio::test]
async fn while_postgresql_is_away_the_known_apps_serve() {
    while_the_database_is_away_the_known_apps_serve(Kind::Postgres).await;
}

#[tokio::test]
async fn a_new_row_in_mariadb_works_at_once() {
    a_new_row_works_at_once(Kind::MariaDb).await;
}

#[tokio::test]
async fn what_is_changed_in_mariadb_is_so_soon() {
    what_is_changed_switched_off_or_deleted_is_so_soon(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_bad_row_in_mariadb_is_left_out() {
    a_bad_row_is_left_out_and_the_configuration_wins(Kind::MariaDb).await;
}

#[tokio::test]
async fn while_mariadb_is_away_the_known_apps_serve() {
    while_the_database_is_away_the_known_apps_serve(Kind::MariaDb).await;
}

#[tokio::test]
async fn postgresql_tells_of_a_change_at_once() {
    let database = Database::start(Kind::Postgres).await;
    let (server, pool) = serve_own(&database, LATE).await;
    insert(&pool, "one").await;
    let mut client = connect(&server, "one").await;
    run(&pool, "update apps set enabled = false").await;
    assert_eq!(client.close_code().await, Some(4003));
}

#[tokio::test]
async fn a_server_whose_database_is_down_serves_the_apps_of_its_configuration() {
    let mut database = Database::down(Kind::Postgres);
    let server = serve(&database, SOON).await;
    let mut client = server.client().await;
    client.subscribe("news").await;
    server.trigger("news", "told", "app").await;
    hears(&mut client, "app").await;
    assert_eq!(refused(&server, "one").await, Some(4100));
    database.start_again().await;
    let pool = database.pool().await;
    until("the table is made", async || {
        number(&pool, "select count(*) from apps").await.is_some()
    })
    .await;
    insert(&pool, "one").await;
    connect(&server, "one").await;
}

/// The number of this receiver's events by this name.
fn count(taken: &[Value], name: &str) -> usize {
    taken.iter().filter(|event| event["name"] == name).count()
}

#[tokio::test]
async fn each_app_of_the_table_has_its_own_webhooks_which_hear_that_it_is_gone() {
    webhooks_hear_that_their_app_is_gone(SOON).await;
}

#[tokio::test]
async fn with_other_nodes_webhooks_hear_that_their_app_is_gone_too() {
    let redis = Redis::start().await;
    webhooks_hear_that_their_app_is_gone(&format!("{SOON}{}", settings(&redis.url(), ""))).await;
}

async fn webhooks_hear_that_their_app_is_gone(more: &str) {
    let database = Database::start(Kind::Sqlite).await;
    let (server, pool) = serve_own(&database, more).await;
    let mut receivers = [Receiver::start(), Receiver::start()];
    for (name, receiver) in ["one", "two"].iter().zip(&receivers) {
        let webhooks = json!([{ "url": receiver.url() }]);
        insert_with(&pool, name, &webhooks.to_string()).await;
    }
    let mut clients = [connect(&server, "one").await, connect(&server, "two").await];
    for (client, channel) in clients.iter_mut().zip(["of-one", "of-two"]) {
        client.subscribe(channel).await;
    }
    for (receiver, channel) in receivers.iter_mut().zip(["of-one", "of-two"]) {
        let taken = receiver.has_taken(1).await;
        let event = json!({ "name": "channel_occupied", "channel": channel });
        assert_eq!(taken[0], event);
    }
    run(&pool, "delete from apps where id = 'one'").await;
    assert_eq!(clients[0].close_code().await, Some(4001));
    let is_told = |receiver: &Receiver| count(&receiver.taken(), "channel_vacated") == 1;
    receivers[0].until("word of the end", is_told).await;
    assert_eq!(count(&receivers[1].taken(), "channel_vacated"), 0);
    clients[1].nothing_before_pong().await;
}

#[tokio::test]
async fn a_row_of_the_outbox_finds_the_app_that_came_with_it() {
    let database = Database::start(Kind::Postgres).await;
    let toml = format!("{LATE}[outbox]\nenabled = true\npoll_ms = 20");
    let (_server, pool) = serve_own(&database, &toml).await;
    let both = "begin; insert into apps (id, key, secret) values ('one', 'one-key', 'one-secret'); \
                insert into broadcasts (app, channel, event, data) values ('one', 'news', 'told', '1'); commit;";
    run(&pool, both).await;
    until("the row is published", async || {
        number(&pool, "select count(*) from broadcasts").await == Some(0)
    })
    .await;
    let unknown =
        "insert into broadcasts (app, channel, event, data) values ('none', 'news', 'told', '1')";
    run(&pool, unknown).await;
    until("the row is set aside", async || {
        let aside = "select count(*) from broadcasts where error like 'app:%'";
        number(&pool, aside).await == Some(1)
    })
    .await;
}

#[tokio::test]
async fn nodes_mean_the_same_app_in_whatever_order_they_met_them() {
    let (database, redis) = (Database::start(Kind::Sqlite).await, Redis::start().await);
    let toml = format!("chat.enabled = false\n{}{LATE}", database.setting());
    let toml = settings(&redis.url(), "") + "\n" + &toml.replace("chat.enabled = false\n", "");
    let toml = format!("chat.enabled = false\n{toml}");
    let nodes = [Server::with(&toml).await, Server::with(&toml).await];
    let pool = database.pool().await;
    for node in &nodes {
        until_ready(node).await;
    }
    until("the table is made", async || {
        number(&pool, "select count(*) from apps").await.is_some()
    })
    .await;
    // The first node meets z first, the second meets a and z together, in the order of their ids.
    insert(&pool, "z").await;
    let mut here = connect(&nodes[0], "z").await;
    insert(&pool, "a").await;
    let mut there = connect(&nodes[1], "z").await;
    let mut other = connect(&nodes[1], "a").await;
    for client in [&mut here, &mut there, &mut other] {
        client.subscribe("news").await;
    }
    for node in &nodes {
        assert_eq!(publish(node, "z").await.status, 200);
        hears(&mut here, "z").await;
        hears(&mut there, "z").await;
    }
    assert_eq!(publish(&nodes[0], "a").await.status, 200);
    hears(&mut other, "a").await;
    here.nothing_before_pong().await;
    there.nothing_before_pong().await;
}

/// What `tokio` runs in this test, the server included.
fn tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

#[tokio::test]
async fn an_app_that_is_gone_leaves_no_task_behind() {
    let database = Database::start(Kind::Sqlite).await;
    let (server, pool) = serve_own(&database, SOON).await;
    // The way to the database and the test's own way to the server are there now.
    insert(&pool, "before").await;
    assert_eq!(publish(&server, "before").await.status, 200);
    run(&pool, "delete from apps").await;
    until("it is gone", async || {
        publish(&server, "before").await.status == 404
    })
    .await;
    let before = tasks();
    for round in 0..3 {
        let name = format!("app{round}");
        // Nobody is there, and nothing is told it: no connection to it stays open.
        let webhooks = r#"[{"url":"http://127.0.0.1:9","events":["cache_miss"]}]"#;
        insert_with(&pool, &name, webhooks).await;
        let mut client = connect(&server, &name).await;
        client.subscribe("news").await;
        // Connections have threads of their own.
        assert!(tasks() >= before + 2, "those of the webhook");
        run(&pool, "delete from apps").await;
        assert_eq!(client.close_code().await, Some(4001));
        drop(client);
        until("all its tasks have ended", async || tasks() <= before).await;
    }
}

#[tokio::test]
async fn apps_of_the_file_come_change_and_go_with_a_reload() {
    let app = |id: &str, more: &str| {
        format!("[[apps]]\nid = '{id}'\nkey = '{id}-key'\nsecret = '{id}-secret'\n{more}")
    };
    let server = Server::with(&(app("one", "") + &app("two", ""))).await;
    let mut stays = Client::connect(server.address, "/app/one-key").await;
    let mut goes = Client::connect(server.address, "/app/two-key").await;

    server.reload(&(app("one", "") + &app("three", ""))).await;
    assert_eq!(goes.close_code().await, Some(4001), "removed");
    let mut new = Client::connect(server.address, "/app/three-key").await;
    server
        .reload(&(app("one", "") + &app("three", "enabled = false")))
        .await;
    assert_eq!(new.close_code().await, Some(4003), "disabled");
    stays.subscribe("a").await;
}

#[tokio::test]
async fn of_more_rows_than_are_served_the_first_by_id_are_and_the_log_says_so() {
    let database = Database::start(Kind::Sqlite).await;
    let toml = format!("[chat]\nenabled = false\n{}{SOON}", database.setting());
    let node = Node::start_logged(&toml, &[("GEMA_LOG", "warn")]).await;
    let pool = database.pool().await;
    until("the table is made", async || {
        number(&pool, "select count(*) from apps").await.is_some()
    })
    .await;
    let rows = "insert into apps (id, `key`, secret, webhooks) \
        with recursive n(i) as (select 0 union all select i + 1 from n where i < 10000) \
        select printf('a%05d', i), printf('a%05d-key', i), printf('a%05d-secret', i), '[]' from n";
    run(&pool, rows).await;
    until("the last that is served is served", async || {
        publish(&node, "a09999").await.status == 200
    })
    .await;
    assert_eq!(publish(&node, "a00000").await.status, 200);
    assert_eq!(publish(&node, "a10000").await.status, 404);
    let log = node.log();
    assert!(
        log.contains("the table of apps has too many rows") && log.contains("most=10000"),
        "{log}"
    );
}
