//! Doors to the hub: each speaks one protocol to its clients and frames to the engine.
//!
//! # Layout
//!
//! * [`admission`]: who may come in at all: connection limits and the rate of handshakes.
//! * [`decoder`]: bytes of a WebSocket client -> messages.
//! * [`pusher`]: the Pusher protocol over WebSocket.
//! * [`fallback`]: the Pusher protocol over plain HTTP.

pub mod admission;
mod decoder;
pub mod fallback;
pub mod pusher;
