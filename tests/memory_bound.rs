//! What hostile clients can make a server keep is bounded by its settings, as docs/security.md says: so much for a connection,
//! what it has sent of one message, what waits for it, and its subscriptions.

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::support::node::Node;
use crate::support::{DEADLINE, Raw, until};

const KIB: u64 = 1024;

/// A connection by itself.
const CONNECTION: u64 = 4 * KIB;

/// A subscription to a channel that nobody else is in, with a name of 200 characters.
const SUBSCRIPTION: u64 = 700;

/// Requests under way, and what the allocator keeps between two of them.
const PASSING: u64 = 24 * 1024 * KIB;

/// A node whose memory is watched from now on.
struct Watched {
    node: Node,
    before: u64,
}

impl Watched {
    async fn start(limits: &str) -> Watched {
        // A thousand connections have two ends.
        rlimit::increase_nofile_limit(4096).expect("descriptors");
        let node = Node::start(&format!("chat.enabled = false\n[limits]\n{limits}")).await;
        // What it takes once, whoever comes.
        node.client().await.close().await;
        node.trigger("first", "n", "1").await;
        let before = node.peak_memory();
        Watched { node, before }
    }

    fn growth(&self) -> u64 {
        self.node.peak_memory() - self.before
    }

    async fn connections(&self) -> u64 {
        let answer = self.node.get("/apps/app-id/connections", "").await;
        answer.json()["connections"].as_u64().expect("a number")
    }

    /// Connects without letting more than a few KiB through unread.
    async fn deaf(&self) -> Raw {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("an option");
        let stream = socket.connect(self.node.address).await.expect("connected");
        let mut raw = Raw { stream };
        raw.write(Raw::upgrade_request("/app/app-key").as_bytes())
            .await;
        raw.through("connection_established").await;
        raw
    }
}

/// Reads on to this text.
async fn read_to(raw: &mut Raw, text: &str) {
    let reading = async {
        let (mut tail, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while !String::from_utf8_lossy(&tail).contains(text) {
            let read = raw.stream.read(&mut buffer).await.expect("bytes");
            assert!(read > 0, "the end before {text:?}");
            let keep = tail.len().saturating_sub(text.len());
            tail.drain(..keep);
            tail.extend_from_slice(&buffer[..read]);
        }
    };
    timeout(DEADLINE, reading).await.expect("in time");
}

fn subscribe(channel: &str) -> Vec<u8> {
    let message = json!({ "event": "pusher:subscribe", "data": { "channel": channel } });
    Raw::frame(0x81, message.to_string().as_bytes())
}

#[tokio::test]
async fn a_thousand_messages_that_lack_their_last_byte_take_no_more_than_their_bytes_twice() {
    const CONNECTIONS: u64 = 1000;
    const MESSAGE: u64 = 64 * KIB;
    let watched = Watched::start("").await;
    let (whole, half) = (
        vec![b' '; MESSAGE as usize],
        vec![b' '; MESSAGE as usize / 2],
    );
    let whole = Raw::frame(0x81, &whole);
    let fragments = [Raw::frame(0x01, &half), Raw::frame(0x80, &half)].concat();
    let mut raws = Vec::new();
    for number in 0..CONNECTIONS {
        let mut raw = Raw::upgrade(watched.node.address, "/app/app-key").await;
        let message = if number % 2 == 0 { &whole } else { &fragments };
        let (last, message) = message.split_last().unwrap();
        raw.write(message).await;
        raws.push((raw, *last));
    }
    until("they are kept", async || {
        watched.growth() > CONNECTIONS * MESSAGE * 9 / 10
    })
    .await;
    for (raw, last) in &mut raws {
        raw.write(&[*last]).await;
        // It is no JSON.
        read_to(raw, "pusher:error").await;
    }
    let (growth, bound) = (watched.growth(), CONNECTIONS * (CONNECTION + 2 * MESSAGE));
    assert!(growth < bound, "{growth} of {bound}");
}

#[tokio::test]
async fn subscriptions_take_no_more_than_their_number_allows() {
    const CONNECTIONS: u64 = 200;
    const CHANNELS: u64 = 200;
    let watched = Watched::start(&format!("channels_per_connection = {CHANNELS}")).await;
    let mut raws = Vec::new();
    for number in 0..CONNECTIONS {
        let mut raw = Raw::upgrade(watched.node.address, "/app/app-key").await;
        // One more than allowed.
        let names = (0..=CHANNELS).map(|channel| format!("{number:0>100}-{channel:0>99}"));
        let frames: Vec<u8> = names.flat_map(|name| subscribe(&name)).collect();
        raw.write(&frames).await;
        read_to(&mut raw, "LimitReached").await;
        raws.push(raw);
    }
    let growth = watched.growth();
    let most = CONNECTIONS * (CONNECTION + CHANNELS * SUBSCRIPTION);
    assert!(
        growth > CONNECTIONS * CHANNELS * 300,
        "{growth}: they are kept"
    );
    assert!(growth < most, "{growth} of {most}");
}

#[tokio::test]
async fn without_a_number_a_connection_has_ten_thousand_channels_at_most() {
    let watched = Watched::start("").await;
    let mut raw = Raw::upgrade(watched.node.address, "/app/app-key").await;
    let frames: Vec<u8> = (0..10_000)
        .flat_map(|n| subscribe(&n.to_string()))
        .collect();
    let (mut reader, mut writer) = raw.stream.split();
    let writing = tokio::io::AsyncWriteExt::write_all(&mut writer, &frames);
    let mut answers = vec![0; 64 * 1024];
    let reading = async { while reader.read(&mut answers).await.is_ok_and(|read| read > 0) {} };
    // The answers are more than the kernel keeps.
    tokio::select! {
        written = writing => written.expect("written"),
        () = reading => panic!("the end"),
    }
    raw.write(&subscribe("one-more")).await;
    read_to(&mut raw, "LimitReached").await;
}

#[tokio::test]
async fn those_who_read_nothing_have_no_more_waiting_than_their_outboxes_hold() {
    const CONNECTIONS: u64 = 100;
    const OUTBOX: u64 = 512 * KIB;
    const EVENT: u64 = 60_000;
    let limits = format!("outbox_bytes = {OUTBOX}\nevent_data_bytes = {EVENT}");
    let watched = Watched::start(&limits).await;
    let mut raws = Vec::new();
    for number in 0..CONNECTIONS {
        let mut raw = watched.deaf().await;
        raw.write(&subscribe(&format!("own-{number}"))).await;
        raws.push(raw);
    }
    until("all are subscribed", async || {
        let channels = watched.node.get("/apps/app-id/channels", "").await.json();
        channels["channels"].as_object().unwrap().len() as u64 == CONNECTIONS
    })
    .await;
    // The kernel keeps some megabytes of each before the outboxes fill.
    let data = "x".repeat(EVENT as usize);
    let channels: Vec<String> = (0..CONNECTIONS).map(|n| format!("own-{n}")).collect();
    let body = json!({ "name": "n", "channels": channels, "data": data }).to_string();
    let mut published = 0;
    while watched.connections().await > 0 {
        published += 1;
        assert!(published < 500, "nobody is closed");
        watched.node.post("/apps/app-id/events", &body).await.json();
    }
    let growth = watched.growth();
    println!("{published} events each, {growth} bytes");
    let most = CONNECTIONS * (CONNECTION + OUTBOX + EVENT) + PASSING;
    assert!(growth > CONNECTIONS * OUTBOX / 2, "{growth}: they are kept");
    assert!(growth < most, "{growth} of {most}");
}
