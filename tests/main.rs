//! The scenarios: a real server on a free port, real sockets, and promises that can be broken.
//! Each module is named after what it promises about.

#![expect(
    unreachable_pub,
    reason = "modules of one binary, nobody outside to reach them"
)]

mod support;

mod channels;
mod client_events;
mod drain;
mod handshake;
mod hostile_input;
mod liveness;
mod order;
mod presence;
mod proxy;
mod slow_consumer;
mod trigger_api;
