//! Connections that ask for nothing: what it costs the server to accept one, which under TLS is the handshake.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    crowd::{self, AT_ONCE},
    error::BenchError,
    report::{Figure, Unit, latency},
    target::Subject,
};

/// What a server still has to do after its clients are content (under TLS 1.3: it sends tickets) is done by then.
const REST: Duration = Duration::from_millis(100);

/// How many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let meter = subject.meter;
    let app = subject.app()?;
    let before = meter.read()?;
    let crowd = crowd::bare(app, plan.connections, AT_ONCE).await;
    sleep(REST).await;
    let count = crowd.clients.len() as u64;
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per connect", count, &before)?);
    let per_second = count as f64 / crowd.took.as_secs_f64();
    figures.push(Figure::new("connects per second", Unit::Count, per_second));
    figures.extend(latency("connect", &crowd.setup_us));
    figures.push(Figure::count("failed", crowd.failed()));
    Ok(figures)
}
