//! Who may look and act: whoever knows the token, or this machine and no page of another site in its browser.

use serde_json::json;
use tokio::time::timeout;

use super::made;
use crate::support::console::answer;
use crate::support::{DEADLINE, Server, until};

const READS: [&str; 7] = [
    "/api/overview",
    "/api/stream",
    "/api/connections",
    "/api/connections/1.2",
    "/api/channels?app=app-id",
    "/api/channel?app=app-id&name=a",
    "/api/webhooks?app=app-id",
];

const ACTS: [&str; 4] = [
    "/api/events",
    "/api/connections/1.2/disconnect",
    "/api/webhooks/1/replay?app=app-id",
    "/api/logout",
];

#[tokio::test]
async fn with_a_token_nothing_is_read_or_done_without_it() {
    let server = Server::with_admin("admin.token = 'hush'").await;
    for path in READS {
        for query in ["", "token=hush"] {
            let sign = if path.contains('?') { '&' } else { '?' };
            let url = server.admin_url(&format!("{path}{sign}{query}"));
            assert_eq!(answer(server.http.get(url)).await.status, 401, "{path}");
        }
        let wrong = server.http.get(server.admin_url(path));
        let wrong = wrong.header("Authorization", "Bearer hushh");
        // The later ones may be refused unheard.
        let status = answer(wrong).await.status;
        assert!([401, 429].contains(&status), "{path}: {status}");
    }
    for path in ACTS {
        assert_eq!(server.act(path, json!({})).await.status, 401, "{path}");
    }
    // Whoever guessed is heard again, in a second at most.
    until("the right token is taken", async || {
        let known = server.http.get(server.admin_url("/api/overview"));
        let known = answer(known.header("Authorization", "Bearer hush")).await;
        known.status == 200
    })
    .await;
    // The page itself says nothing of this server, and has to come before the login.
    let page = answer(server.http.get(server.admin_url("/"))).await;
    assert_eq!(page.status, 200);
    for secret in ["hush", "app-id", "app-key", "app-secret"] {
        assert!(!page.text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn guessing_the_token_is_slow_and_keeps_nobody_at_another_address_out() {
    let server = Server::with_admin("admin.token = 'hush'").await;
    // All of 127.0.0.0/8 is this machine.
    let guesser = "127.0.0.66".parse().ok();
    let guesser = reqwest::Client::builder().local_address(guesser);
    let guesser = guesser.build().expect("a client");
    let guess = async |path: &str, token: &str| {
        let request = guesser.get(server.admin_url(path));
        let response = request.bearer_auth(token).send().await.expect("an answer");
        let after = response.headers().get("retry-after").cloned();
        (response.status().as_u16(), after)
    };
    let mut unheard = 0;
    for number in 0..60 {
        let path = ["/metrics", "/api/overview"][number % 2];
        let (status, after) = guess(path, &format!("hush{number}")).await;
        if status == 429 {
            assert_eq!(after.expect("Retry-After"), "1");
            unheard += 1;
        } else {
            assert_eq!(status, 401, "{path}");
        }
        let known = server.http.get(server.admin_url(path)).bearer_auth("hush");
        assert_eq!(answer(known).await.status, 200, "{path}");
    }
    assert!(unheard > 0, "60 guesses in a moment");
    // Now and then its own token is heard there, too: the refusals cost nothing.
    until("the guesser's right token", async || {
        guess("/metrics", "hush").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_login_opens_a_session_until_the_logout() {
    let server = Server::with_admin("admin.token = 'hush'").await;
    let login = async |token: &str| {
        let request = server.http.post(server.admin_url("/api/login"));
        let request = request.header("X-Gema-Console", "1");
        let request = request.body(json!({ "token": token }).to_string());
        request.send().await.expect("an answer")
    };
    let refused = login("hus").await;
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().get("set-cookie").is_none());
    let cookie = login("hush").await.headers()["set-cookie"].clone();
    let cookie = cookie.to_str().expect("text");
    assert!(
        cookie.contains("; HttpOnly; SameSite=Strict; Max-Age="),
        "{cookie}"
    );
    assert!(!cookie.contains("hush"), "{cookie}");
    let session = cookie.split(';').next().expect("a pair");
    let with_session = async |method: reqwest::Method, path: &str| {
        let request = server.http.request(method, server.admin_url(path));
        let request = request.header("Cookie", format!("other=1; {session}"));
        answer(request.header("X-Gema-Console", "1")).await.status
    };
    assert_eq!(
        with_session(reqwest::Method::GET, "/api/overview").await,
        200
    );
    assert_eq!(with_session(reqwest::Method::GET, "/metrics").await, 401);
    let url = server.admin_url("/api/stream");
    let stream = server.http.get(url).header("Cookie", session).send().await;
    let stream = stream.expect("an answer");
    assert_eq!(stream.status(), 200);
    assert_eq!(
        with_session(reqwest::Method::POST, "/api/logout").await,
        200
    );
    let ended = timeout(DEADLINE, stream.bytes()).await.expect("its end");
    ended.expect("whole");
    assert_eq!(
        with_session(reqwest::Method::GET, "/api/overview").await,
        401
    );
}

#[tokio::test]
async fn without_a_token_neither_another_sites_name_nor_a_proxy_gets_in() {
    let server = Server::with_admin("").await;
    for (name, value) in [
        ("Host", "evil.example"),
        ("Host", "evil.example:9601"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
    ] {
        for path in READS.into_iter().chain(["/", "/console/main.js"]) {
            let request = server.http.get(server.admin_url(path)).header(name, value);
            assert_eq!(answer(request).await.status, 403, "{path} {value}");
        }
    }
    server.look("/api/overview").await;
}

#[tokio::test]
async fn an_action_that_the_consoles_page_did_not_ask_for_is_not_done() {
    let server = Server::with_admin("").await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let foreign: [&[(&str, &str)]; 5] = [
        &[],
        &[("X-Gema-Console", "1"), ("Origin", "http://evil.example")],
        &[("X-Gema-Console", "1"), ("Origin", "null")],
        &[("X-Gema-Console", "1"), ("Sec-Fetch-Site", "same-site")],
        &[
            ("Content-Type", "text/plain"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
    ];
    for headers in foreign {
        for path in ACTS {
            let mut request = server.http.post(server.admin_url(path));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(made("a").to_string());
            assert_eq!(answer(request).await.status, 403, "{path} {headers:?}");
        }
    }
    client.nothing_before_pong().await;
    assert_eq!(server.act("/api/events", made("a")).await.status, 200);
    client.event("made").await;
}
