//! The commands for those who use a running server: what they print, how they end, and what they say when they cannot.

use serde_json::json;

use crate::support::program::{Command, gema};
use crate::support::relay::Relay;
use crate::support::{Server, until};

/// Waits until the channel has this many subscriptions.
async fn occupied(server: &Server, channel: &str, by: u64) {
    until("subscriptions", async || {
        let path = format!("/apps/app-id/channels/{channel}");
        let answer = server.get(&path, "info=subscription_count").await;
        answer.json()["subscription_count"] == by
    })
    .await;
}

fn config(toml: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gema.toml");
    std::fs::write(&path, toml).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[tokio::test]
async fn trigger_publishes_and_says_who_heard() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("orders").await;
    let url = server.url("");
    let data = r#"{"a": 1}"#;
    let said = gema(&["trigger", "orders", "new-order", data, "--url", &url])
        .await
        .good();
    assert!(said.contains("published new-order to orders"), "{said}");
    assert!(said.ends_with(": 1 subscription\n"), "{said}");
    assert_eq!(client.event("new-order").await["data"], data);

    let file = Command::new(&[
        "trigger", "orders", "b", "--file", "-", "--json", "--url", &url,
    ]);
    let said = file.reading("[2]\n").run().await;
    assert_eq!(said.json()["subscriptions"], 1);
    assert_eq!(client.event("b").await["data"], "[2]");

    let socket = client.socket_id.clone();
    let except = [
        "trigger",
        "orders",
        "c",
        "3",
        "--url",
        &url,
        "--socket-id",
        &socket,
    ];
    gema(&except).await.good();
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn trigger_says_what_is_wrong_and_the_cure() {
    let server = Server::start().await;
    let url = server.url("");
    let refused = gema(&["trigger", "a", "b", "1", "--url", &url, "--secret", "x"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("401: Invalid signature\n"),
        "{refused:?}"
    );
    assert!(refused.err.contains("--secret"), "{refused:?}");
    let no_json = gema(&["trigger", "a", "b", "{c}", "--url", &url]).await;
    assert_eq!(no_json.code, 2);
    assert!(no_json.err.contains("not JSON"), "{no_json:?}");
    let unknown = gema(&["trigger", "a", "b", "1", "--url", &url, "--app", "x"]).await;
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("no app \"x\""), "{unknown:?}");
    let closed = crate::support::port::Port::free();
    let port = closed.address().port().to_string();
    let nobody = gema(&["trigger", "a", "b", "1", "--port", &port]).await;
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("gema serve"), "{nobody:?}");
}

