//! The outbox: what a back end commits is heard, what it rolls back is not, in order, and a node's death loses nothing.

use std::collections::{BTreeMap, HashSet};

use gema::store::Pool;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::client::data;
use crate::support::database::{Database, Kind, number, run};
use crate::support::node::{Node, member_of_cluster, settings};
use crate::support::redis::Redis;
use crate::support::{Client, Server, until};

const ON: &str = "[outbox]\nenabled = true\npoll_ms = 20\n";

const CHANNELS: usize = 5;

/// The event with this number, in one of the channels.
fn insert(number: usize) -> String {
    format!(
        "insert into broadcasts (channel, event, data) \
         values ('orders.{}', 'told', '{{\"n\":{number}}}')",
        number % CHANNELS
    )
}

fn is_rolled_back(number: usize) -> bool {
    number % 10 == 7
}

/// Inserts these events, each in a transaction of its own.
async fn transact(pool: &Pool, numbers: impl IntoIterator<Item = usize>) {
    macro_rules! transact {
        ($pool:expr, $number:expr) => {{
            let mut transaction = $pool.begin().await.unwrap();
            let sql = sqlx::raw_sql(AssertSqlSafe(insert($number)));
            transaction.execute(sql).await.unwrap();
            match is_rolled_back($number) {
                true => transaction.rollback().await.unwrap(),
                false => transaction.commit().await.unwrap(),
            }
        }};
    }
    for number in numbers {
        match pool {
            Pool::Sqlite(pool) => transact!(pool, number),
            Pool::Postgres(pool) => transact!(pool, number),
            Pool::MySql(pool) => transact!(pool, number),
        }
    }
}

/// Waits for the table, which gema makes.
async fn until_made(pool: &Pool) {
    until("the tables are there", async || {
        waiting(pool).await.is_some()
    })
    .await;
}

async fn waiting(pool: &Pool) -> Option<i64> {
    let turn = number(pool, "select count(*) from broadcasts_turn").await;
    let turn = turn.or(matches!(pool, Pool::Sqlite(_)).then_some(1));
    turn?;
    number(pool, "select count(*) from broadcasts where error is null").await
}

/// A client that counts what it hears.
struct Hearer {
    client: Client,
    heard: Vec<usize>,
}

impl Hearer {
    async fn at(server: &Server) -> Hearer {
        let mut client = server.client().await;
        for channel in 0..CHANNELS {
            client.subscribe(&format!("orders.{channel}")).await;
        }
        Hearer {
            client,
            heard: Vec::new(),
        }
    }

    /// Reads on until so many different events have been heard.
    async fn hears(&mut self, count: usize) {
        let mut different: HashSet<usize> = self.heard.iter().copied().collect();
        while different.len() < count {
            let event = self.client.event("told").await;
            let number = data(&event)["n"].as_u64().unwrap() as usize;
            let channel = format!("orders.{}", number % CHANNELS);
            assert_eq!(event["channel"], channel, "{event}");
            different.insert(number);
            self.heard.push(number);
        }
    }

    /// Of these events each committed one was heard, no other, and each channel in order when repetitions are left out.
    fn agrees(&self, count: usize) {
        let mut seen = HashSet::new();
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for number in self.heard.iter().filter(|number| seen.insert(**number)) {
            assert!(!is_rolled_back(*number), "{number} was rolled back");
            let before = last.insert(number % CHANNELS, *number);
            assert!(before < Some(*number), "{number} after {before:?}");
        }
        let committed = (0..count).filter(|number| !is_rolled_back(*number));
        assert_eq!(seen, committed.collect());
    }
}

/// A node is killed while it publishes, and another takes over. Who listens is on a third.
async fn a_node_that_is_killed_in_the_middle_loses_nothing(kind: Kind) {
    const COUNT: usize = 1000;
    let (database, redis) = (Database::start(kind).await, Redis::start().await);
    let hearing = member_of_cluster(&redis.url(), "").await;
    let mut hearer = Hearer::at(&hearing).await;
    let toml = database.setting() + ON;
    let mut dying = Node::start(&settings(&redis.url(), &toml)).await;
    let pool = database.pool().await;
    until_made(&pool).await;

    let writer = tokio::spawn(async move {
        transact(&pool, 0..COUNT).await;
        pool
    });
    hearer.hears(COUNT / 3).await;
    dying.kill();
    let _next = member_of_cluster(&redis.url(), &toml).await;
    let pool = writer.await.unwrap();
    hearer.hears(COUNT - COUNT / 10).await;
    until("the table is empty", async || {
        waiting(&pool).await == Some(0)
    })
    .await;
    hearer.agrees(COUNT);
}

