//! Collects the figures from where they are kept: shards, directory, admission, webhooks. Nothing is remembered between
//! two scrapes, so a gauge cannot drift from what it measures.

use gema_protocol::channel::Access;

use crate::gateway::Kind;
use crate::http::Context;
use crate::metrics::Reading;

/// The kinds of channels by their label.
const KINDS: [(Access, &str); 5] = [
    (Access::Public, "public"),
    (Access::Private, "private"),
    (Access::Encrypted, "encrypted"),
    (Access::Presence, "presence"),
    (Access::ServerToUser, "user"),
];

/// What there is now.
pub(super) async fn reading(context: &Context) -> Reading {
    let hub = &context.gateway.hub;
    let report = hub.report().await;
    let census = hub.census().await;
    let webhooks = context.webhooks.totals();
    let admission = &context.gateway.admission;
    // By the ids of apps that are gone, too, while connections of theirs are here.
    let connections = Kind::ALL.into_iter().flat_map(|gateway| {
        let counts = admission.connections_by(gateway);
        counts.map(move |(app, count)| {
            let id = context.apps.id_of(app).to_owned();
            (id, gateway.label(), count as u64)
        })
    });
    Reading {
        ready: context.readiness().is_ok(),
        connections: connections.collect(),
        channels: census.channels,
        subscriptions: KINDS
            .map(|(access, label)| (label, census.subscriptions_of(access)))
            .into(),
        outbox_bytes: report.outbox_bytes,
        connected: report.connected,
        disconnected: report.disconnected.into_iter().collect(),
        sent: report.sent,
        sent_bytes: report.sent_bytes,
        slow_consumers: report.slow_consumers,
        webhooks: vec![
            ("delivered", webhooks.delivered),
            ("failed", webhooks.failed_attempts),
            ("given_up", webhooks.given_up),
            ("overflowed", webhooks.overflowed),
        ],
        outbox_lag_ms: context.outbox_lag.as_ref().map(|lag| lag.ms()),
        bus: context.bus.as_ref().map(|bus| bus.figures()),
    }
}
