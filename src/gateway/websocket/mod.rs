//! Bytes of a WebSocket in and out, for the doors that speak over one: the frames are those of the hub, or what a door
//! makes of them.
//!
//! # Layout
//!
//! * [`read`]: bytes -> messages for a [`Client`], through one buffer per thread.
//! * [`write`]: frames -> bytes, where the hub's shard cannot write by itself.

mod read;
mod write;

use gema_protocol::frame::Frame;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub(super) use self::read::{Source, begin};
pub(super) use self::write::{Dress, write_out};

use crate::hub::Farewell;

/// A connection with TLS.
pub(super) type Tls = TlsStream<TcpStream>;

/// What a door makes of a connection's messages. Dropping it cleans up.
pub(super) trait Client: Send + 'static {
    /// Takes one text message and does what it asks for.
    fn on_text(&mut self, text: &str) -> impl Future<Output = ()> + Send;

    /// Sends a frame to this client.
    fn send(&self, frame: Frame) -> impl Future<Output = ()> + Send;

    /// Sends the farewell after everything that waits for this client, and ends its stream.
    fn close(&self, farewell: Farewell) -> impl Future<Output = ()> + Send;
}

/// Takes off the time limit that HTTP answers have for being read.
pub(super) fn let_the_hub_decide(stream: &TcpStream) {
    // Fails only on a socket that is gone already.
    drop(SockRef::from(stream).set_tcp_user_timeout(None));
}
