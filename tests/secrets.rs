//! No secret, token or signature is shown to anybody who should not see it: not in the log at its most talkative, nor in
//! answers, figures, complaints about the configuration, or what `gema check` prints.

use gema_protocol::auth::{sign_channel, sign_user};
use gema_protocol::request::ApiRequest;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tempfile::TempDir;

use crate::support::child::Child;
use crate::support::database::{Database, Kind};
use crate::support::http::{Answer, unix_s};
use crate::support::node::Node;
use crate::support::port::Port;
use crate::support::receiver::{Down, Receiver};
use crate::support::redis::Redis;
use crate::support::{Client, until};

const APP: &str = "marked-app-secret";
const JWT: &str = "marked-jwt-secret-of-at-least-thirty-two-bytes";
const REDIS: &str = "marked-redis-password";
const DATABASE: &str = "marked-database-password";
const ADMIN: &str = "marked-admin-token";
const HEADER: &str = "marked-header-of-a-webhook";
const PATH: &str = "marked-path-of-a-webhook";
/// base64 of "marked encryption key, 32 bytes!".
const MASTER: &str = "bWFya2VkIGVuY3J5cHRpb24ga2V5LCAzMiBieXRlcyE=";

/// What must not be seen: all of the above, and what is collected on the way.
struct Marks(Vec<String>);

impl Marks {
    fn new() -> Marks {
        let fixed = [APP, JWT, REDIS, DATABASE, ADMIN, HEADER, PATH, MASTER];
        Marks(fixed.map(str::to_owned).into())
    }

    /// The same text, and never again elsewhere.
    fn mark(&mut self, text: impl Into<String>) -> String {
        let text = text.into();
        self.0.push(text.clone());
        text
    }

    fn assert_not_in(&self, place: &str, text: &str) {
        for mark in &self.0 {
            let Some(at) = text.find(mark) else { continue };
            let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let line = text[begin..].lines().next().unwrap();
            panic!("{mark} is in {place}: {line}");
        }
    }
}

fn settings(redis: &str, database: &str, hooks: [&str; 2]) -> String {
    let [one, two] = hooks;
    format!(
        "[[apps]]\nid = 'app-id'\nkey = 'app-key'\nsecret = '{APP}'\nencryption_master_key = '{MASTER}'\n\
         [[apps.webhooks]]\nurl = '{one}/{PATH}'\nheaders = {{ X-Token = '{HEADER}' }}\n\
         [[apps.webhooks]]\nurl = '{two}/{PATH}?token={PATH}'\n\
         [auth]\njwt_secret = '{JWT}'\n[redis]\nurl = '{redis}'\n[database]\nurl = '{database}'\n\
         [admin]\ntoken = '{ADMIN}'\n"
    )
}

