//! Behind a proxy: a path prefix, and the browser's questions before it calls another origin.

use serde_json::json;

use crate::support::http::{Answer, sign};
use crate::support::{Client, Server};

#[tokio::test]
async fn everything_is_served_below_the_prefix_and_signed_with_it_or_without() {
    let server = Server::with("[server]\npath_prefix = \"/rt\"").await;
    let mut client = Client::connect(server.address, "/rt/app/app-key?protocol=7").await;
    client.subscribe("a").await;
    let body = json!({ "name": "n", "data": "1", "channel": "a" }).to_string();
    for signed_path in ["/apps/app-id/events", "/rt/apps/app-id/events"] {
        let query = sign("POST", signed_path, "", body.as_bytes());
        let url = server.url(&format!("/rt/apps/app-id/events?{query}"));
        let answer = Answer::of(
            server
                .http
                .post(url)
                .body(body.clone())
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        client.event("n").await;
    }
    // A proxy that takes the prefix off itself is as good.
    Client::connect(server.address, "/app/app-key").await;
    let up = server.http.get(server.url("/rt/up")).send().await.unwrap();
    assert_eq!(up.status(), 200);
}

#[tokio::test]
async fn a_preflight_is_answered_for_allowed_origins_only() {
    let server = Server::with(
        "[[apps]]\nid = \"a\"\nkey = \"k\"\nsecret = \"s\"\nallowed_origins = [\"https://shop.example\"]",
    )
    .await;
    let ask = async |origin: &str| {
        let url = server.url("/api/broadcasting/auth");
        let request = server
            .http
            .request(reqwest::Method::OPTIONS, url)
            .header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            );
        request.send().await.unwrap()
    };
    let yes = ask("https://shop.example").await;
    assert_eq!(yes.status(), 204);
    assert_eq!(
        yes.headers()["access-control-allow-origin"],
        "https://shop.example"
    );
    assert_eq!(
        yes.headers()["access-control-allow-headers"],
        "authorization,content-type"
    );
    assert!(
        yes.headers()["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    let no = ask("https://evil.example").await;
    assert_eq!(no.status(), 403);
    assert!(no.headers().get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn an_answer_may_be_read_by_the_page_even_when_it_is_a_refusal() {
    let server = Server::start().await;
    let request = server.http.post(server.url("/api/broadcasting/auth"));
    let answer = request
        .header("origin", "https://any.example")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://any.example"
    );
}

#[tokio::test]
async fn pages_of_other_origins_are_told_nothing_by_the_trigger_api() {
    let server = Server::start().await;
    let url = server.url("/apps/app-id/channels");
    for method in [reqwest::Method::GET, reqwest::Method::OPTIONS] {
        let request = server.http.request(method, &url);
        let request = request
            .header("origin", "https://any.example")
            .header("access-control-request-method", "GET");
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_client_error());
        let named = answer.headers().keys().map(|name| name.as_str());
        let told: Vec<&str> = named.filter(|name| name.starts_with("access-")).collect();
        assert!(told.is_empty(), "{told:?}");
    }
}

#[tokio::test]
async fn answers_say_what_they_are_and_the_page_what_it_may_do() {
    let server = Server::start().await;
    for path in [
        "/",
        "/up",
        "/nowhere",
        "/websocket-test.html",
        "/apps/<b>/channels",
    ] {
        let answer = server.http.get(server.url(path)).send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        let kind = headers["content-type"].to_str().unwrap();
        assert_eq!(
            kind.starts_with("text/html"),
            path.ends_with(".html"),
            "{path}"
        );
    }
    let page = server.http.get(server.url("/websocket-test.html"));
    let page = page.send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    for rule in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
}
