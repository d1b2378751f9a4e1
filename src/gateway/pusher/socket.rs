//! From an upgraded connection to its tasks. Plain TCP is written by the hub's shard; TLS has a writing task of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gema_protocol::frame::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Gateway;
use super::connection::Connection;
use super::handshake::Handshake;
use crate::gateway::websocket::{Client, Dress, Source, Tls, begin, let_the_hub_decide, write_out};
use crate::hub::{Farewell, Link};

/// How long a refused client may take to read why.
const REFUSAL: Duration = Duration::from_secs(5);

/// Serves one upgraded connection to its end.
pub async fn serve(gateway: Arc<Gateway>, handshake: Handshake, upgraded: Upgraded) {
    let accepted = match handshake.decide(&gateway).await {
        Ok(accepted) => accepted,
        Err(farewell) => return refuse(upgraded, &farewell).await,
    };
    let max = gateway.message_bytes;
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            let_the_hub_decide(&stream);
            let link = Arc::new(Link::tcp(stream));
            let source = Source::Tcp(link.clone());
            let client = Connection::open(gateway, accepted, link.clone());
            tokio::spawn(begin(client, link, source, max, parts.read_buf));
            return;
        }
        Err(upgraded) => upgraded,
    };
    if let Ok(parts) = upgraded.downcast::<TokioIo<Tls>>() {
        let stream = parts.io.into_inner();
        let_the_hub_decide(stream.get_ref().0);
        let (read, write) = tokio::io::split(stream);
        let link = Arc::new(Link::door());
        tokio::spawn(write_out(link.clone(), write, AsItIs));
        let source = Source::Tls(Box::new(read));
        let client = Connection::open(gateway, accepted, link.clone());
        tokio::spawn(begin(client, link, source, max, parts.read_buf));
    }
}

/// Tells a client why it cannot stay, and waits until it has gone.
async fn refuse(upgraded: Upgraded, farewell: &Farewell) {
    let mut stream = TokioIo::new(upgraded);
    let told = async {
        for frame in farewell.error.iter().chain([&farewell.close]) {
            stream.write_all(frame.bytes()).await?;
        }
        stream.shutdown().await?;
        // What it still sends is read, or the kernel would reset the connection under the farewell.
        let mut rest = [0; 256];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Gone, or too slow to be told: either way this is its end.
    drop(timeout(REFUSAL, told).await);
}

/// The frames of the hub are those of the Pusher protocol.
struct AsItIs;

impl Dress for AsItIs {
    fn dress(&self, frame: &Frame, out: &mut Vec<u8>) {
        out.extend_from_slice(frame.bytes());
    }
}

impl Client for Connection {
    async fn on_text(&mut self, text: &str) {
        Connection::on_text(self, text).await;
    }

    async fn send(&self, frame: Frame) {
        Connection::send(self, frame).await;
    }

    async fn close(&self, farewell: Farewell) {
        Connection::close(self, farewell).await;
    }
}
