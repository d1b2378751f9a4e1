//! Many connections that say nothing: what connecting and subscribing costs the server, what it keeps in memory for
//! each, and what it spends on them while nothing happens.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    client::{self, App, Target},
    error::BenchError,
    procfs::{self, Cpu},
    report::{Figure, Unit},
};

/// How long the connections are held before memory is read; what the allocator gives back at once is then gone.
const HOLD: Duration = Duration::from_secs(3);

/// Opens `connections`, spread evenly over `channels`, holds them and reads what the server's process `pid` used.
pub(crate) async fn run(
    app: &App,
    connections: usize,
    channels: usize,
    pid: u32,
) -> Result<Vec<Figure>, BenchError> {
    let each = |total: f64, count: usize| total / count.max(1) as f64;
    let (cpu, rss_kib) = (Cpu::of(pid)?, procfs::rss_kib(pid)?);
    let started = Instant::now();
    let target = Target::Pusher(app.clone());
    let channel = move |index: usize| format!("bench-idle-{}", index % channels.max(1));
    let (subscribers, errors) = client::open_all(&target, connections, channel).await;
    let took = started.elapsed();
    let connected = Cpu::of(pid)?;
    let connect_ns = connected.used_since(&cpu)?;
    if let Some(first) = errors.first() {
        eprintln!(
            "{} of {connections} failed, the first: {first}",
            errors.len()
        );
    }
    sleep(HOLD).await;
    let grown_kib = procfs::rss_kib(pid)?.saturating_sub(rss_kib);
    let held = Cpu::of(pid)?.since(&connected);
    let count = subscribers.len();
    let cut_off = subscribers.iter().filter(|s| !s.is_open()).count();
    Ok(vec![
        Figure::new(
            "CPU per connect + subscribe",
            Unit::Micros,
            each(connect_ns as f64 / 1e3, count),
        ),
        Figure::new(
            "RSS per connection",
            Unit::Kib,
            each(grown_kib as f64, count),
        ),
        Figure::new(
            "CPU per idle connection and second",
            Unit::Micros,
            each(held as f64 / 1e3 / HOLD.as_secs_f64(), count),
        ),
        Figure::new(
            "connects per second",
            Unit::Count,
            count as f64 / took.as_secs_f64(),
        ),
        Figure::count("failed", errors.len() as u64),
        Figure::count("cut off", cut_off as u64),
    ])
}
