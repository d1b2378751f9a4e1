//! The scenarios: a real server on a free port, real sockets, and promises that can be broken.
//! Each module is named after what it promises about.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    unreachable_pub,
    reason = "modules of one binary, nobody outside to reach them"
)]

mod support;

mod apps;
mod apps_of_others;
mod authorizer;
mod cache;
mod channels;
mod chat;
mod cli;
mod cli_doctor;
mod cli_import;
mod client_events;
mod cluster_agreement;
mod cluster_backends;
mod cluster_faults;
mod cluster_figures;
mod cluster_node_death;
mod cluster_order;
mod cluster_outage;
mod cluster_state;
mod cluster_storm;
mod cluster_webhooks;
mod console;
mod documents;
mod drain;
mod fallback;
mod guards;
mod hand_over;
mod handshake;
mod harness;
mod hostile_input;
mod liveness;
mod memory_bound;
mod metrics;
mod order;
mod outbox;
mod plain;
mod presence;
mod proxy;
mod redis_transport;
mod request_smuggling;
mod secrets;
mod slow_clients;
mod slow_consumer;
mod sql_rules;
mod subscription_count;
mod tls;
mod trigger_api;
mod users;
mod webhook_changes;
mod webhook_events;
mod webhooks;
