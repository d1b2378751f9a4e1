//! The Pusher protocol over WebSocket: from a completed upgrade to the cleaning up.
//!
//! # Layout
//!
//! * [`handshake`]: what the URL and headers ask for, and why it may be refused.
//! * [`connection`]: one client's session, carried out on the hub.
//! * [`socket`]: over plain TCP and TLS.

pub mod connection;
pub mod handshake;
mod socket;

use std::sync::Arc;

pub use self::socket::serve;

use super::admission::Admission;
use super::policies::Policies;
use crate::apps::Apps;
use crate::auth::Authorizer;
use crate::broker::Broker;
use crate::chat::Chat;
use crate::hub::Hub;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::users::Users;

/// What all connections of this door share.
pub struct Gateway {
    /// Where connections are.
    pub hub: Arc<Hub>,
    /// Where subscriptions and events go.
    pub broker: Arc<Broker>,
    /// Where sign-ins go.
    pub users: Arc<Users>,
    /// Connection limits.
    pub admission: Admission,
    /// Who may connect.
    pub apps: Arc<Apps>,
    /// Tokens in connection URLs, and guards of public channels.
    pub authorizer: Arc<Authorizer>,
    /// The session rules of each app.
    pub policies: Policies,
    /// Where messages, client events and refusals are counted.
    pub metrics: Arc<Metrics>,
    /// Messages between users; none when it is off (`chat.enabled`).
    pub chat: Option<Arc<Chat>>,
    /// What those who look on are told.
    pub live: Arc<Live>,
    /// Told to clients, in seconds.
    pub activity_timeout_s: u32,
    /// The longest message of a client.
    pub message_bytes: usize,
}
