//! One reading of where a request ends: what two programs could read in two ways is refused or ends the connection, and
//! no part of a body is ever taken for a request (RFC 9112, section 11.2).

use tokio::io::AsyncWriteExt;

use crate::support::{Raw, Server};

/// Last in a connection that is expected to have lived until then.
const LAST: &str = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// What must not be answered: it stands where only a misreading finds it.
const SMUGGLED: &str = "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n";

/// The statuses of all answers to these bytes, up to the end of the connection.
async fn answers(server: &Server, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    let mut raw = Raw::connect(server.address).await;
    // The server may hang up while we are still sending.
    raw.stream.write_all(bytes.as_ref()).await.ok();
    let rest = raw.rest().await;
    let text = String::from_utf8_lossy(&rest);
    let heads = text.split("HTTP/1.").skip(1);
    heads.map(|head| head[2..5].parse().unwrap()).collect()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /up HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_request_with_two_lengths_is_the_last_of_its_connection() {
    let server = Server::start().await;
    let chunks = format!("0\r\n\r\n{SMUGGLED}");
    // Both: chunked counts (RFC 9112, section 6.1), and what comes after is not looked at.
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: ChUnKeD\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
    ] {
        assert_eq!(
            answers(&server, post(headers, &chunks)).await,
            [405],
            "{headers}"
        );
    }
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
    ] {
        let body = format!("12345{SMUGGLED}");
        assert_eq!(
            answers(&server, post(headers, &body)).await,
            [400],
            "{headers}"
        );
    }
}

#[tokio::test]
async fn an_encoding_that_could_be_overlooked_is_refused() {
    let server = Server::start().await;
    for headers in [
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "Transfer\x00-Encoding: chunked",
        "Transfer-Encoding",
    ] {
        let body = format!("0\r\n\r\n{SMUGGLED}");
        assert_eq!(
            answers(&server, post(headers, &body)).await,
            [400],
            "{headers:?}"
        );
    }
    // Names and the word are read whatever their case, and then it counts.
    let odd = post("tRANSFER-eNCODING: \tCHUNKED", "5\r\nGET /\r\n0\r\n\r\n");
    assert_eq!(answers(&server, odd + LAST).await, [405, 200]);
}

#[tokio::test]
async fn chunks_that_are_none_end_the_connection() {
    let server = Server::start().await;
    for chunks in [
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloGET\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "fffffffffffffffff\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        ";\r\n0\r\n\r\n",
    ] {
        let request = post("Transfer-Encoding: chunked", &format!("{chunks}{SMUGGLED}"));
        let statuses = answers(&server, request).await;
        assert!(!statuses.contains(&200), "{chunks:?}: {statuses:?}");
        assert!(statuses.len() <= 1, "{chunks:?}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_the_next_request() {
    let server = Server::start().await;
    for path in ["/up", "/nowhere", "/apps/app-id/events", "/app/app-key"] {
        let length = SMUGGLED.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let statuses = answers(&server, format!("{head}{SMUGGLED}{LAST}")).await;
        // It may end the connection instead of reading on.
        assert!(
            matches!(statuses[..], [400..500] | [400..500, 200]),
            "{path}: {statuses:?}"
        );
    }
    // A handshake with a body: what comes after the head are frames, and these are none.
    let mut upgrade = Raw::upgrade_request("/app/app-key");
    upgrade.truncate(upgrade.len() - 2);
    let length = SMUGGLED.len();
    let upgrade = format!("{upgrade}Content-Length: {length}\r\n\r\n{SMUGGLED}{SMUGGLED}");
    assert_eq!(answers(&server, upgrade).await, [101]);
    // One that is refused is an answer like any other.
    let refused = "GET /app/app-key HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(
        answers(&server, format!("{refused}{LAST}")).await,
        [426, 200]
    );
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_with_431_whatever_makes_them_so() {
    let server = Server::start().await;
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")
    };
    let large = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes));
    let fits = get("/up", &large(30_000));
    assert_eq!(answers(&server, fits).await, [200]);
    for request in [
        get("/up", &large(40_000)),
        get("/up", &large(1_000_000)),
        get("/up", &large(400).repeat(99)),
        get("/up", &"X: y\r\n".repeat(101)),
        get(&format!("/up?{}", "x".repeat(40_000)), ""),
        // It has no end either.
        format!("GET /up HTTP/1.1\r\nX: {}", "x".repeat(40_000)),
    ] {
        let statuses = answers(&server, &request).await;
        assert_eq!(statuses, [431], "{} bytes", request.len());
    }
}

#[tokio::test]
async fn targets_are_taken_as_they_are_written() {
    let server = Server::start().await;
    let ask = async |line: &str| {
        let request = format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n");
        answers(&server, request).await
    };
    for target in [
        "/up",
        "/up?a=/../b",
        "http://elsewhere/up",
        "http://u:p@elsewhere:1/up",
    ] {
        assert_eq!(
            ask(&format!("GET {target} HTTP/1.1")).await,
            [200],
            "{target}"
        );
    }
    for target in [
        "/%75p",
        "//up",
        "/./up",
        "/nowhere/../up",
        "/nowhere%2f..%2fup",
        "/up%00",
        "/up%2f",
        "/apps%2Fapp-id/channels",
        "http://elsewhere",
    ] {
        let statuses = ask(&format!("GET {target} HTTP/1.1")).await;
        assert!(
            matches!(statuses[..], [404] | [200]),
            "{target}: {statuses:?}"
        );
        let is_landing = target == "http://elsewhere";
        assert_eq!(statuses == [200], is_landing, "{target}: {statuses:?}");
    }
    // An escaped slash belongs to the name that it stands in.
    let escaped = ask("GET /apps/app-id%2Fchannels/channels HTTP/1.1").await;
    assert_eq!(escaped, [404]);
    for line in [
        "CONNECT elsewhere:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET up HTTP/1.1",
        "GET /u p HTTP/1.1",
        "GET /up HTTP/1.1 x",
        "GET /up HTTP/2.0",
        "GET /up HTTP/0.9",
        "GET /up",
        "G\x00T /up HTTP/1.1",
    ] {
        assert_eq!(ask(line).await, [400], "{line:?}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order_and_old_clients_once() {
    let server = Server::start().await;
    let row = [
        "GET /up HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "\r\nHEAD /up HTTP/1.1\r\nHost: x\r\n\r\n",
        LAST,
    ];
    assert_eq!(
        answers(&server, row.concat()).await,
        [200, 404, 405, 200, 200]
    );
    // HTTP/1.0 has neither chunks nor, unless asked for, a second request.
    let old = format!("GET /up HTTP/1.0\r\n\r\n{SMUGGLED}");
    assert_eq!(answers(&server, old).await, [200]);
    let kept = format!("GET /up HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{LAST}");
    assert_eq!(answers(&server, kept).await, [200, 200]);
    let chunked =
        format!("POST /up HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}");
    assert_eq!(answers(&server, chunked).await, [400]);
}
