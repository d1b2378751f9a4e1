//! Doors to the hub: each speaks one protocol to its clients and frames to the engine.
//!
//! # Layout
//!
//! * [`admission`]: who may come in at all: connection limits and the rate of handshakes.
//! * [`pusher`]: the Pusher protocol over WebSocket.
//! * [`fallback`]: the Pusher protocol over plain HTTP.

pub mod admission;
pub mod fallback;
pub mod pusher;

/// By which gateway a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The Pusher protocol over WebSocket.
    Pusher,
    /// The Pusher protocol over plain HTTP.
    Fallback,
}

impl Kind {
    /// Every gateway, each at the place `Kind as usize`.
    pub const ALL: [Kind; 2] = [Kind::Pusher, Kind::Fallback];

    /// Its name in figures.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Pusher => "pusher",
            Kind::Fallback => "fallback",
        }
    }
}
