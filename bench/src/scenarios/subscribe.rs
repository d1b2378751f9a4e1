//! What subscribing costs as channels become many: a server is filled with channels, and then one connection joins and
//! leaves fresh ones, each created and ended by that.

use serde_json::json;

use crate::{
    client::{Client, subscription},
    crowd::{self, AT_ONCE},
    error::BenchError,
    report::{Figure, Unit, histogram, latency},
    target::Subject,
};

/// How many channels there are, and how often is joined and left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) channels: usize,
    /// Channels of each connection that fills the server.
    pub(crate) each: usize,
    pub(crate) pairs: u32,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    let app = subject.app()?;
    let rss_kib = meter.rss_kib()?;
    let each = plan.each.max(1);
    let connections = plan.channels.div_ceil(each);
    let before = meter.read()?;
    let crowd = crowd::open(target, connections, AT_ONCE, move |index| {
        let own = index * each..(index + 1) * each;
        own.map(|channel| format!("bench-filled-{channel}"))
            .collect()
    });
    let crowd = crowd.await;
    let count = (crowd.clients.len() * each) as u64;
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per subscription, filling", count, &before)?);
    figures.extend(meter.growth("RSS per subscription", rss_kib, count)?);
    let failed = crowd.failed();

    let (mut client, socket) = Client::connect(app, connections, None).await?;
    let mut times_us = histogram();
    let before = meter.read()?;
    for number in 0..plan.pairs {
        let channel = format!("bench-fresh-{number}");
        let sent = std::time::Instant::now();
        client
            .send(&subscription(app, &socket, &channel, None))
            .await?;
        client
            .wait_for("pusher_internal:subscription_succeeded", 1)
            .await?;
        times_us.saturating_record(sent.elapsed().as_micros() as u64);
        let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": channel}});
        client.send(&leave.to_string()).await?;
    }
    figures.extend(meter.each("CPU per join and leave", plan.pairs.into(), &before)?);
    figures.extend(latency("subscribe to acknowledged", &times_us));
    figures.push(Figure::new("channels", Unit::Count, plan.channels as f64));
    figures.push(Figure::count("failed", failed));
    Ok(figures)
}