#[tokio::test]
async fn tail_hears_private_and_presence_channels_and_ends_after_its_count() {
    let server = Server::start().await;
    let url = server.url("");
    let channels = ["orders", "private-a", "presence-b"];
    let mut args = vec!["tail", "--json", "--count", "3", "--url", &url];
    args.extend(channels);
    let mut tail = Command::new(&args).watch();
    for channel in channels {
        occupied(&server, channel, 1).await;
        server.trigger(channel, "hello", r#"{"n":1}"#).await;
        let event = tail.json().await;
        assert_eq!(event["channel"], channel);
        assert_eq!(event["event"], "hello");
        assert_eq!(event["data"], json!({ "n": 1 }));
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    assert_eq!(tail.ended().await.0, 0);
}

#[tokio::test]
async fn tail_without_channels_hears_what_is_occupied_and_leaves_with_the_last() {
    let server = Server::start().await;
    let mut tail = Command::new(&["tail", "--url", &server.url("")]).watch();
    tail.says("listening at").await;
    let mut client = server.client().await;
    client.subscribe("orders").await;
    occupied(&server, "orders", 2).await;
    server
        .trigger("orders", "new-order", "\"a\u{1b}[2J\"")
        .await;
    let line = tail.line().await;
    assert!(
        line.ends_with("  orders  new-order  \"a\\u{1b}[2J\""),
        "{line}"
    );
    client.close().await;
    occupied(&server, "orders", 0).await;
    tail.signal("INT");
    assert_eq!(tail.ended().await.0, 0);
}

#[tokio::test]
async fn tail_comes_back_when_the_connection_breaks() {
    let server = Server::start().await;
    let relay = Relay::to(server.address);
    let url = format!("http://{}", relay.address());
    let mut tail = Command::new(&["tail", "orders", "--json", "--url", &url]).watch();
    occupied(&server, "orders", 1).await;
    relay.stop();
    tail.says("connecting again").await;
    occupied(&server, "orders", 0).await;
    relay.open();
    occupied(&server, "orders", 1).await;
    server.trigger("orders", "again", "1").await;
    assert_eq!(tail.json().await["event"], "again");
    tail.signal("INT");
    assert_eq!(tail.ended().await.0, 0);
}

#[tokio::test]
async fn tail_ends_with_the_reason_when_it_cannot_hear() {
    let server = Server::start().await;
    let url = server.url("");
    let wrong_key = gema(&[
        "tail", "a", "--url", &url, "--key", "x", "--app", "y", "--secret", "z",
    ])
    .await;
    assert_eq!(wrong_key.code, 1);
    assert!(wrong_key.err.contains("4001"), "{wrong_key:?}");
    let wrong_secret = gema(&["tail", "private-a", "--url", &url, "--secret", "z"]).await;
    assert_eq!(wrong_secret.code, 1);
    assert!(
        wrong_secret.err.contains("private-a: Invalid signature"),
        "{wrong_secret:?}"
    );
    let wrong_name = gema(&["tail", "a b", "--url", &url]).await;
    assert_eq!(wrong_name.code, 2);
}

#[tokio::test]
async fn a_token_is_believed_by_a_server_with_the_same_secret() {
    let toml = "[auth]\njwt_secret = 'hush-hush-hush-hush-hush-hush-hush'\nclaim_user = 'uid'\njwt_issuer = 'me'";
    let (_directory, path) = config(toml);
    let server = Server::with(toml).await;
    let args = ["token", "--config", &path, "--user", "7", "--role", "admin"];
    let token = gema(&args).await.good();
    let body = json!({ "socket_id": "1.1", "channel_name": "private-admin" });
    let answer = server
        .http
        .post(server.url("/api/broadcasting/auth"))
        .bearer_auth(token.trim())
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let more = [
        "token",
        "--config",
        &path,
        "--user",
        "7",
        "--claim",
        "rooms=[1]",
        "--ttl",
        "60",
        "--json",
    ];
    let shown = gema(&more).await.json();
    let claims = &shown["claims"];
    assert_eq!(
        (&claims["uid"], &claims["iss"]),
        (&json!("7"), &json!("me"))
    );
    assert_eq!(claims["rooms"], json!([1]));
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(life, 60);
}

#[tokio::test]
async fn a_token_without_a_secret_is_refused_by_the_settings_name() {
    let none = gema(&["token", "--user", "7"]).await;
    assert_eq!(none.code, 2);
    assert!(
        none.err.starts_with("auth.jwt_secret is not set"),
        "{none:?}"
    );
    let variable = Command::new(&["token", "--user", "7"]).with("JWT_SECRET", "hush");
    assert_eq!(variable.run().await.code, 0);
    let (_directory, path) = config("auth.jwks_url = 'https://example.com/keys'");
    let elsewhere = gema(&["token", "--user", "7", "--config", &path]).await;
    assert_eq!(elsewhere.code, 2);
    assert!(
        elsewhere.err.starts_with("auth.jwks_url is set"),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn check_tells_programs_what_it_tells_people() {
    let (_directory, path) =
        config("server.port = 7\n[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'hush'");
    let good = gema(&["check", "--json", "--config", &path]).await;
    assert_eq!(good.code, 0);
    assert_eq!(good.json()["ok"], true);
    assert_eq!(good.json()["config"]["server"]["port"], 7);
    assert!(!good.out.contains("hush"), "{good:?}");
    let (_directory, path) = config("\nserver.prot = 7");
    let bad = gema(&["check", "--json", "--config", &path]).await;
    assert_eq!(bad.code, 1);
    let problem = &bad.json()["problems"][0];
    assert_eq!(
        (&problem["key"], &problem["at"]["line"]),
        (&json!("server.prot"), &json!(2))
    );
    assert!(bad.err.contains("server.prot"), "{bad:?}");
}

#[tokio::test]
async fn every_command_explains_itself_and_completes() {
    for command in [
        "serve",
        "check",
        "trigger",
        "tail",
        "token",
        "doctor",
        "import",
        "completions",
    ] {
        let help = gema(&[command, "--help"]).await.good();
        assert!(
            help.contains(&format!("Example:\n  gema {command}")),
            "{help}"
        );
        for shell in ["bash", "zsh", "fish"] {
            let script = gema(&["completions", shell]).await.good();
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let wrong = gema(&["completions", "tcsh"]).await;
    assert_eq!(wrong.code, 2);
}

#[tokio::test]
async fn nothing_is_coloured_in_a_pipe() {
    let server = Server::start().await;
    let url = server.url("");
    for args in [
        vec!["trigger", "a", "b", "1", "--url", &url],
        vec!["doctor", &url],
    ] {
        let said = gema(&args).await;
        assert!(
            !said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let server = Server::start().await;
    let url = server.url("");
    // script(1) gives its command a terminal.
    let command = format!("{} doctor {url}", env!("CARGO_BIN_EXE_gema"));
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut terminal = Command::bare(&["script", "-qec", &command, "/dev/null"]);
        for (name, value) in variables.iter().chain(&[("TERM", "xterm")]) {
            terminal = terminal.with(name, value);
        }
        terminal.run()
    };
    let coloured = on_terminal(&[]).await.out;
    assert!(coloured.contains("\u{1b}[32mok"), "{coloured:?}");
    let plain = on_terminal(&[("NO_COLOR", "1")]).await.out;
    assert!(
        plain.contains("ok") && !plain.contains("\u{1b}[32m"),
        "{plain:?}"
    );
}
