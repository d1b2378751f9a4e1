//! Connect storms: everybody connects at once, leaves, and comes again. How quickly the server takes them, and whether it
//! gives their memory back.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    crowd,
    error::BenchError,
    meter::Meter,
    report::{Figure, Unit, histogram, latency},
    target::Subject,
};

/// Between two storms.
const BETWEEN: Duration = Duration::from_secs(1);

/// How big, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Connections being set up at the same time.
    pub(crate) at_once: usize,
    pub(crate) storms: u32,
    /// How long the server has to give memory back after everybody has left for good.
    pub(crate) rest: Duration,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    subject.app()?;
    let start_kib = meter.rss_kib()?;
    let (mut setup_us, mut failed, mut opened) = (histogram(), 0, 0);
    let (mut took, mut busy_us) = (Duration::ZERO, None);
    let (mut full_kib, mut after_kib): (Option<f64>, Vec<f64>) = (None, Vec::new());
    for storm in 1..=plan.storms {
        let before = meter.read()?;
        let channel = |_| vec!["bench-storm".to_owned()];
        let crowd = crowd::open(target, plan.connections, plan.at_once, channel).await;
        took += crowd.took;
        failed += crowd.failed();
        opened += crowd.clients.len() as u64;
        setup_us += &crowd.setup_us;
        if let Some(us) = meter.used_us(&before)? {
            busy_us = Some(busy_us.unwrap_or(0.0) + us);
        }
        if let Some(kib) = meter.rss_kib()? {
            full_kib = Some(full_kib.map_or(kib, |full| full.max(kib)));
        }
        drop(crowd);
        let length = match storm == plan.storms {
            true => plan.rest,
            false => BETWEEN.min(plan.rest),
        };
        after_kib.extend(rest(*meter, start_kib, length).await?);
    }
    let mut figures = vec![Figure::new(
        "connects per second",
        Unit::Count,
        opened as f64 / took.as_secs_f64(),
    )];
    figures.extend(busy_us.map(|us| {
        let each = us / opened.max(1) as f64;
        Figure::new("CPU per connect + subscribe", Unit::Micros, each)
    }));
    figures.extend(latency("connect to subscribed", &setup_us));
    let kib = |name: &str, value: Option<f64>| value.map(|kib| Figure::new(name, Unit::Kib, kib));
    figures.extend(kib("RSS at the start", start_kib));
    figures.extend(kib("RSS with all of them", full_kib));
    figures.extend(kib("RSS after the first storm", after_kib.first().copied()));
    figures.extend(kib("RSS after the last storm", after_kib.last().copied()));
    let kept = after_kib.last().zip(start_kib);
    figures.extend(kept.map(|(after, start)| {
        let each = (after - start) / plan.connections.max(1) as f64;
        Figure::new("RSS kept per connection that left", Unit::Kib, each)
    }));
    figures.push(Figure::count("failed", failed));
    Ok(figures)
}

/// Waits until memory is within a tenth of the start, or until the time is up; gives what it is then.
async fn rest(
    meter: Meter,
    start_kib: Option<f64>,
    length: Duration,
) -> Result<Option<f64>, BenchError> {
    let deadline = Instant::now() + length;
    loop {
        sleep(Duration::from_millis(100).min(length)).await;
        let now = meter.rss_kib()?;
        let back = now
            .zip(start_kib)
            .is_some_and(|(now, start)| now <= start * 1.1);
        if back || Instant::now() >= deadline {
            return Ok(now);
        }
    }
}
