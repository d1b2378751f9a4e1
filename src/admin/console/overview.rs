//! What there is altogether, and whether all is well: told to every page every two seconds, made once for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::{Ask, Console, Shared, answer, reading};
use crate::admin::scrape;
use crate::clock;

/// For how long one overview is good: shorter than the time between two of them for one page.
const FRESH: Duration = Duration::from_millis(1500);

/// How long Redis may take to name the nodes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Apps that are listed; a page that needs more is given a name.
const APPS: usize = 1000;

/// The last overview.
#[derive(Debug, Default)]
pub(super) struct Overview {
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path!("api" / "overview")
        .and(reading(shared))
        .then(|console: Arc<Console>, _: Ask| async move {
            let overview = console.overview.get(&console).await;
            // It is JSON already.
            let overview = serde_json::from_str::<Value>(&overview).unwrap_or_default();
            answer(Ok(overview))
        })
        .boxed()
}

impl Overview {
    /// The overview as JSON, on one line. While one asks, the others wait for the same answer.
    pub(super) async fn get(&self, console: &Console) -> Arc<str> {
        let mut last = self.last.lock().await;
        if let Some((made, text)) = &*last
            && made.elapsed() < FRESH
        {
            return text.clone();
        }
        let text: Arc<str> = make(console).await.to_string().into();
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

async fn make(console: &Console) -> Value {
    let context = &console.context;
    let (figures, database, nodes) =
        tokio::join!(scrape::reading(context), database(console), nodes(console));
    let admission = &context.gateway.admission;
    let apps = context.apps.all().into_iter().take(APPS).map(|app| {
        json!({
            "id": app.id,
            "enabled": app.enabled,
            "connections": admission.connections(app.index),
            "client_events": app.client_events,
            "webhooks": app.webhooks.len(),
        })
    });
    let bus = figures.bus.map(|bus| {
        let health = context.bus.as_ref().map(|bus| bus.health());
        json!({
            "up": bus.up,
            "error": health.and_then(Result::err),
            "sent": bus.sent,
            "received": bus.received,
            "dropped": bus.dropped,
            "gaps": bus.gaps,
            "sweeps": bus.sweeps,
        })
    });
    let pairs = |pairs: &[(&'static str, u64)]| -> Value { pairs.iter().copied().collect() };
    let gateways = figures.connections.iter().fold(
        std::collections::BTreeMap::<_, u64>::new(),
        |mut sums, (_, gateway, count)| {
            *sums.entry(*gateway).or_default() += count;
            sums
        },
    );
    json!({
        "now_ms": clock::unix_ms(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": clock::now_ms() / 1000,
        "node": context.gateway.hub.node().to_string(),
        "draining": context.draining(),
        "consoles": console.live.watchers(),
        "apps": apps.collect::<Vec<_>>(),
        "connections": figures.connections.iter().map(|(.., count)| count).sum::<u64>(),
        "gateways": gateways,
        "connected": figures.connected,
        "disconnected": figures.disconnected.iter().map(|(_, count)| count).sum::<u64>(),
        "channels": figures.channels,
        "subscriptions": pairs(&figures.subscriptions),
        "published": context.metrics.publications(),
        "sent": figures.sent,
        "sent_bytes": figures.sent_bytes,
        "outbox_bytes": figures.outbox_bytes,
        "slow_consumers": figures.slow_consumers,
        "webhooks": pairs(&figures.webhooks),
        "outbox_lag_ms": figures.outbox_lag_ms,
        "bus": bus,
        "database": database,
        "nodes": nodes,
    })
}

/// `null` where nothing needs one.
async fn database(console: &Console) -> Value {
    match &console.context.store {
        None => Value::Null,
        Some(store) => {
            let error = store.health().await.err();
            json!({ "up": error.is_none(), "error": error })
        }
    }
}

/// `null` on a node alone, and a text when Redis does not say.
async fn nodes(console: &Console) -> Value {
    let Some(bus) = &console.context.bus else {
        return Value::Null;
    };
    match timeout(PATIENCE, bus.nodes()).await {
        Ok(Ok(nodes)) => {
            let nodes = nodes.into_iter().map(|node| {
                json!({
                    "name": node.name.to_string(),
                    "id": node.name.id().to_string(),
                    "self": node.is_self,
                    "lease_left_ms": node.lease_left_ms,
                    "connections": node.connections,
                })
            });
            nodes.collect()
        }
        Ok(Err(error)) => error.to_string().into(),
        Err(_) => "Redis has not answered within a second".into(),
    }
}
