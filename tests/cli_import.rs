//! `gema import`: the settings of other servers become a configuration that passes `gema check` and takes the old
//! credentials; what has no counterpart is named.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::support::node::Node;
use crate::support::program::{Ended, gema};

/// A directory with these files.
fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn path(directory: &TempDir, name: &str) -> String {
    let path: &Path = &directory.path().join(name);
    path.to_str().unwrap().to_owned()
}

/// Imports these files; gives what was made, and the command's end.
async fn import(directory: &TempDir, names: &[&str]) -> (toml::Table, Ended) {
    let out = path(directory, "gema.toml");
    let given: Vec<String> = names.iter().map(|name| path(directory, name)).collect();
    let mut args = vec!["import", "--output", &out, "--force"];
    args.extend(given.iter().map(String::as_str));
    let ended = gema(&args).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let checked = gema(&["check", "--config", &out]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    for line in ended.err.lines() {
        if let Some(left) = line.strip_prefix("not carried over: ") {
            assert!(text.contains(&format!("\n# - {left}\n")), "{left}: {text}");
        }
    }
    (text.parse().unwrap(), ended)
}

const SOKETI: &str = r#"{
  "debug": true,
  "port": 6005,
  "shutdownGracePeriod": 3000,
  "adapter.driver": "redis",
  "adapter": { "redis": { "prefix": "shop" } },
  "database.redis.host": "10.0.0.9",
  "database.redis.password": "p@ss/word",
  "database": { "redis": { "db": 2 } },
  "metrics": { "enabled": true, "port": 9700, "prometheus": { "prefix": "ws_" } },
  "queue.driver": "sqs",
  "eventLimits.maxPayloadInKb": "200",
  "cors": { "credentials": true, "origin": ["*"] },
  "webhooks.batching.enabled": true,
  "webhooks.batching.duration": 75,
  "appManager.array.apps": [
    {
      "id": 1001, "key": "key-1", "secret": "secret-1",
      "enableClientMessages": true, "maxConnections": "500",
      "maxBackendEventsPerSecond": 100, "maxClientEventsPerSecond": 20,
      "webhooks": [
        {
          "url": "https://example.com/hook", "event_types": ["channel_occupied", "made_up"],
          "headers": { "X-Token": "t", "Content-Type": "text/plain" },
          "filter": { "channel_name_starts_with": "presence-", "channel_name_ends_with": "-x" }
        },
        { "lambda_function": "f", "event_types": ["client_event"] }
      ]
    },
    { "id": "two", "key": "key-2", "secret": "secret-2", "enabled": false, "maxClientEventsPerSecond": 5 }
  ]
}"#;

#[tokio::test]
async fn soketi_json_is_carried_over() {
    let directory = files(&[("soketi.json", SOKETI)]);
    let (made, ended) = import(&directory, &["soketi.json"]).await;
    let expected: toml::Table = r#"
        server = { host = "0.0.0.0", port = 6005, shutdown_grace_s = 3 }
        limits = { event_data_bytes = 204800, presence_info_bytes = 2048, client_events_per_s = 20 }
        redis = { url = "redis://:p%40ss%2Fword@10.0.0.9:6379/2", prefix = "shop" }
        admin = { port = 9700 }
        [[apps]]
        id = "1001"
        key = "key-1"
        secret = "secret-1"
        client_events = true
        max_connections = 500
        [[apps.webhooks]]
        url = "https://example.com/hook"
        events = ["channel_occupied"]
        channel_prefix = "presence-"
        headers = { X-Token = "t" }
        batch_ms = 75
        [[apps]]
        id = "two"
        key = "key-2"
        secret = "secret-2"
        enabled = false
        client_events = false
    "#
    .parse()
    .unwrap();
    assert_eq!(made, expected);
    for left in [
        "\"made_up\"",
        "channel_name_ends_with",
        "Lambda",
        "maxBackendEventsPerSecond of app 1001",
        "maxClientEventsPerSecond of each app",
        "debug: start with GEMA_LOG=debug",
        "metrics.prometheus.prefix",
        "queue.driver",
    ] {
        assert!(ended.err.contains(left), "{left}: {}", ended.err);
    }
    assert!(!ended.err.contains("cors"), "{}", ended.err);
    assert!(!ended.err.contains("secret-1"), "{}", ended.err);
}

