//! A running server, seen from outside: what commands that talk to one share.
//!
//! # Layout
//!
//! * [`Trust`]: which certificates are believed.
//! * [`dial`]: TCP and TLS to it, and what a failure means.
//! * [`api`]: its signed HTTP API.
//! * [`socket`]: its WebSocket, as a Pusher client.

pub(super) mod api;
pub(super) mod dial;
pub(super) mod socket;
mod trust;

pub(super) use api::Api;
pub(super) use dial::DialError;
pub(super) use socket::{Ended, Event, Socket};
pub(super) use trust::Trust;
