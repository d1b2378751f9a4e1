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
