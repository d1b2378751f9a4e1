//! The HTTP API as SDKs call it: signatures, answers, limits, and errors that name what is wrong.

use gema_protocol::request::ApiRequest;
use serde_json::json;

use crate::support::http::{Answer, sign, unix_s};
use crate::support::{Server, until};

const EVENTS: &str = "/apps/app-id/events";

fn event(channel: &str) -> String {
    json!({ "name": "n", "data": "1", "channels": [channel] }).to_string()
}

#[tokio::test]
async fn an_event_for_several_channels_reaches_each_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    let body = json!({ "name": "n", "data": { "x": [1, "é"] }, "channels": ["a", "b", "a"] });
    let answer = server.post(EVENTS, &body.to_string()).await;
    assert_eq!(answer.text, "{}");
    for channel in ["a", "b"] {
        let event = client.event("n").await;
        assert_eq!(event["channel"], channel);
        assert_eq!(
            event["data"], r#"{"x":[1,"é"]}"#,
            "data that is no string is sent as its JSON"
        );
    }
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn what_the_body_does_not_say_may_stand_in_the_query() {
    let server = Server::start().await;
    let (mut client, mut sender) = (server.client().await, server.client().await);
    for channel in ["a", "b"] {
        client.subscribe(channel).await;
        sender.subscribe(channel).await;
    }
    let call = async |query: &str, body: &str| {
        let query = sign("POST", EVENTS, query, body.as_bytes());
        let url = server.url(&format!("{EVENTS}?{query}"));
        let request = server.http.post(url).body(body.to_owned()).send();
        Answer::of(request.await.unwrap()).await
    };
    let socket_id = &sender.socket_id;
    let query = format!("name=n&data=x%2By&channels[]=a&channels[]=b&socket_id={socket_id}");
    assert_eq!(call(&query, "").await.text, "{}");
    for channel in ["a", "b"] {
        let event = client.event("n").await;
        assert_eq!(
            (&event["channel"], &event["data"]),
            (&json!(channel), &json!("x+y"))
        );
    }
    let body = json!({ "name": "body", "data": "1", "channel": "a" }).to_string();
    let answer = call("name=query&channels[]=b&info=subscription_count", &body).await;
    let expected = json!({ "channels": { "a": { "subscription_count": 2 } } });
    assert_eq!(answer.json(), expected, "the body counts, not the query");
    assert_eq!(client.event("body").await["channel"], "a");
    sender.event("body").await;
    assert_eq!(call("name=n&channel=a", "").await.status, 400);
}