#[tokio::test]
async fn a_node_that_is_killed_in_the_middle_loses_nothing_on_postgresql() {
    a_node_that_is_killed_in_the_middle_loses_nothing(Kind::Postgres).await;
}

#[tokio::test]
async fn a_node_that_is_killed_in_the_middle_loses_nothing_on_mariadb() {
    a_node_that_is_killed_in_the_middle_loses_nothing(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_node_that_is_killed_in_the_middle_loses_nothing_on_sqlite() {
    a_node_that_is_killed_in_the_middle_loses_nothing(Kind::Sqlite).await;
}

async fn each_event_is_published_by_one_of_two_nodes(kind: Kind) {
    const COUNT: usize = 300;
    let (database, redis) = (Database::start(kind).await, Redis::start().await);
    let toml = database.setting() + ON;
    let one = member_of_cluster(&redis.url(), &toml).await;
    let two = member_of_cluster(&redis.url(), &toml).await;
    let mut hearers = [Hearer::at(&one).await, Hearer::at(&two).await];
    let pool = database.pool().await;
    until_made(&pool).await;
    transact(&pool, 0..COUNT).await;
    for hearer in &mut hearers {
        hearer.hears(COUNT - COUNT / 10).await;
        hearer.agrees(COUNT);
        hearer.client.nothing_before_pong().await;
        let heard = hearer.heard.len();
        assert_eq!(heard, COUNT - COUNT / 10, "something was heard twice");
    }
}

#[tokio::test]
async fn each_event_is_published_by_one_of_two_nodes_on_postgresql() {
    each_event_is_published_by_one_of_two_nodes(Kind::Postgres).await;
}

#[tokio::test]
async fn each_event_is_published_by_one_of_two_nodes_on_mariadb() {
    each_event_is_published_by_one_of_two_nodes(Kind::MariaDb).await;
}

/// `app`, `channel`, `event`, `data`, and the beginning of what is then in `error`.
const BAD: [[&str; 5]; 4] = [
    ["'none'", "a", "told", "1", "app: "],
    ["null", "a b", "told", "1", "channel: "],
    ["null", "a", "pusher:ping", "1", "event: "],
    ["null", "a", "told", "1234567", "data: "],
];

async fn bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up(kind: Kind) {
    let database = Database::start(kind).await;
    let toml = format!("{}{ON}[limits]\nevent_data_bytes = 6\n", database.setting());
    let toml = toml.replace(
        "event_data_bytes = 6",
        "event_data_bytes = 6\nevent_name_chars = 20",
    );
    let server = Server::with(&toml).await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let pool = database.pool().await;
    until_made(&pool).await;
    for [app, channel, event, data, _] in BAD {
        let values = format!("{app}, '{channel}', '{event}', '{data}'");
        run(
            &pool,
            &format!("insert into broadcasts (app, channel, event, data) values ({values})"),
        )
        .await;
    }
    let except = &client.socket_id;
    run(
        &pool,
        &format!(
            "insert into broadcasts (channel, event, data, socket_id) values ('a', 'own', '1', '{except}'); \
             insert into broadcasts (app, channel, event, data) values ('app-id', 'a', 'good', '{{}}');"
        ),
    )
    .await;
    client.event("good").await;
    for (id, [.., reason]) in (1..).zip(BAD) {
        until(reason, async || {
            let like = format!(
                "select count(*) from broadcasts where id = {id} and error like '{reason}%'"
            );
            number(&pool, &like).await == Some(1)
        })
        .await;
    }
    assert_eq!(
        number(&pool, "select count(*) from broadcasts").await,
        Some(BAD.len() as i64)
    );
}

#[tokio::test]
async fn bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up_on_postgresql() {
    bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up(Kind::Postgres).await;
}

#[tokio::test]
async fn bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up_on_mariadb() {
    bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up(Kind::MariaDb).await;
}

#[tokio::test]
async fn bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up_on_sqlite() {
    bad_rows_are_set_aside_with_the_reason_and_hold_nobody_up(Kind::Sqlite).await;
}

async fn a_database_that_goes_away_is_taken_up_again(kind: Kind) {
    let mut database = Database::start(kind).await;
    let server = Server::with(&(database.setting() + ON)).await;
    let mut hearer = Hearer::at(&server).await;
    let pool = database.pool().await;
    until_made(&pool).await;
    transact(&pool, 0..5).await;
    hearer.hears(5).await;
    database.kill();
    assert_eq!(server.ready().await.status, 200);
    server.trigger("orders.0", "meanwhile", "{}").await;
    hearer.client.event("meanwhile").await;
    database.start_again().await;
    let pool = database.pool().await;
    transact(&pool, 5..10).await;
    hearer.hears(9).await;
}

#[tokio::test]
async fn a_postgresql_that_goes_away_is_taken_up_again() {
    a_database_that_goes_away_is_taken_up_again(Kind::Postgres).await;
}

#[tokio::test]
async fn a_mariadb_that_goes_away_is_taken_up_again() {
    a_database_that_goes_away_is_taken_up_again(Kind::MariaDb).await;
}

#[tokio::test]
async fn the_lag_is_the_age_of_the_oldest_row_that_waits() {
    let database = Database::start(Kind::Postgres).await;
    let server = Server::with_admin(&(database.setting() + ON)).await;
    let mut hearer = Hearer::at(&server).await;
    let pool = database.pool().await;
    until_made(&pool).await;
    let figures = server.figures().await;
    assert_eq!(figures.types["gema_outbox_lag_seconds"], "gauge");
    assert_eq!(figures.of("outbox_lag_seconds"), 0.0);
    let Pool::Postgres(postgres) = &pool else {
        panic!("another database")
    };
    // As if another node had the turn.
    let mut turn = postgres.begin().await.unwrap();
    let hold = "select id from broadcasts_turn for update";
    turn.execute(hold).await.unwrap();
    transact(&pool, 0..1).await;
    run(
        &pool,
        "update broadcasts set created_at = created_at - 60000",
    )
    .await;
    until("the lag shows", async || {
        let lag = server.figures().await.of("outbox_lag_seconds");
        (60.0..120.0).contains(&lag)
    })
    .await;
    turn.rollback().await.unwrap();
    hearer.hears(1).await;
    until("nothing waits", async || {
        let figures = server.figures().await;
        figures.of("outbox_lag_seconds") == 0.0
            && figures.of("publishes_total{source=\"outbox\"}") == 1.0
    })
    .await;
}

#[tokio::test]
async fn nodes_that_start_at_once_make_the_tables_once() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::MariaDb] {
        let database = Database::start(kind).await;
        // The chat has tables of its own.
        let toml = database.setting() + ON + "\n[chat]\nenabled = false\n";
        let [one, two, three, four] = [(); 4].map(|()| Server::with_admin(&toml));
        let _servers = tokio::join!(one, two, three, four);
        let pool = database.pool().await;
        until_made(&pool).await;
        // They are no cluster, so whoever has the turn is the one that is heard.
        for number in 0..5 {
            transact(&pool, [number]).await;
            until("it is published", async || waiting(&pool).await == Some(0)).await;
        }
        let made = "select count(*) from gema_migrations where success = true";
        assert_eq!(number(&pool, made).await, Some(1), "{kind:?}");
        let turns = number(&pool, "select count(*) from broadcasts_turn").await;
        assert_eq!(turns, (kind != Kind::Sqlite).then_some(1), "{kind:?}");
    }
}