#[tokio::test]
async fn soketis_variables_win_over_its_file() {
    let file =
        r#"{ "port": 6005, "appManager.array.apps": [{ "id": "1", "key": "k", "secret": "s" }] }"#;
    let env = "SOKETI_PORT=6006\nSOKETI_DEFAULT_APP_SECRET='from the env'\nSOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=true\n\
               SOKETI_ADAPTER_DRIVER=cluster\nSOKETI_PRESENCE_MAX_MEMBERS=250\nSOKETI_MADE_UP=1\n\
               SOKETI_DEFAULT_APP_WEBHOOKS='[{\"url\":\"http://localhost/hook\",\"event_types\":[\"member_added\"]}]'\n";
    let directory = files(&[("soketi.json", file), (".env", env)]);
    let (made, ended) = import(&directory, &["soketi.json", ".env"]).await;
    assert_eq!(made["server"]["port"].as_integer(), Some(6006));
    assert_eq!(made["limits"]["presence_members"].as_integer(), Some(250));
    let app = &made["apps"][0];
    assert_eq!(app["id"].as_str(), Some("1"));
    assert_eq!(app["secret"].as_str(), Some("from the env"));
    assert_eq!(app["client_events"].as_bool(), Some(true));
    assert_eq!(
        app["webhooks"][0]["url"].as_str(),
        Some("http://localhost/hook")
    );
    assert!(
        ended.err.contains("adapter.driver = \"cluster\""),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("SOKETI_MADE_UP"), "{}", ended.err);
}

#[tokio::test]
async fn soketis_sentinels_and_clusters_are_found_again() {
    let apps = r#""appManager.array.apps": [{ "id": "1", "key": "k", "secret": "s" }]"#;
    let sentinel = format!(
        r#"{{ {apps}, "adapter.driver": "redis", "database.redis.sentinels": [{{ "host": "a", "port": 26379 }}, {{ "host": "b" }}],
            "database.redis.name": "shop", "database.redis.sentinelPassword": "x/y" }}"#
    );
    let cluster = format!(
        r#"{{ {apps}, "adapter.driver": "redis", "adapter.redis.clusterMode": true,
            "database.redis.clusterNodes": "[{{\"host\":\"a\",\"port\":7000}},{{\"host\":\"::1\",\"port\":7001}}]" }}"#
    );
    let directory = files(&[("sentinel.json", &sentinel), ("cluster.json", &cluster)]);
    let (made, _) = import(&directory, &["sentinel.json"]).await;
    assert_eq!(
        made["redis"]["url"].as_str(),
        Some("redis+sentinel://a:26379,b/shop?db=0&sentinel_password=x%2Fy")
    );
    let (made, _) = import(&directory, &["cluster.json"]).await;
    assert_eq!(
        made["redis"]["url"].as_str(),
        Some("redis://a:7000,redis://[::1]:7001")
    );
}

const REVERB: &str = r#"APP_NAME="My Shop"
BROADCAST_CONNECTION=reverb
BROKEN=two words hush
REDIS_HOST=127.0.0.1
REDIS_PASSWORD=null
REDIS_PORT=6380
REVERB_APP_ID=123456
REVERB_APP_KEY=reverb-key
REVERB_APP_SECRET="reverb secret"
REVERB_HOST="localhost"
REVERB_PORT=8080
REVERB_SCHEME=http
REVERB_SERVER_PORT=8085
REVERB_SCALING_ENABLED=true
REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM=none
REVERB_APP_PING_INTERVAL=30
REVERB_APP_MAX_MESSAGE_SIZE=20000
PUSHER_APP_ID=
PUSHER_APP_KEY=
PUSHER_APP_SECRET=
JWT_SECRET=abcdefabcdefabcdefabcdefabcdefabcdef
VITE_REVERB_APP_KEY="${REVERB_APP_KEY}"
"#;

#[tokio::test]
async fn a_reverb_env_is_carried_over() {
    let directory = files(&[(".env", REVERB)]);
    let (made, ended) = import(&directory, &[".env"]).await;
    let expected: toml::Table = r#"
        server = { host = "0.0.0.0", port = 8085 }
        limits = { message_bytes = 20000 }
        auth = { jwt_secret = "abcdefabcdefabcdefabcdefabcdefabcdef" }
        redis = { url = "redis://127.0.0.1:6380/0" }
        [[apps]]
        id = "123456"
        key = "reverb-key"
        secret = "reverb secret"
        client_events = false
    "#
    .parse()
    .unwrap();
    assert_eq!(made, expected);
    let left: Vec<&str> = ended
        .err
        .lines()
        .filter(|line| line.starts_with("not "))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].contains("BROKEN: "), "{left:?}");
    assert!(left[1].contains("REVERB_APP_PING_INTERVAL"), "{left:?}");
    assert!(!ended.err.contains("hush"), "{}", ended.err);
}

