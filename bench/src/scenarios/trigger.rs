//! The trigger API alone: what a signed request costs the server when nobody listens.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::{
    error::BenchError,
    publisher::HttpPublisher,
    report::{Figure, Unit, histogram, latency},
    stamp::Stamp,
    target::Subject,
};

const CHANNEL: &str = "bench-trigger";
/// One request in so many is sent before measuring.
const WARM_UP_SHARE: u32 = 10;

/// How many requests, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) requests: u32,
    /// Keep-alive connections, with one request at a time on each.
    pub(crate) connections: u16,
    /// Bytes of data in a request.
    pub(crate) payload: usize,
}

/// A closed loop: the next request of a connection waits for the answer to the one before. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let meter = subject.meter;
    let mut publishers = Vec::new();
    for _ in 0..plan.connections {
        publishers.push(HttpPublisher::open(subject.app()?.clone()).await?);
    }
    let each = plan.requests / u32::from(plan.connections.max(1));
    let (publishers, _, _) = requests(publishers, each / WARM_UP_SHARE, plan.payload).await?;
    let before = meter.read()?;
    let (publishers, times_us, refused) = requests(publishers, each, plan.payload).await?;
    let count = times_us.len();
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per request", count, &before)?);
    figures.extend(meter.busy(&before)?);
    let per_second = count as f64 / before.elapsed_s();
    figures.push(Figure::new("requests per second", Unit::Count, per_second));
    figures.extend(latency("time to the 200", &times_us));
    let reconnects = publishers.iter().map(|publisher| publisher.reconnects);
    figures.push(Figure::count("reconnects", reconnects.sum()));
    figures.push(Figure::count("publishes refused", refused));
    Ok(figures)
}

type Times = hdrhistogram::Histogram<u64>;

/// So many requests on each connection. Gives the connections back, the times of the answers, and how many refused.
async fn requests(
    publishers: Vec<HttpPublisher>,
    each: u32,
    payload: usize,
) -> Result<(Vec<HttpPublisher>, Times, u64), BenchError> {
    let mut loops = JoinSet::new();
    for (source, mut publisher) in (0..).zip(publishers) {
        loops.spawn_local(async move {
            let (mut times_us, mut refused) = (histogram(), 0);
            for sequence in 0..u64::from(each) {
                let stamp = Stamp {
                    source,
                    sequence,
                    due_ns: 0,
                };
                let sent = Instant::now();
                match publisher.publish(CHANNEL, &stamp.payload(payload)).await {
                    Ok(()) => times_us.saturating_record(sent.elapsed().as_micros() as u64),
                    Err(BenchError::Refused { .. }) => refused += 1,
                    Err(error) => return Err(error),
                }
            }
            Ok((publisher, times_us, refused))
        });
    }
    let (mut back, mut times_us, mut refused) = (Vec::new(), histogram(), 0);
    for result in loops.join_all().await {
        let (publisher, times, more) = result?;
        back.push(publisher);
        times_us += times;
        refused += more;
    }
    Ok((back, times_us, refused))
}
