//! Shutting down: not ready, nobody new, and those who are here are sent away one after the other.

use std::time::Instant;

use crate::support::http::Answer;
use crate::support::{Client, Raw, Server, until};

async fn ready(server: &Server) -> u16 {
    let answer = server.http.get(server.url("/ready")).send().await;
    Answer::of(answer.unwrap()).await.status
}

#[tokio::test]
async fn connections_are_closed_with_4200_spread_over_the_grace_period() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 2").await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(server.client().await);
    }
    server.begin_shutdown();
    let start = Instant::now();
    let closing = clients.into_iter().map(|mut client: Client| {
        tokio::spawn(async move {
            let code = client.close_code().await;
            let when = start.elapsed();
            client.vanish();
            (code, when)
        })
    });
    let mut times = Vec::new();
    for task in closing.collect::<Vec<_>>() {
        let (code, when) = task.await.unwrap();
        assert_eq!(code, Some(4200));
        times.push(when);
    }
    times.sort();
    let spread = times[times.len() - 1] - times[0];
    assert!(spread.as_millis() > 800, "all within {spread:?}");
    server.ended().await;
    let after = tokio::net::TcpStream::connect(server.address).await;
    assert!(after.is_err());
}

#[tokio::test]
async fn while_draining_it_is_not_ready_and_back_ends_still_reach_those_who_are_here() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 60\nshards = 1").await;
    let mut listener = server.client().await;
    listener.subscribe("a").await;
    // With these the listener, who came first, is among the last to go.
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(server.client().await);
    }
    assert_eq!(ready(&server).await, 200);
    server.begin_shutdown();
    until("it is not ready", async || ready(&server).await == 503).await;
    let mut raw = Raw::connect(server.address).await;
    raw.write(Raw::upgrade_request("/app/app-key").as_bytes())
        .await;
    let refused = raw.line().await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    server.trigger("a", "late", "1").await;
    listener.event("late").await;
    drop(others);
    drop(raw);
    listener.close().await;
    server.ended().await;
}

#[tokio::test]
async fn half_a_request_does_not_hold_up_the_end() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 3600").await;
    let mut raw = Raw::connect(server.address).await;
    raw.write(b"GET /up HTTP/1.1\r\nHost:").await;
    assert_eq!(ready(&server).await, 200);
    server.begin_shutdown();
    server.ended().await;
}

#[tokio::test]
async fn an_empty_server_ends_at_once() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 3600").await;
    server.client().await.close().await;
    server.begin_shutdown();
    server.ended().await;
}