fn token(secret: &str, exp: u64) -> String {
    let claims = json!({ "sub": "7", "name": "Ada", "roles": ["admin"], "exp": exp });
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// A backend's calls, signed well and badly.
async fn trigger(node: &Node, marks: &mut Marks) {
    let body = json!({ "name": "n", "channel": "private-a", "data": "1" }).to_string();
    for (secret, status) in [(APP, 200), ("another", 401)] {
        let request = ApiRequest {
            method: "POST",
            path: "/apps/app-id/events",
            query: "",
            body: body.as_bytes(),
        };
        let query = request.sign("app-key", secret, unix_s());
        let (_, signature) = query.rsplit_once('=').unwrap();
        marks.mark(signature);
        let url = node.url(&format!("{}?{query}", request.path));
        let answer = node.http.post(url).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

/// A page's subscriptions and sign-ins, signed well and badly.
async fn subscribe(node: &Node, marks: &mut Marks) {
    let mut client = node.client().await;
    let socket = client.socket_id.clone();
    for secret in ["another", APP] {
        let user_data = r#"{"id":"7"}"#;
        let auth = sign_user("app-key", secret, &socket, user_data);
        let data = json!({ "auth": marks.mark(auth), "user_data": user_data });
        client
            .send(json!({ "event": "pusher:signin", "data": data }))
            .await;
        client.next().await;
        let auth = sign_channel("app-key", secret, &socket, "private-a", None);
        let data = json!({ "channel": "private-a", "auth": marks.mark(auth) });
        client
            .send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
        client.next().await;
    }
    client
        .send(json!({ "event": "client-x", "channel": "private-a", "data": {} }))
        .await;
    client.nothing_before_pong().await;
    client.close().await;
}

/// Tokens by header and in URLs, good, expired and forged.
async fn present_tokens(node: &Node, marks: &mut Marks, seen: &mut String) {
    for (secret, exp) in [
        (JWT, unix_s() + 600),
        (JWT, 1),
        ("a forger's secret of thirty-two bytes", unix_s() + 600),
    ] {
        let token = marks.mark(token(secret, exp));
        for channel in ["private-admin", "private-encrypted-a", "private-other"] {
            let body = format!("socket_id=1.2&channel_name={channel}");
            let request = node.http.post(node.url("/api/broadcasting/auth"));
            let request = request.bearer_auth(&token).body(body);
            let answer = Answer::of(request.send().await.unwrap()).await;
            if answer.status != 200 {
                seen.push_str(&answer.text);
            }
        }
        let request = node.http.get(node.url("/api/chats/unread"));
        request.bearer_auth(&token).send().await.unwrap();
        let plain = format!("/ws?token={token}");
        if exp > 1 && secret == JWT {
            Client::open(node.address, &plain, |_| {}).await.vanish();
        } else {
            let answer = node.http.get(node.url(&plain)).send().await.unwrap();
            seen.push_str(&answer.text().await.unwrap());
        }
        // Here the answer comes after the upgrade, good or bad.
        let pusher = format!("/app/app-key?protocol=7&token={token}");
        Client::open(node.address, &pusher, |_| {}).await.vanish();
        let polling = format!("/socket.io/?EIO=4&transport=polling&token={token}");
        let opened = node.http.get(node.url(&polling)).send().await.unwrap();
        let opened = opened.text().await.unwrap();
        let opened: serde_json::Value = serde_json::from_str(&opened[1..]).unwrap();
        let session = format!("{polling}&sid={}", opened["sid"].as_str().unwrap());
        let connect = format!("40{}", json!({ "token": token }));
        let posted = node.http.post(node.url(&session)).body(connect);
        assert_eq!(posted.send().await.unwrap().status(), 200);
        let fetched = node.http.get(node.url(&session)).send().await.unwrap();
        seen.push_str(&fetched.text().await.unwrap());
    }
}

/// Scrapes with the token and without.
async fn scrape(node: &Node, admin: &Port, seen: &mut String) {
    let url = format!("http://{}/metrics", admin.address());
    let wrong = format!("{ADMIN}s");
    for (url, token, status) in [
        (url.clone(), ADMIN, 200),
        (url.clone(), &wrong, 401),
        (format!("{url}?token={ADMIN}"), "", 200),
        (format!("{url}?token={wrong}"), "", 401),
    ] {
        let answer = node.http.get(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}");
        seen.push_str(&answer.text().await.unwrap());
    }
}

#[tokio::test]
async fn the_log_at_its_most_talkative_and_the_answers_hold_no_secret_token_or_signature() {
    let mut redis = Redis::with(&["--requirepass", REDIS]).await;
    let mut database = Database::start(Kind::Postgres).await;
    let (mut taken, down, admin) = (Receiver::start(), Down::new(), Port::free());
    let toml = settings(
        &redis.url().replace("//", &format!("//:{REDIS}@")),
        &database
            .url()
            .replace("gema@", &format!("gema:{DATABASE}@")),
        [&taken.url(), &down.url()],
    );
    let port = admin.address().port().to_string();
    let variables = [("GEMA_LOG", "trace"), ("GEMA_ADMIN__PORT", port.as_str())];
    let (mut marks, mut seen) = (Marks::new(), String::new());
    let mut node = Node::start_logged(&toml, &variables).await;
    until("the node is ready", async || {
        node.ready().await.status == 200
    })
    .await;

    subscribe(&node, &mut marks).await;
    trigger(&node, &mut marks).await;
    present_tokens(&node, &mut marks, &mut seen).await;
    scrape(&node, &admin, &mut seen).await;
    taken.has_taken(1).await;
    // What fails is logged in other words than what works.
    redis.kill();
    database.kill();
    until("the node is not ready", async || {
        node.ready().await.status == 503
    })
    .await;
    seen.push_str(&node.ready().await.text);
    present_tokens(&node, &mut marks, &mut seen).await;
    node.reload();
    until("it has reloaded", async || node.log().contains("SIGHUP")).await;
    redis.start_again().await;
    database.start_again().await;
    until("the node is ready", async || {
        node.ready().await.status == 200
    })
    .await;
    node.terminate();
    node.ended().await;

    let log = node.log();
    for line in ["TRACE", "connected", "webhook", "Redis"] {
        assert!(log.contains(line), "it is talkative: {line}");
    }
    marks.assert_not_in("the log", &log);
    marks.assert_not_in("the answers", &seen);
}

#[tokio::test]
async fn servers_that_refuse_a_password_are_logged_without_it() {
    let redis = Redis::with(&["--requirepass", "another"]).await;
    let database = Database::start(Kind::MariaDb).await;
    let toml = settings(
        &redis.url().replace("//", &format!("//:{REDIS}@")),
        &database
            .url()
            .replace("gema:gema@", &format!("gema:{DATABASE}@")),
        ["http://127.0.0.1:1", "http://127.0.0.1:1"],
    );
    let node = Node::start_logged(&toml, &[("GEMA_LOG", "trace")]).await;
    until("both have refused", async || {
        let log = node.log();
        log.contains("cannot reach Redis") && log.contains("the database is away")
    })
    .await;
    Marks::new().assert_not_in("the log", &node.log());
}

/// What the program says about a file, on both outputs, and its exit code.
async fn check(toml: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("gema.toml"), toml).unwrap();
    let (program, args) = (
        env!("CARGO_BIN_EXE_gema"),
        ["check", "--config", "gema.toml"],
    );
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut child = Child::start_logged(directory.path(), program, &args, variables, log.into());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.output(), &mut said).unwrap();
    until("it ends", async || child.exit_code().is_some()).await;
    said += &std::fs::read_to_string(directory.path().join("log")).unwrap();
    let code = child.exit_code().flatten().expect("an end of its own");
    (code, said)
}

#[tokio::test]
async fn what_check_prints_holds_no_secret() {
    let toml = settings(
        &format!("redis://user:{REDIS}@one,redis://:{REDIS}@two"),
        &format!("mysql://user:{DATABASE}@host/name?password={DATABASE}"),
        ["https://one.example", "https://two.example"],
    );
    let (code, said) = check(&toml, &[("GEMA_LOG", "trace")]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("one.example") && said.contains("@host/name"),
        "{said}"
    );
    Marks::new().assert_not_in("the effective configuration", &said);

    let jwks = format!("auth.jwks_url = 'https://user:{JWT}@login.example/keys?key={JWT}'");
    let (code, said) = check(&jwks, &[]).await;
    assert_eq!(code, 0, "{said}");
    Marks::new().assert_not_in("the effective configuration", &said);
}

#[tokio::test]
async fn complaints_about_a_configuration_hold_no_secret() {
    let marks = Marks::new();
    let app = "[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'c'\n";
    for toml in [
        format!("[[apps]]\nid = 'a'\nkey = 'b'\nsecret = '{APP}"),
        format!("[[apps]]\nid = 'a'\nkey = 'b'\nsecret = ['{APP}']"),
        format!("[[apps]]\nid = 'a'\nkey = 'b'\nsecret = {APP}"),
        format!("[[apps]]\nid = 'a'\nkey = 'b'\nsecrets = '{APP}'"),
        format!("[[apps]]\nid = 'a'\nkey = 'b'\nsecret = '{APP}'\nsecret = '{APP}'"),
        format!("{app}encryption_master_key = '{MASTER}{MASTER}'"),
        format!("{app}[[apps.webhooks]]\nurl = 'one.example/{PATH}?{PATH}'"),
        format!("{app}[[apps.webhooks]]\nurl = 'http://a'\nheaders = {{ A = \"\\n{HEADER}\" }}"),
        format!("redis.url = 'redis//:{REDIS}@host'"),
        format!("redis.url = 'redis://:{REDIS}@host:port'"),
        format!("redis.url = 'redis://:{REDIS}#x/y?z@host'"),
        format!("database.url = 'oracle://user:{DATABASE}@host/name'"),
        format!("database.url = 'postgres://user:{DATABASE}@host:port/name'"),
        format!("database.url = 'mysql://user:{DATABASE}/x@host/name'"),
        format!("auth.jwks_url = 'ftp://user:{JWT}@login.example/keys?{JWT}'"),
        format!("admin.token = {{ '{ADMIN}' = 1 }}"),
        format!("admin.token = '{ADMIN}' '{ADMIN}'"),
    ] {
        let (code, said) = check(&toml, &[]).await;
        assert_eq!(code, 1, "{toml}: {said}");
        marks.assert_not_in("the complaint", &said);
    }
    for (name, value) in [
        ("GEMA_REDIS__URL", format!("redis//:{REDIS}@host")),
        ("DATABASE_URL", format!("user:{DATABASE}@host")),
        ("GEMA_ADMIN__TOKENS", ADMIN.to_owned()),
        ("GEMA_APPS__0__ENCRYPTION_MASTER_KEY", format!("{MASTER}x")),
        ("GEMA_APPS__0__WEBHOOKS__0__HEADERS", HEADER.to_owned()),
    ] {
        let (code, said) = check("", &[(name, &value)]).await;
        assert_eq!(code, 1, "{name}: {said}");
        marks.assert_not_in("the complaint", &said);
    }
}
