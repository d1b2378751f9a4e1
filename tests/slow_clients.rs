//! Whoever dawdles is put out when its time is over, and nobody waits for it meanwhile. Heads are in `src/server/accept`:
//! theirs is a minute.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Raw, Server};

/// Of each kind.
const DAWDLERS: usize = 50;

/// What the server gives a request's body and a TLS handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads to the end, sending one byte more whenever the server says nothing for a moment.
async fn trickle(mut raw: Raw) -> String {
    let (mut reader, mut writer) = raw.stream.split();
    let mut rest = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut rest);
    let mut reading = std::pin::pin!(reading);
    while timeout(Duration::from_millis(200), &mut reading)
        .await
        .is_err()
    {
        // The server may just have hung up.
        writer.write_all(b"x").await.ok();
    }
    String::from_utf8_lossy(&rest).into_owned()
}

async fn begun(server: &Server, bytes: &[u8]) -> Vec<Raw> {
    let all = (0..DAWDLERS).map(async |_| {
        let mut raw = Raw::connect(server.address).await;
        raw.write(bytes).await;
        raw
    });
    join_all(all).await
}

async fn half_frames(server: &Server) -> Vec<Raw> {
    let all = (0..DAWDLERS).map(async |_| {
        let mut raw = Raw::upgrade(server.address, "/app/app-key").await;
        let frame = Raw::frame(0x81, &[b' '; 1000]);
        raw.write(&frame[..500]).await;
        raw
    });
    join_all(all).await
}

#[tokio::test]
async fn halves_of_heads_bodies_and_frames_keep_nobody_waiting_and_end_in_time() {
    let server = Server::with("[limits]\nactivity_timeout_s = 1\npong_timeout_s = 1").await;
    let began = Instant::now();
    let silent = begun(&server, b"").await;
    let heads = begun(&server, b"GET /up HTTP/1.1\r\nX: ").await;
    let body = "POST /apps/app-id/events?auth_key=app-key HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{";
    let bodies = begun(&server, body.as_bytes()).await;
    let frames = half_frames(&server).await;
    let mut calm = server.client().await;
    calm.subscribe("calm").await;
    for _ in 0..20 {
        server.trigger("calm", "still", "1").await;
        calm.event("still").await;
    }

    for mut raw in frames {
        let rest = raw.rest().await;
        let close = rest
            .iter()
            .rposition(|byte| *byte == 0x88)
            .expect("a close");
        assert_eq!(rest[close + 2..close + 4], 4201u16.to_be_bytes());
    }
    let ends = join_all(bodies.into_iter().map(trickle));
    let ends = timeout(2 * PATIENCE, ends).await.expect("an end");
    assert!(began.elapsed() >= PATIENCE);
    for end in ends {
        assert!(end.starts_with("HTTP/1.1 408 "), "{end}");
    }
    drop((silent, heads));
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_ends_in_time_and_others_get_theirs() {
    let (server, connector, _directory) = crate::tls::server("").await;
    let began = Instant::now();
    let silent = begun(&server, b"").await;
    // The head of a ClientHello whose rest does not come.
    let stalled = begun(&server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    connector.connect(name, tcp).await.unwrap();
    for mut raw in silent.into_iter().chain(stalled) {
        assert_eq!(raw.rest().await, b"");
    }
    assert!(began.elapsed() >= PATIENCE);
}
