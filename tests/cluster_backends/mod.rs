//! Whatever Redis is (one server, over TLS, with rights for a few commands only, watched by sentinels, a cluster), the
//! nodes around it keep the same promises, also when a server of it dies and another takes its place.

mod promises;
mod scene;

use std::collections::{BTreeSet, HashSet};

use self::scene::{NAMES, Scene, room};
use crate::support::redis::Redis;
use crate::support::redis_cluster::RedisCluster;
use crate::support::redis_tls::RedisTls;

/// What gema asks of any Redis: the commands that its user must be allowed.
const COMMANDS: &str = "+script|load +evalsha +ping +publish +subscribe +unsubscribe \
    +del +exists +expire +hdel +hexists +hget +hgetall +hincrby +hkeys +hlen +hmget +hscan +hset +hvals +pexpire +pttl \
    +sadd +set +sismember +srem +time +unlink +zadd +zrangebyscore +zrem +zscore";

/// What it asks of a Redis Cluster in place of publish, subscribe and unsubscribe.
const CLUSTER_COMMANDS: &str =
    "+asking +cluster|info +cluster|slots +spublish +ssubscribe +sunsubscribe";

/// The options of a server with a user who has these rights and no others.
fn user(commands: &str) -> Vec<String> {
    let rights = format!("--user gema on >hunter2 ~shop:* &shop:* {commands}");
    rights.split_whitespace().map(str::to_owned).collect()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What was asked of a server since its start, as rights are written.
async fn asked(server: &Redis) -> BTreeSet<String> {
    let info: String = server.command(&["INFO", "commandstats"]).await;
    let names = info.lines().filter_map(|line| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let refused = figures.contains(":calls=0,");
        (!refused).then(|| format!("+{name}"))
    });
    names.collect()
}

/// What gema's user wanted and was not allowed.
async fn refused(server: &Redis) -> Vec<redis::Value> {
    server.command(&["ACL", "LOG"]).await
}

#[tokio::test]
async fn a_server_with_another_database_and_prefix() {
    // For this it needs one right more.
    let user = user(&format!("{COMMANDS} +select"));
    let redis = Redis::with(&words(&user)).await;
    let url = format!("redis://gema:hunter2@{}/3", redis.address());
    let scene = Scene::set(&url, "prefix = 'shop'").await;
    let keyspace: String = redis.command(&["INFO", "keyspace"]).await;
    let databases: Vec<&str> = keyspace
        .lines()
        .filter(|line| line.starts_with("db"))
        .collect();
    assert!(
        databases.len() == 1 && databases[0].starts_with("db3:"),
        "{keyspace}"
    );
    scene.plays_out().await;
    assert_eq!(refused(&redis).await, []);
}

/// These are the rights that the documentation names.
#[tokio::test]
async fn a_server_over_tls_with_just_the_rights_that_gema_needs() {
    let user = user(COMMANDS);
    let redis = RedisTls::start(&words(&user)).await;
    let scene = Scene::set(&redis.url("gema:hunter2@127.0.0.1"), "prefix = 'shop'").await;
    scene.plays_out().await;
    assert_eq!(refused(&redis.server).await, []);
    // Logins need no right; the others are this test's own.
    let asked = asked(&redis.server).await;
    let own = ["+hello", "+auth", "+info", "+acl|log", "+client|setinfo"];
    let used: BTreeSet<&str> = asked.iter().map(String::as_str).collect();
    let used: BTreeSet<&str> = used.difference(&BTreeSet::from(own)).copied().collect();
    assert_eq!(used, COMMANDS.split_whitespace().collect());
}

#[tokio::test]
async fn sentinels_that_choose_another_master() {
    let mut master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let sentinel = Redis::sentinel_of(&master).await;
    let url = format!("redis+sentinel://{}/service", sentinel.address());
    let mut scene = Scene::set(&url, "").await;
    let end = async || {
        replica.catches_up_with(&master).await;
        master.kill();
    };
    scene.outlives(end).await;
    scene.plays_out().await;
}

#[tokio::test]
async fn a_cluster_of_three_masters() {
    let commands = format!("{COMMANDS} {CLUSTER_COMMANDS} -publish -subscribe -unsubscribe");
    let user = user(&commands);
    let cluster = RedisCluster::start(false, &words(&user)).await;
    for place in ["c:a-", "c:presence-", "c:cache-", "c:only-", "u:"] {
        let mut masters = HashSet::new();
        for name in NAMES {
            let key = format!("shop:{{app-id:{place}{name}}}");
            masters.insert(cluster.master_of(&key).await);
        }
        assert_eq!(masters.len(), 3, "the names of {place} are on all masters");
    }
    let addresses: Vec<String> = cluster
        .servers
        .iter()
        .map(|server| format!("gema:hunter2@{}", server.address()))
        .collect();
    let url = format!("redis://{}", addresses.join(","));
    let scene = Scene::set(&url, "prefix = 'shop'").await;
    scene.plays_out().await;
    for server in &cluster.servers {
        assert_eq!(refused(server).await, []);
    }
}

#[tokio::test]
async fn a_cluster_whose_replica_takes_over_from_a_dead_master() {
    let mut cluster = RedisCluster::start(true, &[]).await;
    let seeds: Vec<String> = cluster.servers[..3]
        .iter()
        .map(|server| server.address().to_string())
        .collect();
    let url = format!("redis://{}", seeds.join(","));
    let mut scene = Scene::set(&url, "").await;
    let victim = cluster
        .master_of(&format!("gema:{{app-id:c:{}}}", room(0)))
        .await;
    scene.outlives(async || cluster.kill(victim).await).await;
    scene.plays_out().await;
}

/// The leases and the nodes' indexes have a home as well, which is another server's now.
#[tokio::test]
async fn a_cluster_that_loses_the_server_of_the_leases() {
    let mut cluster = RedisCluster::start(true, &[]).await;
    let url = cluster.servers[0].url();
    let mut scene = Scene::set(&url, "").await;
    let victim = cluster.master_of("gema:{nodes}").await;
    scene.outlives(async || cluster.kill(victim).await).await;
    scene.plays_out().await;
}
