//! gema, a broadcast server that speaks the Pusher protocol.
//!
//! # Layout
//!
//! Arrows point one way: `hub <- {bus, live} <- {broker, users} <- gateway <- {cluster, http} <- admin <- server <- cli`; the
//! protocol itself is the crate `gema-protocol`, below all of them.
//!
//! * [`hub`]: the engine: connections, the channels they hear, and the order in which they hear.
//! * [`bus`]: between nodes: events, and the registry of who is where, in Redis.
//! * [`live`]: what happens now, for those who look on.
//! * [`broker`]: what happens in channels, for all doors alike.
//! * [`presence`]: who is in a channel. [`users`]: who has signed in.
//! * [`cluster`]: being one of several nodes: hearing the others, holding a lease, cleaning up after the dead.
//! * [`chat`]: messages between users: stored, then announced.
//! * [`gateway`]: doors to the hub: the Pusher WebSocket, the same over plain HTTP, JSON over WebSocket.
//! * [`http`]: the trigger API, the authorizer's endpoints, health.
//! * [`admin`]: the second listener, for those who run the server.
//! * [`server`]: listening, the accept loop, the orderly end.
//! * [`cli`]: one file a command.
//! * [`config`]: what the user wrote, and what it means.
//! * [`apps`]: the apps and whose pages may use them. [`roster`]: which of them are in force while the server runs.
//! * [`auth`]: JWTs, channel rules, guards.
//! * [`webhooks`]: telling an app's back end what happens in its channels.
//! * [`metrics`]: figures, and their text for Prometheus.
//! * [`outbox`]: publishing what back ends insert into a table.
//! * [`store`]: the database, for what needs one.
//! * [`limits`], [`clock`], `outbound`: rates, time, and requests of our own.
//!
//! [`run`] is the whole server; tests call it too.

pub mod admin;
pub mod apps;
pub mod auth;
pub mod broker;
pub mod bus;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod gateway;
pub mod http;
pub mod hub;
pub mod limits;
pub mod live;
pub mod metrics;
mod outbound;
pub mod outbox;
pub mod presence;
pub mod roster;
pub mod server;
pub mod store;
pub mod users;
pub mod webhooks;

pub use server::{ServerError, run};
