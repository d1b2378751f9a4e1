//! The Pusher protocol without a WebSocket: sessions made of HTTP requests, as pusher-js makes them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::client::{Raw, data};
use crate::support::page::{LENGTH, Page};
use crate::support::{Client, DEADLINE, Server, until};

const BOTH: [&str; 2] = ["xhr_streaming", "xhr"];

#[tokio::test]
async fn a_page_without_websocket_subscribes_and_hears_events() {
    let server = Server::start().await;
    for action in BOTH {
        let mut page = Page::connect(&server, action).await;
        page.subscribe("a", None).await;
        server
            .trigger("a", "news", r#"{"text":"é☀😀 \"quoted\""}"#)
            .await;
        let event = page.event("news").await;
        assert_eq!(event["channel"], "a");
        assert_eq!(data(&event), json!({ "text": "é☀😀 \"quoted\"" }));
        page.send(json!({ "event": "pusher:ping", "data": {} }))
            .await;
        page.event("pusher:pong").await;
    }
}

#[tokio::test]
async fn pages_with_and_without_websocket_are_members_of_the_same_channels() {
    let server = Server::start().await;
    for action in BOTH {
        let mut socket = server.client().await;
        socket.join("presence-room", "1").await;
        let mut page = Page::connect(&server, action).await;
        let member = json!({ "user_id": "2", "user_info": { "name": "Budi" } });
        let joined = page.subscribe("presence-room", Some(&member)).await;
        assert_eq!(data(&joined)["presence"]["ids"], json!(["1", "2"]));
        let added = socket.event("pusher_internal:member_added").await;
        assert_eq!(data(&added), member);

        let event =
            |text: &str| json!({ "event": "client-say", "channel": "presence-room", "data": text });
        page.send(event("from http")).await;
        let heard = socket.event("client-say").await;
        assert_eq!(
            (&heard["data"], &heard["user_id"]),
            (&json!("from http"), &json!("2"))
        );
        socket.send(event("from websocket")).await;
        let heard = page.event("client-say").await;
        assert_eq!(
            (&heard["data"], &heard["user_id"]),
            (&json!("from websocket"), &json!("1"))
        );

        // The page is closed while it asks: its request ends, and its member with it.
        page.ask().await;
        drop(page);
        let removed = socket.event("pusher_internal:member_removed").await;
        assert_eq!(data(&removed)["user_id"], "2");
        socket.close().await;
    }
}

#[tokio::test]
async fn a_page_that_does_not_come_back_is_gone_after_ten_seconds() {
    let server = Server::start().await;
    let mut socket = server.client().await;
    socket.join("presence-room", "1").await;
    let mut page = Page::connect(&server, "xhr").await;
    page.subscribe("presence-room", Some(&json!({ "user_id": "2" })))
        .await;
    socket.event("pusher_internal:member_added").await;
    // Its last response has ended as it should; there is nothing to see a break in.
    page.end().await;
    let removed = socket.event("pusher_internal:member_removed").await;
    assert_eq!(data(&removed)["user_id"], "2");
    assert_eq!(page.post("xhr_send", "[]".into()).await.status(), 404);
}

#[tokio::test]
async fn a_refused_handshake_is_told_as_a_websocket_would_be() {
    let server = Server::with(
        "[[apps]]\nid = 'a'\nkey = 'app-key'\nsecret = 's'\nmax_connections = 1\n\
         [[apps]]\nid = 'off'\nkey = 'off'\nsecret = 's'\nenabled = false",
    )
    .await;
    let _first = server.client().await;
    for (path, code) in [
        ("unknown/1/a/xhr?protocol=7", 4001),
        ("off/1/a/xhr_streaming?protocol=7", 4003),
        ("app-key/1/a/xhr_streaming?protocol=7", 4004),
        ("app-key/1/a/xhr?protocol=x", 4006),
        ("app-key/1/a/xhr?protocol=3", 4007),
        ("app-key/1/a/xhr?protocol=7&token=x", 4009),
    ] {
        let url = server.url(&format!("/pusher/app/{path}"));
        let answer = server.http.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let lines: Vec<_> = text.lines().collect();
        let [open, error, close] = lines[..] else {
            panic!("{path}: {text}")
        };
        let error: Vec<String> = serde_json::from_str(&error[1..]).unwrap();
        let error: Value = serde_json::from_str(&error[0]).unwrap();
        let close: (u16, String) = serde_json::from_str(&close[1..]).unwrap();
        assert_eq!(open, "o");
        assert_eq!(
            (&error["data"]["code"], close.0),
            (&json!(code), code),
            "{path}"
        );
    }
}

#[tokio::test]
async fn requests_that_fit_no_session_change_nothing() {
    let server = Server::with("[limits]\nrequest_bytes = 100000\nmessage_bytes = 50000").await;
    let mut page = Page::connect(&server, "xhr_streaming").await;
    let status = async |path: &str, body: String| {
        let url = server.url(&format!("/pusher/app/{path}"));
        server
            .http
            .post(url)
            .body(body)
            .send()
            .await
            .unwrap()
            .status()
    };
    for path in [
        "app-key/1/nobody/xhr_send",
        "unknown/1/nobody/xhr_send",
        "app-key/1000/a/xhr_streaming",
        "app-key/1/a.b/xhr",
        "app-key/1/a/jsonp",
        "app-key/1/xhr",
    ] {
        assert_eq!(status(path, "[]".into()).await, 404, "{path}");
    }
    let send = format!("{}/xhr_send", &page.session["/pusher/app/".len()..]);
    for body in ["", "{}", "[1]", r#"["a""#] {
        assert_eq!(status(&send, body.into()).await, 400, "{body}");
    }
    assert_eq!(status(&send, "[".repeat(100_001)).await, 413);
    assert_eq!(status(&send, json!(vec!["{}"; 101]).to_string()).await, 413);
    page.subscribe("a", None).await;

    // What is larger than a message may be ends the connection, as it ends a WebSocket.
    let large = json!(["x".repeat(50_001)]).to_string();
    assert_eq!(status(&send, large).await, 204);
    assert_eq!(page.close().await.0, 1009);
    until("the session is forgotten", async || {
        status(&send, "[]".into()).await == 404
    })
    .await;
}

#[tokio::test]
async fn a_second_receive_request_is_refused_and_the_first_goes_on() {
    let server = Server::start().await;
    let mut page = Page::connect(&server, "xhr_streaming").await;
    for action in BOTH {
        let second = page.post(action, String::new()).await;
        let expected = "c[2010,\"Another connection still open\"]\n";
        assert_eq!(second.text().await.unwrap(), expected);
    }
    page.subscribe("a", None).await;
}

#[tokio::test]
async fn no_event_is_lost_or_moved_when_a_page_asks_anew() {
    const EVENTS: usize = 300;
    let server = Server::with("[limits]\noutbox_bytes = 10000000").await;
    for action in BOTH {
        let mut page = Page::connect(&server, action).await;
        page.subscribe("a", None).await;
        let asked = page.asked;
        let padding = "é😀".repeat(1200);
        let trigger = async {
            for number in 0..EVENTS {
                server
                    .trigger("a", "n", &json!({ "n": number, "p": padding }).to_string())
                    .await;
            }
        };
        let listen = async {
            for number in 0..EVENTS {
                assert_eq!(data(&page.event("n").await)["n"], number);
            }
        };
        tokio::join!(trigger, listen);
        assert!(
            page.asked >= asked + EVENTS * 3600 / LENGTH,
            "{}",
            page.asked
        );
    }
}

#[tokio::test]
async fn a_page_that_takes_longer_than_ten_seconds_to_read_a_response_loses_nothing() {
    const EVENTS: usize = 30;
    let server = Server::with("[limits]\noutbox_bytes = 10000000").await;
    let mut page = Page::connect(&server, "xhr_streaming").await;
    page.subscribe("a", None).await;
    let (asked, since) = (page.asked, Instant::now());
    let padding = "x".repeat(10_000);
    for number in 0..EVENTS {
        server
            .trigger("a", "n", &json!({ "n": number, "p": padding }).to_string())
            .await;
    }
    for number in 0..EVENTS {
        if page.asked == asked {
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(data(&page.event("n").await)["n"], number);
    }
    assert_eq!(page.asked, asked + 1);
    assert!(since.elapsed() > Duration::from_secs(12));
}

#[tokio::test]
async fn the_body_of_a_request_that_fits_nothing_is_not_waited_for() {
    let server = Server::start().await;
    let page = Page::connect(&server, "xhr_streaming").await;
    let session = &page.session;
    let answer = async |path: &str, bytes: usize, body: &[u8]| {
        let mut raw = Raw::connect(server.address).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
        raw.write(head.as_bytes()).await;
        raw.write(body).await;
        raw.line().await
    };
    for path in [
        "/pusher/app/app-key/1/nobody/xhr_send",
        "/pusher/app/unknown/1/nobody/xhr_send",
        "/pusher/app/app-key/1000/a/xhr_streaming",
        "/pusher/app/app-key/1/a/jsonp",
    ] {
        let status = answer(path, 100_000, b"[").await;
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
    }
    // Who only receives has nothing to say, to a session that is there or to a new one.
    for path in [session.as_str(), "/pusher/app/app-key/1/large"] {
        let path = format!("{path}/xhr?protocol=7");
        let status = answer(&path, 100_000, &[b'x'; 4097]).await;
        assert_eq!(status, "HTTP/1.1 413 Payload Too Large", "{path}");
    }
    let told = answer(&format!("{session}/xhr_send"), 100_000, b"[").await;
    assert_eq!(told, "HTTP/1.1 408 Request Timeout");
}

#[tokio::test]
async fn a_page_that_reads_too_slowly_is_closed_and_told() {
    let server = Server::with("[limits]\noutbox_bytes = 100000").await;
    let mut page = Page::connect(&server, "xhr").await;
    page.subscribe("a", None).await;
    let padding = "x".repeat(10_000);
    for _ in 0..20 {
        server.trigger("a", "n", &padding).await;
    }
    let (code, _) = page.close().await;
    assert_eq!(code, 4100);
}

#[tokio::test]
async fn who_answers_heartbeats_stays_and_who_does_not_is_closed_with_4201() {
    let server = Server::with("[limits]\nactivity_timeout_s = 1\npong_timeout_s = 3").await;
    let mut lively = Page::connect(&server, "xhr_streaming").await;
    lively.subscribe("a", None).await;
    let mut silent = Page::connect(&server, "xhr_streaming").await;
    let silence = async {
        assert_eq!(silent.line().await, "h");
        let told = silent.line().await;
        assert!(told.contains("4201"), "{told}");
        assert_eq!(
            silent.line().await,
            "c[4201,\"Pong reply not received in time\"]"
        );
        server.trigger("a", "late", "1").await;
    };
    tokio::join!(silence, lively.event("late"));
}

#[tokio::test]
async fn shutting_down_sends_pages_away_with_4200() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 1").await;
    let session = {
        let mut page = Page::connect(&server, "xhr_streaming").await;
        (page.response.take(), page.bytes)
    };
    server.begin_shutdown();
    let (mut response, mut bytes) = (session.0.unwrap(), session.1);
    while let Some(chunk) = timeout(DEADLINE, response.chunk()).await.unwrap().unwrap() {
        bytes.extend(chunk);
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.ends_with("c[4200,\"Reconnect immediately\"]\n"),
        "{text}"
    );
    server.ended().await;
}

#[tokio::test]
async fn sessions_are_counted_with_the_connections_and_give_their_place_back() {
    let server = Server::with("[limits]\nmax_connections = 1").await;
    let page = Page::connect(&server, "xhr_streaming").await;
    let mut refused = Client::open(server.address, "/app/app-key", |_| {}).await;
    assert_eq!(refused.close_code().await, Some(4100));
    drop(page);
    until("a free place", async || {
        let mut client = Client::open(server.address, "/app/app-key", |_| {}).await;
        client.next().await["event"] == "pusher:connection_established"
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_origin_may_call_and_read() {
    let server = Server::start().await;
    let url = server.url("/pusher/app/app-key/1/cors/xhr_streaming");
    let preflight = server
        .http
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send();
    let preflight = preflight.await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(
        preflight.headers()["access-control-allow-headers"],
        "content-type"
    );
    let answer = server
        .http
        .post(&url)
        .header("origin", "https://page.example")
        .send();
    let answer = answer.await.unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://page.example"
    );
}

#[tokio::test]
async fn the_door_can_be_shut() {
    let server = Server::with("[gateways]\nhttp_fallback = false").await;
    let url = server.url("/pusher/app/app-key/1/a/xhr_streaming");
    assert_eq!(server.http.post(url).send().await.unwrap().status(), 404);
}
