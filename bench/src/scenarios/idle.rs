//! Many connections that say nothing: what connecting and subscribing costs the server, what it and the kernel keep in
//! memory for each, and what it spends on them while nothing happens.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    crowd::{self, AT_ONCE},
    doors::Door,
    error::BenchError,
    kernel::KernelMemory,
    report::{Figure, Unit},
    target::{App, Subject, Target},
};

/// How many connections, and of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Channels they are spread over, one each.
    pub(crate) channels: usize,
    /// Where they come in; by gema's own doors each is a user, in a channel of its own.
    pub(crate) door: Door,
    /// How long they are held before memory is read; what the allocator gives back at once is then gone.
    pub(crate) hold: Duration,
}

/// Opens the connections, holds them and reads what was used.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let meter = &subject.meter;
    let target = &Target::Pusher(App {
        door: plan.door,
        ..subject.app()?.clone()
    });
    let rss_kib = meter.rss_kib()?;
    let kernel = KernelMemory::read()?;
    let before = meter.read()?;
    let channels = plan.channels.max(1);
    let channel = move |index: usize| vec![format!("bench-idle-{}", index % channels)];
    let crowd = crowd::open(target, plan.connections, AT_ONCE, channel).await;
    let count = crowd.clients.len() as u64;
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per connect + subscribe", count, &before)?);
    let connected = meter.read()?;
    sleep(plan.hold).await;
    figures.extend(meter.growth("RSS per connection", rss_kib, count)?);
    figures.extend(meter.rss("RSS")?);
    if target.address().ip().is_loopback() {
        // Both ends of each connection are sockets of this kernel.
        let grown = KernelMemory::read()?.since(&kernel) / (2 * count.max(1)) as f64;
        figures.push(Figure::new("kernel memory per socket", Unit::Kib, grown));
    }
    let idle_us = meter.idle_us(&connected)?;
    figures.extend(idle_us.map(|us| {
        let each = us / connected.elapsed_s() / count.max(1) as f64;
        Figure::new("CPU per idle connection and second", Unit::Micros, each)
    }));
    let cut_off = crowd.clients.iter().filter(|client| !client.is_open());
    figures.extend([
        Figure::new(
            "connects per second",
            Unit::Count,
            count as f64 / crowd.took.as_secs_f64(),
        ),
        Figure::count("cut off", cut_off.count() as u64),
        Figure::count("failed", crowd.failed()),
    ]);
    Ok(figures)
}
