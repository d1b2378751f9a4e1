//! From an upgraded connection to its tasks: one reads, one writes.

use std::sync::Arc;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Plain;
use super::client::Client;
use super::handshake::Accepted;
use super::words::Ears;
use crate::gateway::websocket::{Source, Tls, begin, let_the_hub_decide, write_out};
use crate::hub::Link;

/// Serves one upgraded connection to its end.
pub async fn serve(plain: Arc<Plain>, accepted: Accepted, upgraded: Upgraded) {
    let max = plain.gateway.message_bytes;
    let link = Arc::new(Link::door());
    let ears = Ears {
        plain: plain.clone(),
        identity: accepted.identity.clone(),
    };
    let (source, early) = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            let_the_hub_decide(&stream);
            let (read, write) = stream.into_split();
            tokio::spawn(write_out(link.clone(), write, ears));
            (Source::Half(read), parts.read_buf)
        }
        Err(upgraded) => {
            let Ok(parts) = upgraded.downcast::<TokioIo<Tls>>() else {
                return;
            };
            let stream = parts.io.into_inner();
            let_the_hub_decide(stream.get_ref().0);
            let (read, write) = tokio::io::split(stream);
            tokio::spawn(write_out(link.clone(), write, ears));
            (Source::Tls(Box::new(read)), parts.read_buf)
        }
    };
    let client = Client::open(plain, accepted, link.clone());
    tokio::spawn(begin(client, link, source, max, early));
}
