//! Doors to the hub: each speaks one protocol to its clients and frames to the engine.
//!
//! # Layout
//!
//! * [`admission`]: who may come in at all: connection limits and the rate of handshakes. [`policies`]: the rules then.
//! * [`guest`]: a client of a door that speaks something else. [`arrival`], [`leaving`]: the way in and out of all of them.
//! * [`pusher`]: the Pusher protocol over WebSocket.
//! * [`fallback`]: the Pusher protocol over plain HTTP.
//! * [`socketio`]: the protocol of Socket.IO, its two transports.
//! * [`plain`]: JSON messages over WebSocket, the chat's first of all.
//! * [`websocket`]: bytes in and out, for all who speak over a WebSocket.

pub mod admission;
mod arrival;
pub mod fallback;
pub mod guest;
mod leaving;
pub mod plain;
pub mod policies;
pub mod pusher;
pub mod socketio;
mod websocket;

/// By which gateway a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The Pusher protocol over WebSocket.
    Pusher,
    /// The Pusher protocol over plain HTTP.
    Fallback,
    /// JSON over WebSocket.
    Plain,
    /// Socket.IO.
    SocketIo,
}

impl Kind {
    /// Every gateway, each at the place `Kind as usize`.
    pub const ALL: [Kind; 4] = [Kind::Pusher, Kind::Fallback, Kind::Plain, Kind::SocketIo];

    /// Its name in figures.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Pusher => "pusher",
            Kind::Fallback => "fallback",
            Kind::Plain => "plain",
            Kind::SocketIo => "socketio",
        }
    }
}
