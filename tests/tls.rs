//! TLS from PEM files: the same promises over an encrypted socket, slow consumers and closes included.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{DEADLINE, Raw, Server, until};

/// A server with a certificate of its own, and what a client needs to believe it.
pub async fn server(more: &str) -> (Server, TlsConnector, tempfile::TempDir) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (cert_path, key_path) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    std::fs::write(&cert_path, cert.pem()).unwrap();
    std::fs::write(&key_path, signing_key.serialize_pem()).unwrap();
    let toml = format!("{more}\n[server]\ntls_cert = {cert_path:?}\ntls_key = {key_path:?}\n");
    let server = Server::with(&toml).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, TlsConnector::from(Arc::new(config)), directory)
}

async fn stream(server: &Server, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, tcp).await.unwrap()
}

async fn client(
    server: &Server,
    connector: &TlsConnector,
) -> WebSocketStream<TlsStream<TcpStream>> {
    let stream = stream(server, connector).await;
    let (mut client, _) = tokio_tungstenite::client_async("ws://localhost/app/app-key", stream)
        .await
        .unwrap();
    assert_eq!(
        next(&mut client).await["event"],
        "pusher:connection_established"
    );
    client
}

/// A client that hears the channel `a`.
async fn subscribed(
    server: &Server,
    connector: &TlsConnector,
) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut client = client(server, connector).await;
    let subscribe = json!({ "event": "pusher:subscribe", "data": { "channel": "a" } });
    let sent = client.send(Message::text(subscribe.to_string())).await;
    sent.unwrap();
    let answer = next(&mut client).await;
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
    client
}

async fn next(client: &mut WebSocketStream<TlsStream<TcpStream>>) -> Value {
    let message = timeout(DEADLINE, client.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

async fn trigger(server: &Server, connector: &TlsConnector, event: &str, data: &str) {
    let path = "/apps/app-id/events";
    let body = json!({ "name": event, "channel": "a", "data": data }).to_string();
    let query = crate::support::http::sign("POST", path, "", body.as_bytes());
    let mut stream = stream(server, connector).await;
    let request = format!(
        "POST {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn events_large_and_small_arrive_in_order() {
    let (server, connector, _directory) = server("").await;
    let mut client = subscribed(&server, &connector).await;
    for number in 0..20 {
        let data = format!("{number}{}", "x".repeat(number * 500));
        trigger(&server, &connector, "n", &data).await;
    }
    for number in 0..20 {
        let event = next(&mut client).await;
        assert_eq!(
            event["data"],
            format!("{number}{}", "x".repeat(number * 500))
        );
    }
    client.close(None).await.unwrap();
    while timeout(DEADLINE, client.next()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_slow_consumer_is_closed_and_gone() {
    let (server, connector, _directory) = server(
        "[limits]\noutbox_bytes = 3000000\nevent_data_bytes = 1100000\nrequest_bytes = 2000000",
    )
    .await;
    let mut client = subscribed(&server, &connector).await;
    let padding = "x".repeat(1_000_000);
    for _ in 0..40 {
        trigger(&server, &connector, "n", &padding).await;
    }
    // It reads what had been sent; then there is an end, with the code if there was still room for it.
    loop {
        match timeout(DEADLINE, client.next()).await.unwrap() {
            Some(Ok(Message::Close(frame))) => {
                assert_eq!(u16::from(frame.unwrap().code), 4100);
                break;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    drop(client);
    let path = "/apps/app-id/channels/a";
    until("a vacated channel", async || {
        let query = crate::support::http::sign("GET", path, "", b"");
        let mut stream = stream(&server, &connector).await;
        let request =
            format!("GET {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer).await);
        answer.ends_with(r#"{"occupied":false}"#)
    })
    .await;
}

#[tokio::test]
async fn plain_http_on_a_tls_port_ends_alone() {
    let (server, connector, _directory) = server("").await;
    let mut raw = Raw::connect(server.address).await;
    raw.write(b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n").await;
    raw.rest().await;
    client(&server, &connector).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_used_after_a_reload_and_no_connection_is_lost() {
    let (server, connector, directory) = server("").await;
    let mut before = client(&server, &connector).await;
    let (cert, key) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    let toml = format!("[server]\ntls_cert = {cert:?}\ntls_key = {key:?}\n");
    let renewed = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(&cert, renewed.cert.pem()).unwrap();
    std::fs::write(&key, renewed.signing_key.serialize_pem()).unwrap();
    client(&server, &connector).await;
    server.reload(&toml).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(renewed.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let renewed = TlsConnector::from(Arc::new(config));
    until("the new certificate", async || {
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        renewed.connect(name, tcp).await.is_ok()
    })
    .await;
    // What cannot be used changes nothing. The second is taken once the first is done with.
    let broken = toml.replace("cert.pem", "key.pem");
    server.reload(&broken).await;
    server.reload(&broken).await;
    client(&server, &renewed).await;
    let ping = json!({ "event": "pusher:ping", "data": {} }).to_string();
    before.send(Message::text(ping)).await.unwrap();
    assert_eq!(next(&mut before).await["event"], "pusher:pong");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (cert, setting) in [
        (empty.clone(), "server.tls_cert"),
        ("/no/such/file".into(), "server.tls_cert"),
    ] {
        let toml = format!("[server]\nport = 0\ntls_cert = {cert:?}\ntls_key = {empty:?}");
        let config = gema::config::Config::from_toml(&toml).unwrap();
        let error = gema::server::bind(&config).err().unwrap().to_string();
        assert!(error.contains(setting), "{error}");
    }
}
