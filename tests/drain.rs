//! Shutting down: not ready, nobody new, and those who are here are sent away one after the other.

use std::time::Instant;

use crate::support::http::Answer;
use crate::support::{Client, Server};

#[tokio::test]
async fn connections_are_closed_with_4200_spread_over_the_grace_period() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 2").await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(server.client().await);
    }
    // One keep-alive connection, opened before, still sees /ready while draining.
    let http = reqwest::Client::new();
    let ready = http.get(server.url("/ready")).send().await.unwrap();
    assert_eq!(Answer::of(ready).await.status, 200);
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
    assert!(
        tokio::net::TcpStream::connect(server.address)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_empty_server_ends_at_once() {
    let mut server = Server::with("[server]\nshutdown_grace_s = 3600").await;
    server.client().await.close().await;
    server.begin_shutdown();
    server.ended().await;
}
