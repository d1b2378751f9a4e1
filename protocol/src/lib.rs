//! The Pusher Channels protocol without I/O, clock or randomness: text and the time go in, values and ready frames
//! come out. Everything here can be tested, and fuzzed, without a socket.
//!
//! # Layout
//!
//! What names and codes are:
//! - [`channel`]: [`ChannelName`], a name that passed the charset and length rules, and [`ChannelKind`], what its prefix asks for
//! - [`socket_id`]: [`SocketId`], the `node.number` that signatures and exclusions refer to
//! - [`code`]: [`Code`], every error and close code with what a client makes of it
//!
//! What the server says:
//! - [`mod@frame`]: [`Frame`], a complete WebSocket frame made once and shared by all who receive it
//! - [`server`]: one function for each frame the server sends
//! - [`envelope`]: [`Envelope`], a frame on its way from one node to another
//!
//! What the client and the backend say:
//! - [`decoder`]: [`Decoder`], from the bytes of a client's WebSocket to its messages
//! - [`client`]: [`ClientMessage`], parsed from a text message; event data stays unparsed
//! - [`presence`]: [`Member`], from the `channel_data` of a presence subscription
//! - [`user`]: [`User`], from the `user_data` of a sign-in
//! - [`auth`]: the signatures of channels and users
//! - [`request`]: the signature of a request to the HTTP API
//!
//! What follows from it:
//! - [`session`]: [`Session`], the state machine of one connection
//! - [`liveness`]: [`Liveness`], when to ping a silent connection and when to give it up

pub mod allowance;
pub mod auth;
pub mod channel;
pub mod client;
pub mod code;
pub mod decoder;
pub mod envelope;
pub mod frame;
mod json;
pub mod liveness;
mod message;
pub mod presence;
mod query;
pub mod request;
pub mod server;
pub mod session;
pub mod socket_id;
pub mod user;

pub use auth::AuthError;
pub use channel::{Access, ChannelKind, ChannelName, ChannelNameError};
pub use client::{ClientMessage, MessageError, Subscribe};
pub use code::Code;
pub use decoder::{Decoder, Incoming, Violation};
pub use envelope::{Envelope, EnvelopeError};
pub use frame::Frame;
pub use liveness::{Liveness, Tick};
pub use presence::{Member, MemberError};
pub use request::{ApiRequest, RequestError};
pub use session::{Action, Policy, Session};
pub use socket_id::{SocketId, SocketIdError};
pub use user::{User, UserError};