#[tokio::test]
async fn a_pusher_env_keeps_its_credentials_and_what_is_half_there_is_named() {
    let env = "BROADCAST_DRIVER=pusher\nPUSHER_APP_ID=1\nPUSHER_APP_KEY=k\nPUSHER_APP_SECRET=s\nPUSHER_HOST=\n\
               PUSHER_APP_CLUSTER=eu\nREVERB_APP_KEY=only-a-key\n";
    let directory = files(&[(".env", env)]);
    let (made, ended) = import(&directory, &[".env"]).await;
    assert_eq!(made.keys().collect::<Vec<_>>(), ["apps"]);
    assert_eq!(made["apps"].as_array().unwrap().len(), 1);
    assert_eq!(made["apps"][0]["secret"].as_str(), Some("s"));
    assert!(ended.err.contains("REVERB_APP_SECRET"), "{}", ended.err);
}

#[tokio::test]
async fn the_development_secret_stays_on_loopback() {
    let directory = files(&[("soketi.json", r#"{ "port": 6005 }"#)]);
    let (made, ended) = import(&directory, &["soketi.json"]).await;
    assert_eq!(made["apps"][0]["secret"].as_str(), Some("app-secret"));
    assert_eq!(made["server"]["host"].as_str(), Some("127.0.0.1"));
    assert!(ended.err.contains("app-secret"), "{}", ended.err);
}

#[tokio::test]
async fn a_server_with_the_imported_settings_takes_what_the_old_credentials_sign() {
    let soketi = r#"{ "appManager.array.apps": [{ "id": "1", "key": "k", "secret": "s" }] }"#;
    let reverb = "REVERB_APP_ID=2\nREVERB_APP_KEY=l\nREVERB_APP_SECRET=t\n";
    let directory = files(&[("soketi.json", soketi), (".env", reverb)]);
    let (made, _) = import(&directory, &["soketi.json", ".env"]).await;
    let node = Node::start(&made.to_string()).await;
    let url = format!("http://127.0.0.1:{}", node.address.port());
    for [id, key, secret] in [["1", "k", "s"], ["2", "l", "t"]] {
        let app = ["--app", id, "--key", key, "--secret", secret];
        let args = [&["trigger", "a", "b", "1", "--url", &url], &app[..]].concat();
        gema(&args).await.good();
    }
}

#[tokio::test]
async fn a_file_that_is_there_stays_unless_it_is_forced_and_is_for_its_owner_alone() {
    let directory = files(&[(
        ".env",
        "PUSHER_APP_ID=1\nPUSHER_APP_KEY=k\nPUSHER_APP_SECRET=s\n",
    )]);
    let (env, out) = (path(&directory, ".env"), path(&directory, "out.toml"));
    gema(&["import", &env, "--output", &out]).await.good();
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&out, "mine").unwrap();
    let again = gema(&["import", &env, "--output", &out]).await;
    assert_eq!(again.code, 2);
    assert!(again.err.contains("--force"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine");
    gema(&["import", &env, "--output", &out, "--force"])
        .await
        .good();
    let printed = gema(&["import", &env]).await.good();
    assert_eq!(printed, std::fs::read_to_string(&out).unwrap());
}

#[tokio::test]
async fn files_that_make_no_configuration_are_refused_with_the_reason() {
    let taken = r#"{ "pathPrefix": "a b", "appManager.array.apps": [{ "id": "1", "key": "k", "secret": "s" }] }"#;
    let directory = files(&[
        ("empty.env", "APP_NAME=x\n"),
        ("bad.json", "{"),
        ("path.json", taken),
    ]);
    for (name, code, said) in [
        ("empty.env", 1, "no app was found"),
        ("bad.json", 2, "is not JSON"),
        ("path.json", 1, "server.path_prefix is \"a b\""),
        ("missing.env", 2, "cannot be read"),
    ] {
        let ended = gema(&["import", &path(&directory, name)]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.err.contains(said), "{ended:?}");
        assert_eq!(ended.out, "");
    }
}
