//! What the scenarios of clusters rely on: the network in between breaks as told, Redis forgets, nodes end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::node::Node;
use crate::support::port::Port;
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, until};

/// A connection through the relay to one that echoes.
struct Wire(TcpStream);

impl Wire {
    async fn connect(address: SocketAddr) -> Wire {
        Wire(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self) {
        self.0.write_all(b"x").await.unwrap();
    }

    /// Whether a byte comes back; an end is an error.
    async fn comes_back(&mut self) -> std::io::Result<bool> {
        match timeout(Duration::from_millis(200), self.0.read_u8()).await {
            Ok(byte) => byte.map(|_| true),
            Err(_) => Ok(false),
        }
    }
}

async fn echo(port: Port) {
    let listener = port.listen();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok();
        });
    }
}

#[tokio::test]
async fn a_relay_holds_cuts_and_mends() {
    let port = Port::free();
    let target = port.address();
    tokio::spawn(echo(port));
    let relay = Relay::to(target);
    let mut old = Wire::connect(relay.address()).await;
    old.send().await;
    assert!(old.comes_back().await.unwrap());

    relay.freeze();
    old.send().await;
    let mut new = Wire::connect(relay.address()).await;
    new.send().await;
    assert!(!old.comes_back().await.unwrap());
    assert!(!new.comes_back().await.unwrap());
    relay.open();
    assert!(old.comes_back().await.unwrap());
    assert!(new.comes_back().await.unwrap());

    relay.stop();
    assert!(old.comes_back().await.is_err());
    until("it refuses", async || {
        TcpStream::connect(relay.address()).await.is_err()
    })
    .await;
    relay.open();
    until("it lets in", async || {
        TcpStream::connect(relay.address()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_killed_redis_refuses_and_forgets_and_a_frozen_one_is_silent() {
    let mut redis = Redis::start().await;
    let _: () = redis.command(&["SET", "a", "1"]).await;
    assert_eq!(redis.keys("*").await, ["a"]);
    let mut connected = TcpStream::connect(redis.address()).await.unwrap();
    redis.freeze();
    connected.write_all(b"PING\r\n").await.unwrap();
    let answer = timeout(Duration::from_millis(200), connected.read_u8()).await;
    assert!(answer.is_err(), "{answer:?}");
    redis.thaw();
    assert_eq!(connected.read_u8().await.unwrap(), b'+');
    redis.kill();
    assert!(TcpStream::connect(redis.address()).await.is_err());
    redis.start_again().await;
    assert!(redis.keys("*").await.is_empty());
    assert_eq!(redis.subscribers("a").await, 0);
}

#[tokio::test]
async fn a_node_is_a_process_that_can_be_stopped_ended_and_killed() {
    let mut node = Node::start("").await;
    let mut one = View::join(&node, "presence-a", "1").await;
    let mut two = View::join(&node, "presence-a", "2").await;
    node.freeze();
    two.leave().await;
    node.thaw();
    let deadline = Instant::now() + DEADLINE;
    one.agrees(&users([1]), deadline).await;
    node.agrees("presence-a", &users([1]), deadline).await;
    assert_eq!((one.additions("2"), one.removals("2")), (1, 1));
    drop(two);
    node.terminate();
    assert_eq!(one.client.close_code().await, Some(4200));
    drop(one);
    node.ended().await;

    let mut node = Node::start("").await;
    let mut view = View::join(&node, "presence-a", "1").await;
    node.kill();
    assert_eq!(view.client.close_code().await, None);
}