#[tokio::test]
async fn the_endpoint_of_old_sdks_publishes_the_body_as_it_is() {
    let server = Server::start().await;
    let (mut client, mut sender) = (server.client().await, server.client().await);
    let channel = "presence-a;b";
    client.join(channel, "1").await;
    sender.join(channel, "1").await;
    let call = async |channel: &str, query: &str, body: &[u8]| {
        let path = format!("/apps/app-id/channels/{channel}/events");
        let query = sign("POST", &path, query, body);
        let url = server.url(&format!("{path}?{query}"));
        let request = server.http.post(url).body(body.to_vec()).send();
        Answer::of(request.await.unwrap()).await
    };
    let query = format!("name=old&socket_id={}", sender.socket_id);
    let answer = call("presence-a%3Bb", &query, r#"{"é": 1.0}"#.as_bytes()).await;
    assert_eq!((answer.status, &*answer.text), (202, "{}"));
    let event = client.event("old").await;
    assert_eq!(
        (&event["channel"], &event["data"]),
        (&json!(channel), &json!(r#"{"é": 1.0}"#))
    );
    sender.nothing_before_pong().await;
    for (channel, query, body, problem) in [
        ("a", "", &b"1"[..], "name"),
        ("a b", "name=n", b"1", "a b"),
        ("a", "name=pusher:x", b"1", "pusher:x"),
        ("a", "name=n&socket_id=x", b"1", "socket_id"),
        ("a", "name=n", b"\xff", "UTF-8"),
    ] {
        let answer = call(channel, query, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(problem), "{}", answer.text);
    }
    let much = "x".repeat(10241);
    assert_eq!(call("a", "name=n", much.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn the_connections_of_an_app_are_its_own() {
    let two = [("app-id", "app-key"), ("other", "other-key")].map(|(id, key)| {
        format!("[[apps]]\nid = \"{id}\"\nkey = \"{key}\"\nsecret = \"app-secret\"\n")
    });
    let server = Server::with(&two.concat()).await;
    let path = "/apps/app-id/connections";
    let count = async || server.get(path, "").await.text;
    assert_eq!(count().await, r#"{"connections":0}"#);
    let one = server.client().await;
    let two = server.client().await;
    let _elsewhere = crate::support::Client::connect(server.address, "/app/other-key").await;
    assert_eq!(
        count().await,
        r#"{"connections":2}"#,
        "subscribed to nothing yet"
    );
    one.close().await;
    two.vanish();
    until("no connections", async || {
        count().await == r#"{"connections":0}"#
    })
    .await;
    assert_eq!(server.get(path, "x=y").await.status, 400);
}

#[tokio::test]
async fn info_is_answered_per_channel_and_left_out_where_it_does_not_apply() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.join("presence-a", "7").await;
    two.join("presence-a", "7").await;
    one.subscribe("b").await;
    let body = json!({
        "name": "n", "data": "", "channels": ["presence-a", "b", "empty"],
        "info": "user_count,subscription_count",
    });
    let answer = server.post(EVENTS, &body.to_string()).await.json();
    let expected = json!({ "channels": {
        "presence-a": { "user_count": 1, "subscription_count": 2 },
        "b": { "subscription_count": 1 },
        "empty": { "subscription_count": 0 },
    }});
    assert_eq!(answer, expected);
    let batch = json!({ "batch": [
        { "name": "n", "data": "1", "channel": "b", "info": "subscription_count" },
        { "name": "n", "data": "1", "channel": "b" },
    ]});
    let answer = server
        .post("/apps/app-id/batch_events", &batch.to_string())
        .await
        .json();
    assert_eq!(
        answer,
        json!({ "batch": [{ "subscription_count": 1 }, {}] })
    );
}

#[tokio::test]
async fn a_request_is_refused_unless_this_app_signed_exactly_it_just_now() {
    let server = Server::start().await;
    let body = event("a");
    let call = async |query: String, body: String| {
        let url = server.url(&format!("{EVENTS}?{query}"));
        let request = server.http.post(url).body(body).send();
        Answer::of(request.await.unwrap()).await
    };
    let good = sign("POST", EVENTS, "", body.as_bytes());
    assert_eq!(call(good.clone(), body.clone()).await.status, 200);
    let request = ApiRequest {
        method: "POST",
        path: EVENTS,
        query: "",
        body: body.as_bytes(),
    };
    let old = request.sign("app-key", "app-secret", unix_s() - 700);
    let cases = [
        (String::new(), "auth_key"),
        (
            good.replace("auth_key=app-key", "auth_key=other"),
            "auth_key",
        ),
        (
            good.replace("auth_version=1.0", "auth_version=2.0"),
            "Version",
        ),
        (old, "Timestamp"),
        (
            request.sign("app-key", "wrong", unix_s()),
            "Invalid signature",
        ),
        (
            sign("POST", "/apps/other/events", "", body.as_bytes()),
            "Invalid signature",
        ),
        (sign("POST", EVENTS, "", b"another body"), "body_md5"),
    ];
    for (query, problem) in cases {
        let answer = call(query, body.clone()).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(answer.text.contains(problem), "{problem}: {}", answer.text);
        assert!(!answer.text.contains("app-secret"));
    }
}

#[tokio::test]
async fn bad_bodies_are_told_what_is_wrong() {
    let server = Server::with("[limits]\nrequest_bytes = 30000\nchannels_per_event = 2").await;
    let too_long = "x".repeat(201);
    let too_much = "x".repeat(10241);
    let cases = [
        ("{", 400, "JSON"),
        ("[]", 400, "JSON"),
        (r#"{"data":"1","channel":"a"}"#, 400, "name"),
        (r#"{"name":"","data":"1","channel":"a"}"#, 400, "name"),
        (r#"{"name":"n","channel":"a"}"#, 400, "data"),
        (
            r#"{"name":"n","data":"half \ud800","channel":"a"}"#,
            400,
            "JSON",
        ),
        (r#"{"name":"n","data":"1"}"#, 400, "channels"),
        (r#"{"name":"n","data":"1","channels":[]}"#, 400, "channels"),
        (r#"{"name":"n","data":"1","channel":"a b"}"#, 400, "a b"),
        (
            r#"{"name":"n","data":"1","channels":["a","b","c"]}"#,
            400,
            "limits.channels_per_event",
        ),
        (
            r#"{"name":"pusher:x","data":"1","channel":"a"}"#,
            400,
            "pusher:x",
        ),
        (
            r#"{"name":"n","data":"1","channel":"a","socket_id":"x"}"#,
            400,
            "socket_id",
        ),
        (
            r#"{"name":"n","data":"1","channel":"a","info":"nonsense"}"#,
            400,
            "nonsense",
        ),
    ];
    for (body, status, problem) in cases {
        let answer = server.post(EVENTS, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.text.contains(problem), "{body}: {}", answer.text);
    }
    let long = json!({ "name": too_long, "data": "1", "channel": "a" }).to_string();
    let much = json!({ "name": "n", "data": too_much, "channel": "a" }).to_string();
    let huge = json!({ "name": "n", "data": "x".repeat(40_000), "channel": "a" }).to_string();
    for (body, status, setting) in [
        (long, 400, "limits.event_name_chars"),
        (much, 413, "limits.event_data_bytes"),
        (huge, 413, "limits.request_bytes"),
    ] {
        let answer = server.post(EVENTS, &body).await;
        assert_eq!(answer.status, status);
        assert!(answer.text.contains(setting), "{}", answer.text);
    }
}

#[tokio::test]
async fn data_is_measured_in_bytes_and_may_be_as_long_as_allowed() {
    let server = Server::start().await;
    let umlauts = json!({ "name": "n", "data": "ä".repeat(5121), "channel": "a" });
    assert_eq!(server.post(EVENTS, &umlauts.to_string()).await.status, 413);
    let fits = json!({ "name": "n", "data": "ä".repeat(5120), "channel": "a" });
    assert_eq!(server.post(EVENTS, &fits.to_string()).await.status, 200);
}

#[tokio::test]
async fn a_bad_event_in_a_batch_publishes_none_of_it() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let batch = json!({ "batch": [
        { "name": "n", "data": "1", "channel": "a" },
        { "name": "n", "data": "1", "channel": "b/d" },
    ]});
    let answer = server
        .post("/apps/app-id/batch_events", &batch.to_string())
        .await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("b/d"), "{}", answer.text);
    client.nothing_before_pong().await;
    let eleven = vec![json!({ "name": "n", "data": "1", "channel": "a" }); 11];
    let answer = server
        .post(
            "/apps/app-id/batch_events",
            &json!({ "batch": eleven }).to_string(),
        )
        .await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("Batch too large"), "{}", answer.text);
}

#[tokio::test]
async fn a_chunked_body_is_taken_and_bounded() {
    let server = Server::with("[limits]\nrequest_bytes = 20000").await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let chunked = async |body: String| {
        let query = sign("POST", EVENTS, "", body.as_bytes());
        let mut raw = crate::support::Raw::connect(server.address).await;
        let head = format!(
            "POST {EVENTS}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        for chunk in body.as_bytes().chunks(1000) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        // A refusal may come before everything is sent.
        drop(tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &bytes).await);
        String::from_utf8_lossy(&raw.rest().await).into_owned()
    };
    let data = "x".repeat(5000);
    let body = json!({ "name": "n", "data": data, "channel": "a" }).to_string();
    let answer = chunked(body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    client.event("n").await;
    let answer = chunked("x".repeat(30_000)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn channels_are_listed_while_somebody_is_there() {
    let server = Server::start().await;
    let channels = "/apps/app-id/channels";
    assert_eq!(server.get(channels, "").await.text, r#"{"channels":{}}"#);
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.subscribe("a").await;
    one.join("presence-x", "1").await;
    two.join("presence-x", "2").await;
    let all = server.get(channels, "").await.json();
    assert_eq!(all, json!({ "channels": { "a": {}, "presence-x": {} } }));
    let some = server
        .get(channels, "filter_by_prefix=presence-&info=user_count")
        .await
        .json();
    assert_eq!(
        some,
        json!({ "channels": { "presence-x": { "user_count": 2 } } })
    );
    let refused = server.get(channels, "info=user_count").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text
            .contains("filter_by_prefix beginning with presence-")
    );
    one.close().await;
    two.close().await;
    until("no channels", async || {
        server.get(channels, "").await.text == r#"{"channels":{}}"#
    })
    .await;
}

#[tokio::test]
async fn one_channel_says_whether_it_is_occupied() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.join("presence-x,y;z", "1").await;
    let one = server.get("/apps/app-id/channels/nobody", "").await.json();
    assert_eq!(one, json!({ "occupied": false }));
    let path = "/apps/app-id/channels/presence-x,y;z";
    let one = server
        .get(path, "info=user_count,subscription_count")
        .await
        .json();
    assert_eq!(
        one,
        json!({ "occupied": true, "user_count": 1, "subscription_count": 1 })
    );
    let escaped = "/apps/app-id/channels/presence-x%2Cy%3Bz";
    assert_eq!(
        server.get(escaped, "").await.json(),
        json!({ "occupied": true })
    );
    assert_eq!(
        server
            .get("/apps/app-id/channels/a", "info=user_count")
            .await
            .status,
        400
    );
    assert_eq!(
        server.get("/apps/app-id/channels/a", "x=y").await.status,
        400
    );
}

#[tokio::test]
async fn users_are_distinct_and_only_of_presence_channels() {
    let server = Server::start().await;
    let users = async |channel: &str| {
        let path = format!("/apps/app-id/channels/{channel}/users");
        server.get(&path, "").await
    };
    assert_eq!(users("presence-none").await.json(), json!({ "users": [] }));
    assert_eq!(users("public").await.status, 400);
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.join("presence-x", "7").await;
    two.join("presence-x", "7").await;
    assert_eq!(
        users("presence-x").await.json(),
        json!({ "users": [{ "id": "7" }] })
    );
}

#[tokio::test]
async fn unknown_apps_paths_and_methods_are_told_apart() {
    let server = Server::with(
        "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\nenabled = false",
    )
    .await;
    assert_eq!(
        server.post("/apps/nobody/events", &event("a")).await.status,
        404
    );
    assert_eq!(server.post(EVENTS, &event("a")).await.status, 403);
    assert_eq!(server.get("/nowhere", "").await.status, 404);
    assert_eq!(server.post("/nowhere", "").await.status, 404);
    assert_eq!(server.get(EVENTS, "").await.status, 405);
}

#[tokio::test]
async fn a_wrong_method_is_told_which_ones_the_path_has() {
    let server = Server::with_admin("").await;
    let allowed = async |method: &str, url: String| {
        let method = method.parse().unwrap();
        let response = server.http.request(method, url).send().await.unwrap();
        let allow = response.headers().get("allow");
        let allow = allow.map(|allow| allow.to_str().unwrap().to_owned());
        (response.status().as_u16(), allow)
    };
    for (method, path, expected) in [
        ("GET", EVENTS, "POST"),
        ("PUT", "/apps/app-id/batch_events", "POST"),
        ("GET", "/apps/app-id/channels/a/events", "POST"),
        ("POST", "/apps/app-id/channels", "GET"),
        ("DELETE", "/apps/app-id/channels/a", "GET"),
        ("POST", "/apps/app-id/channels/presence-a/users", "GET"),
        ("GET", "/apps/app-id/users/7/terminate_connections", "POST"),
        ("POST", "/apps/app-id/connections", "GET"),
        ("GET", "/api/broadcasting/auth", "POST"),
        ("GET", "/pusher/user-auth", "POST"),
        ("GET", "/pusher/app/app-key/1/abcdefgh/xhr", "POST"),
        ("POST", "/api/chats/unread", "GET"),
        ("POST", "/api/chats/7/read", "PATCH"),
        ("POST", "/app/app-key", "GET"),
        ("POST", "/ws", "GET"),
        ("POST", "/up", "GET, HEAD"),
        ("OPTIONS", "/ready", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = allowed(method, server.url(path)).await;
        assert_eq!(answer, (405, Some(expected.into())), "{method} {path}");
    }
    for (method, path, expected) in [
        ("POST", "/metrics", "GET"),
        ("POST", "/api/overview", "GET"),
        ("GET", "/api/login", "POST"),
        ("GET", "/api/events", "POST"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = allowed(method, server.admin_url(path)).await;
        assert_eq!(answer, (405, Some(expected.into())), "{method} {path}");
    }
    let (status, allow) = allowed("GET", server.url("/nowhere")).await;
    assert_eq!((status, allow), (404, None));
    // Of its own paths Socket.IO's engine is the judge.
    let (status, _) = allowed("PUT", server.url("/socket.io/?EIO=4&transport=polling")).await;
    assert_ne!(status, 405);
}

#[tokio::test]
async fn above_the_rate_the_answer_is_429_and_says_when_to_come_back() {
    let server = Server::with("[limits]\napi_requests_per_s = 2").await;
    let mut refused = None;
    for _ in 0..20 {
        let query = sign("POST", EVENTS, "", event("a").as_bytes());
        let url = server.url(&format!("{EVENTS}?{query}"));
        let response = server.http.post(url).body(event("a")).send().await.unwrap();
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("20 at once are too many for 2 a second");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(
        Answer::of(refused)
            .await
            .text
            .contains("limits.api_requests_per_s")
    );
}

#[tokio::test]
async fn connections_of_backends_are_kept() {
    let server = Server::start().await;
    let mut raw = crate::support::Raw::connect(server.address).await;
    let body = event("a");
    for last in [false, true] {
        let query = sign("POST", EVENTS, "", body.as_bytes());
        let close = if last { "Connection: close\r\n" } else { "" };
        let request = format!(
            "POST {EVENTS}?{query} HTTP/1.1\r\nHost: x\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw.write(request.as_bytes()).await;
    }
    let answers = String::from_utf8_lossy(&raw.rest().await).into_owned();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}
