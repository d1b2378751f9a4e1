//! The accept loop without its listener: where connections go, how long they may take, and what their paths are.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp::Filter;

use super::*;
use crate::server::threads::Threads;

#[tokio::test]
async fn a_connection_goes_where_the_fewest_are() {
    let threads = Threads::start(3).unwrap();
    let homes = threads.handles();
    for _ in 0..5 {
        // As many tasks everywhere: the next goes to the first again.
        for home in homes {
            assert_eq!(quietest(homes).id(), home.id());
            home.spawn(std::future::pending::<()>());
        }
    }
}

/// A client's end of a connection whose server gives heads a moment.
fn impatient(head_patience: Duration) -> tokio::io::DuplexStream {
    let (client, server) = tokio::io::duplex(4096);
    let (running, stopped) = watch::channel(false);
    let routes = warp::any().map(|| Response::new("yes".into())).boxed();
    let mut surroundings = Acceptor::admin(routes.clone(), stopped).surroundings;
    surroundings.head_patience = head_patience;
    let peer = net::Ipv4Addr::LOCALHOST.into();
    tokio::spawn(async move {
        serve_http(server, peer, surroundings, warp::service(routes)).await;
        drop(running);
    });
    client
}

/// Reads to the end, sending one byte more whenever the server says nothing.
async fn trickle(client: &mut tokio::io::DuplexStream, begun: bool) -> Vec<u8> {
    let (mut read, mut buffer) = (Vec::new(), [0; 256]);
    loop {
        match timeout(Duration::from_millis(10), client.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return read,
            Ok(Ok(more)) => read.extend_from_slice(&buffer[..more]),
            // The server may just have hung up.
            Err(_) if begun => drop(client.write_all(b"x").await),
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_or_trickles_in_is_waited_for_so_long_and_no_longer() {
    const PATIENCE: Duration = Duration::from_millis(300);
    for head in ["", "GET / HTTP/1.1\r\nX: "] {
        let mut client = impatient(PATIENCE);
        let begun = Instant::now();
        client.write_all(head.as_bytes()).await.unwrap();
        let ended = trickle(&mut client, !head.is_empty());
        let answer = timeout(Duration::from_secs(20), ended).await.unwrap();
        assert!(begun.elapsed() >= PATIENCE);
        assert!(!answer.ends_with(b"yes"));
    }
    // A whole one is answered, and what comes after it has its own time.
    let mut client = impatient(PATIENCE);
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET";
    client.write_all(request).await.unwrap();
    let ended = trickle(&mut client, true);
    let answer = timeout(Duration::from_secs(20), ended).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn a_prefix_is_taken_off_whole_segments_only() {
    let strip = |uri: &str| without_prefix(&uri.parse().unwrap(), "/rt").map(|u| u.to_string());
    assert_eq!(
        strip("/rt/app/k?protocol=7").as_deref(),
        Some("/app/k?protocol=7")
    );
    assert_eq!(strip("/rt").as_deref(), Some("/"));
    assert_eq!(strip("/rtx/app").as_deref(), Some("/rtx/app"));
    assert_eq!(strip("/app/k").as_deref(), Some("/app/k"));
}
