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
