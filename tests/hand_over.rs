//! SIGUSR2: a new process takes the listening socket over, and nobody is turned away.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::time::timeout;

use crate::support::DEADLINE;
use crate::support::node::{Node, settings};
use crate::support::redis::Redis;

/// What systemd is to a service: it wants to know which process is the main one.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

/// Killed when dropped. It is in the test's process group, so it does not outlive a test that is killed with its group.
struct Successor {
    process: u32,
}

impl Manager {
    fn new() -> Manager {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Manager { socket, directory }
    }

    fn path(&self) -> String {
        let path = self.directory.path().join("notify");
        path.to_str().unwrap().to_owned()
    }

    async fn successor(&self) -> Successor {
        let mut message = [0; 64];
        let said = timeout(DEADLINE, self.socket.recv(&mut message));
        let length = said.await.expect("a successor").unwrap();
        let message = std::str::from_utf8(&message[..length]).unwrap();
        let process = message.strip_prefix("MAINPID=").unwrap();
        Successor {
            process: process.parse().unwrap(),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let process = self.process.to_string();
        Command::new("kill").args(["-9", &process]).status().ok();
    }
}

/// One connection, one request, and whether it was answered as it should be.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn while_a_new_process_takes_over_no_connection_is_refused_and_no_request_fails() {
    let redis = Redis::start().await;
    let manager = Manager::new();
    let toml = settings(&redis.url(), "[server]\nshutdown_grace_s = 1");
    let mut node = Node::start_with(&toml, &[("NOTIFY_SOCKET", &manager.path())]).await;
    let mut old = node.client().await;
    old.subscribe("a").await;

    let address = node.address;
    let is_over = AtomicBool::new(false);
    let asking = async {
        let mut asked = 0;
        while !is_over.load(Ordering::Relaxed) {
            let answer = ask(address).await.expect("a connection that is served");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
            asked += 1;
        }
        asked
    };
    let handing_over = async {
        node.hand_over();
        let successor = manager.successor().await;
        // The connections of before are sent on, to come back at once.
        assert_eq!(old.close_code().await, Some(4200));
        old.vanish();
        node.ended().await;
        is_over.store(true, Ordering::Relaxed);
        successor
    };
    let (asked, _successor) = tokio::join!(asking, handing_over);
    assert!(asked > 10, "{asked}");

    let mut new = node.client().await;
    new.subscribe("a").await;
    node.trigger("a", "news", "1").await;
    new.event("news").await;
}

#[tokio::test]
async fn a_successor_that_does_not_start_changes_nothing() {
    let manager = Manager::new();
    let toml = "[server]\nshutdown_grace_s = 1";
    let mut node = Node::start_with(toml, &[("NOTIFY_SOCKET", &manager.path())]).await;
    let mut client = node.client().await;
    // A file that is read when we say, so that we know when the successor has failed.
    let config = node.config();
    std::fs::remove_file(&config).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&config)
            .status()
            .unwrap()
            .success()
    );
    node.hand_over();
    let fifo = config.clone();
    tokio::task::spawn_blocking(move || std::fs::write(fifo, "no = 'setting'"))
        .await
        .unwrap()
        .unwrap();
    client.subscribe("a").await;
    node.trigger("a", "still", "1").await;
    client.event("still").await;

    std::fs::remove_file(&config).unwrap();
    std::fs::write(&config, toml).unwrap();
    node.hand_over();
    let _successor = manager.successor().await;
    // Alone, without Redis, it does not keep connections that would not hear what the successor is told.
    assert_eq!(client.close_code().await, Some(4200));
    client.vanish();
    node.ended().await;
    node.client().await;
}
