//! Many small channels: every connection is in several, and publishes go to random ones, as in an application where each
//! user sees a few things. Few deliveries a publish: what counts is what a publish costs.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    crowd::{self, AT_ONCE},
    error::BenchError,
    ledger::Ledger,
    pace::Schedule,
    publisher::Publisher,
    random::Random,
    report::{Figure, Unit, histogram, latency},
    tally::Tally,
    target::{Subject, Target},
};

/// Publishers, each on a connection of its own; a channel belongs to one of them, which keeps its order defined.
const PUBLISHERS: u16 = 4;

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// There are as many channels.
    pub(crate) connections: usize,
    /// Channels of a connection.
    pub(crate) each: usize,
    /// Publishes a second, all in all.
    pub(crate) rate: u32,
    pub(crate) length: Duration,
    pub(crate) payload: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    subject.app()?;
    let rss_kib = meter.rss_kib()?;
    let (each, connections) = (plan.each, plan.connections);
    let sources = u32::try_from(connections).unwrap_or(u32::MAX);
    let lists = move |index| channels_of(index, each, connections);
    let started = meter.read()?;
    let crowd = crowd::open(target, connections, AT_ONCE, move |index| {
        lists(index).into_iter().map(name).collect()
    })
    .await;
    let setup_s = crowd.took.as_secs_f64();
    let clients = crowd.complete()?;
    let ledger = Ledger::of((0..connections).map(lists), sources);
    let tally = Rc::new(Tally::new(ledger, Instant::now()));
    let subscriptions = (0..connections).map(|index| lists(index).len() as u64);
    let subscriptions: u64 = subscriptions.sum();
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per subscription", subscriptions, &started)?);
    let setup = subscriptions as f64 / setup_s;
    figures.push(Figure::new("subscriptions per second", Unit::Count, setup));
    figures.extend(meter.growth("RSS per connection", rss_kib, connections as u64)?);

    let mut receivers = JoinSet::new();
    for client in clients {
        let tally = tally.clone();
        receivers.spawn_local(async move {
            let (index, mut hint) = (client.index, 0);
            let ended = client.receive(|message| {
                tally.received(index, message, &mut hint);
            });
            ended.await
        });
    }
    let publishing = publish(
        target,
        &tally,
        plan,
        plan.length.min(Duration::from_secs(1)),
    );
    publishing.await?;
    tally.delivery_us.borrow_mut().reset();
    let warm = tally.totals().delivered;
    let before = meter.read()?;
    let done = publish(target, &tally, plan, plan.length).await?;
    let deliveries = tally.totals().delivered - warm;
    figures.extend(meter.each("CPU per publish", done.published, &before)?);
    figures.extend(meter.each("CPU per delivery", deliveries, &before)?);
    figures.extend(meter.busy(&before)?);
    let per_second = |count: u64| count as f64 / before.elapsed_s();
    figures.extend([
        Figure::new(
            "publishes per second",
            Unit::Count,
            per_second(done.published),
        ),
        Figure::new("deliveries per second", Unit::Count, per_second(deliveries)),
    ]);
    figures.extend(latency("delivery", &tally.delivery_us.borrow()));
    figures.extend(latency("time to the 200", &done.publish_us));
    figures.push(Figure::count("publishes skipped", done.skipped));
    figures.push(Figure::count("publishes refused", done.refused));
    figures.extend(tally.faults());
    // Nobody closes here before the end.
    let mut cut_off = 0;
    while let Some(Ok(why)) = receivers.try_join_next() {
        if cut_off == 0 {
            eprintln!("cut off: {why}");
        }
        cut_off += 1;
    }
    figures.push(Figure::count("cut off", cut_off));
    Ok(figures)
}

/// What publishing gave.
struct Published {
    published: u64,
    skipped: u64,
    refused: u64,
    publish_us: hdrhistogram::Histogram<u64>,
}

async fn publish(
    target: &Target,
    tally: &Rc<Tally>,
    plan: &Plan,
    length: Duration,
) -> Result<Published, BenchError> {
    let plan = *plan;
    let lost_before = tally.totals().lost();
    let mut loops = JoinSet::new();
    for (number, mut publisher) in (0..).zip(Publisher::open(target, PUBLISHERS).await?) {
        let tally = tally.clone();
        loops.spawn_local(async move {
            let mut random = Random::new(number);
            let rate = f64::from(plan.rate) / f64::from(PUBLISHERS);
            let mut schedule = Schedule::new(rate, length);
            let (mut published, mut refused, mut publish_us) = (0, 0, histogram());
            while let Some(due) = schedule.next().await {
                let own = (plan.connections as u64).div_ceil(PUBLISHERS.into());
                let source = random.below(own) * u64::from(PUBLISHERS) + number;
                // Past the last channel for some publishers when they do not share evenly.
                let source = source.min(plan.connections as u64 - 1);
                if source % u64::from(PUBLISHERS) != number {
                    continue;
                }
                let source = source as u32;
                let channel: Arc<str> = name(source).into();
                let data = tally.publish(source, due).payload(plan.payload);
                match publisher.publish(&channel, data, due).await {
                    Ok(took) => {
                        published += 1;
                        publish_us.saturating_record(took.as_micros() as u64);
                    }
                    Err(BenchError::Refused { .. }) => {
                        refused += 1;
                        tally.refused(source);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok((published, schedule.skipped(), refused, publish_us))
        });
    }
    let mut all = Published {
        published: 0,
        skipped: 0,
        refused: 0,
        publish_us: histogram(),
    };
    for result in loops.join_all().await {
        let (published, skipped, refused, publish_us) = result?;
        all.published += published;
        all.skipped += skipped;
        all.refused += refused;
        all.publish_us += publish_us;
    }
    tally.settle(lost_before).await;
    Ok(all)
}

fn name(channel: u32) -> String {
    format!("bench-channel-{channel}")
}

/// Random channels, the same ones for the same connection at every call.
pub(crate) fn channels_of(connection: usize, each: usize, channels: usize) -> Vec<u32> {
    let mut random = Random::new(connection as u64);
    let mut list: Vec<u32> = (0..each)
        .map(|_| random.below(channels as u64) as u32)
        .collect();
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_the_same_channels_each_time_and_each_once() {
        let list = channels_of(7, 10, 1_000);
        assert_eq!(list, channels_of(7, 10, 1_000));
        assert_ne!(list, channels_of(8, 10, 1_000));
        assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((5..=10).contains(&list.len()));
        assert!(list.iter().all(|&channel| channel < 1_000));
    }
}
