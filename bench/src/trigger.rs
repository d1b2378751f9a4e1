//! The trigger API alone: what a signed request costs the server when nobody listens.

use std::time::Instant;

use crate::{
    client::App,
    error::BenchError,
    procfs::Cpu,
    publisher::HttpPublisher,
    report::{Figure, Unit, histogram, latency},
    stamp::Stamp,
};

const CHANNEL: &str = "bench-trigger";
/// One request in so many is sent before measuring.
const WARM_UP_SHARE: u32 = 10;

/// Sends `requests` one after the other on one keep-alive connection, `payload` bytes of data each.
pub(crate) async fn run(
    app: &App,
    requests: u32,
    payload: usize,
    pid: u32,
) -> Result<Vec<Figure>, BenchError> {
    let mut publisher = HttpPublisher::open(app.clone()).await?;
    let stamp = Stamp {
        publisher: 0,
        sequence: 0,
        due_ns: 0,
    };
    let data = stamp.payload(payload);
    for _ in 0..requests / WARM_UP_SHARE {
        publisher.publish(CHANNEL, &data).await?;
    }
    let mut times_us = histogram();
    let cpu = Cpu::of(pid)?;
    for _ in 0..requests {
        let sent = Instant::now();
        publisher.publish(CHANNEL, &data).await?;
        times_us.saturating_record(sent.elapsed().as_micros() as u64);
    }
    let cpu_us = Cpu::of(pid)?.used_since(&cpu)? as f64 / 1e3;
    let mut figures = vec![Figure::new(
        "CPU per request",
        Unit::Micros,
        cpu_us / f64::from(requests.max(1)),
    )];
    figures.extend(latency("time to the 200", &times_us));
    figures.push(Figure::count("reconnects", publisher.reconnects));
    Ok(figures)
}
