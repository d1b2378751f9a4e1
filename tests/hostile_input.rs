//! Whatever a client sends, it harms nobody else, and it is told what was wrong.

use serde_json::json;

use crate::support::{Client, Raw, Server};

/// Sends bytes after the upgrade and gives the close code of the answer.
async fn closed_with(server: &Server, bytes: &[u8]) -> u16 {
    let mut raw = Raw::upgrade(server.address, "/app/app-key?protocol=7").await;
    raw.write(bytes).await;
    let rest = raw.rest().await;
    // The greeting comes first; the close frame is the last thing in the stream.
    let close = rest
        .iter()
        .rposition(|byte| *byte == 0x88)
        .expect("a close frame");
    u16::from_be_bytes([rest[close + 2], rest[close + 3]])
}

/// The bystander: subscribed before, and hearing everything after.
async fn bystander(server: &Server) -> Client {
    let mut client = server.client().await;
    client.subscribe("calm").await;
    client
}

#[tokio::test]
async fn broken_frames_end_their_own_connection_with_the_right_code() {
    let server = Server::start().await;
    let mut calm = bystander(&server).await;
    let unmasked = [&[0x81, 5][..], b"hello"].concat();
    let reserved_bits = Raw::frame(0xf1, b"x");
    let reserved_opcode = Raw::frame(0x83, b"x");
    let long_ping = Raw::frame(0x89, &[b'x'; 126]);
    let fragmented_ping = Raw::frame(0x09, b"x");
    let continuation = Raw::frame(0x80, b"x");
    for bytes in [
        unmasked,
        reserved_bits,
        reserved_opcode,
        long_ping,
        fragmented_ping,
        continuation,
    ] {
        assert_eq!(closed_with(&server, &bytes).await, 1002, "{bytes:?}");
    }
    assert_eq!(
        closed_with(&server, &Raw::frame(0x82, b"binary")).await,
        1003
    );
    assert_eq!(
        closed_with(&server, &Raw::frame(0x81, &[0xc3, 0x28])).await,
        1007
    );
    assert_eq!(
        closed_with(&server, &Raw::frame(0x81, &vec![b' '; 65537])).await,
        1009
    );
    // The announced length alone is enough: nobody waits for 4 GiB.
    let mut announced = vec![0x81, 0xff];
    announced.extend(u64::MAX.to_be_bytes());
    announced.extend([0; 4]);
    let code = closed_with(&server, &announced).await;
    assert!(code == 1009 || code == 1002, "{code}");
    server.trigger("calm", "still", "1").await;
    calm.event("still").await;
}

#[tokio::test]
async fn fragments_make_one_message_even_with_a_ping_between() {
    let server = Server::start().await;
    let mut raw = Raw::upgrade(server.address, "/app/app-key").await;
    let message = br#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#;
    raw.write(&Raw::frame(0x01, &message[..7])).await;
    raw.write(&Raw::frame(0x89, b"alive?")).await;
    raw.write(&Raw::frame(0x00, &message[7..20])).await;
    raw.write(&Raw::frame(0x80, &message[20..])).await;
    raw.write(&Raw::frame(0x88, &1000u16.to_be_bytes())).await;
    let rest = raw.rest().await;
    let text = String::from_utf8_lossy(&rest);
    assert!(text.contains("alive?"), "{text}");
    assert!(text.contains("subscription_succeeded"), "{text}");
    assert!(
        rest.ends_with(&[0x88, 2, 0x03, 0xe8]),
        "the close is echoed"
    );
}

#[tokio::test]
async fn text_that_is_no_message_is_answered_and_the_connection_stays() {
    let server = Server::start().await;
    let mut calm = bystander(&server).await;
    let mut client = server.client().await;
    let deep = "[".repeat(10_000);
    for text in [
        "",
        "nonsense",
        "{",
        "[]",
        "1",
        "null",
        "{}",
        r#"{"event":1}"#,
        r#"{"event":null}"#,
        r#"{"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher:subscribe","data":[]}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":{}}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"presence-a","auth":"a:b","channel_data":[]}}"#,
        r#"{"event":"pusher:unsubscribe","data":null}"#,
        r#"{"event":"pusher:signin","data":{}}"#,
        r#"{"event":"pusher:signin","data":{"auth":"app-key:00","user_data":"{}"}}"#,
        r#"{"event":"client-x"}"#,
        r#"{"event":"client-x","channel":7}"#,
        r#"{"event":"pusher:nonsense","data":{}}"#,
        r#"{"event":"\ud800"}"#,
        &deep,
    ] {
        client.send_text(text).await;
        let answer = client.next().await;
        let event = answer["event"].as_str().unwrap();
        assert!(
            event == "pusher:error" || event == "pusher:subscription_error",
            "{text}: {answer}"
        );
    }
    client.nothing_before_pong().await;
    server.trigger("calm", "still", "1").await;
    calm.event("still").await;
}

#[tokio::test]
async fn a_ping_without_data_and_unknown_keys_are_fine() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send_text(r#"{"event": "pusher:ping"}"#).await;
    let pong = client.event("pusher:pong").await;
    assert_eq!(pong["data"], "{}");
    client
        .send(json!({ "event": "pusher:pong", "data": {}, "more": [1] }))
        .await;
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn requests_that_are_not_http_or_too_large_end_alone() {
    let server = Server::start().await;
    let mut calm = bystander(&server).await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 100_000]].concat(),
        b"POST /apps/app-id/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\n\r\nGET * HTTP/1.1\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
    ] {
        let mut raw = Raw::connect(server.address).await;
        // The server may hang up while we are still sending.
        drop(tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &bytes).await);
        drop(tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await);
        raw.rest().await;
    }
    server.trigger("calm", "still", "1").await;
    calm.event("still").await;
}