/// A node that hangs in the middle of its turn; it does so while it waits for a Redis that does not answer.
async fn a_node_that_hangs_in_its_turn_is_put_out(kind: Kind) {
    let (database, redis) = (Database::start(kind).await, Redis::start().await);
    let toml = database.setting() + ON;
    let hanging = Node::start(&settings(&redis.url(), &toml)).await;
    let pool = database.pool().await;
    until_made(&pool).await;
    let number_type = match kind {
        Kind::Postgres => "bigint",
        Kind::MariaDb | Kind::Sqlite => "signed",
    };
    let free =
        format!("select cast(id as {number_type}) from broadcasts_turn for update skip locked");
    assert_eq!(number(&pool, &free).await, Some(1));
    redis.freeze();
    transact(&pool, 0..1).await;
    until("the node has the turn", async || {
        number(&pool, &free).await.is_none()
    })
    .await;
    hanging.freeze();
    redis.thaw();
    let next = member_of_cluster(&redis.url(), &toml).await;
    let mut hearer = Hearer::at(&next).await;
    hearer.hears(1).await;
    until("the table is empty", async || {
        waiting(&pool).await == Some(0)
    })
    .await;
}

#[tokio::test]
async fn a_node_that_hangs_in_its_turn_is_put_out_by_postgresql() {
    a_node_that_hangs_in_its_turn_is_put_out(Kind::Postgres).await;
}

#[tokio::test]
async fn a_node_that_hangs_in_its_turn_is_put_out_by_mariadb() {
    a_node_that_hangs_in_its_turn_is_put_out(Kind::MariaDb).await;
}
