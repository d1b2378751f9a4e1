//! JSON over a plain WebSocket, for clients that know no Pusher protocol: `/ws?token=…`. A client is a [`Guest`] of the
//! hub who needs a token, is joined to its user's channels, and may write to other users.
//!
//! # Layout
//!
//! * [`handshake`]: who may come in; said by an HTTP status before the upgrade.
//! * [`ask`]: what a client's message asks for. [`client`]: doing it.
//! * [`words`]: the hub's frames in this door's words.
//! * [`refusal`]: what a client is told when something is not done.
//! * [`socket`]: over plain TCP and TLS.
//!
//! The messages are described in docs/plain-websocket.md.
//!
//! [`Guest`]: super::guest::Guest

mod ask;
mod client;
pub mod handshake;
mod refusal;
mod socket;
mod words;

use std::sync::Arc;

pub use self::socket::serve;

use super::pusher::Gateway;
use crate::apps::SigningApp;
use crate::config::ChannelTemplate;

/// What all connections of this door share.
pub struct Plain {
    /// The engine behind all doors.
    pub gateway: Arc<Gateway>,
    /// In whose channels the clients are.
    pub app: SigningApp,
    /// Where the door stands, without the path prefix; begins with `/` and does not end with it.
    pub path: String,
    /// What a client is joined to when it connects.
    pub user_channels: Vec<ChannelTemplate>,
}

impl Plain {
    /// Whether a user is joined to this channel unasked.
    fn is_unasked(&self, channel: &str, user_id: &str) -> bool {
        let mut templates = self.user_channels.iter();
        templates.any(|template| template.fill(user_id) == channel)
    }
}
