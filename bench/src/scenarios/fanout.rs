//! One channel, many subscribers: what a delivery costs the server, how late it comes, and whether all of them do.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    board::{Board, Pace, WARM_UP},
    crowd,
    error::BenchError,
    publisher::Publisher,
    report::{Figure, Unit, latency},
    target::{Subject, Target},
};

const CHANNEL: &str = "bench-fanout";

/// A fan-out scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) pace: Pace,
    /// Length of the measured part.
    pub(crate) length: Duration,
    /// Bytes of the published data.
    pub(crate) payload: usize,
}

impl Plan {
    /// How long is published before anything is measured.
    pub(crate) fn warm_up(&self) -> Duration {
        WARM_UP.min(self.length)
    }
}

/// Runs the plan. Needs to run on a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    let publishers = plan.pace.publishers();
    let sources = Publisher::open(target, publishers).await?;
    sources[0].announce(plan.subscribers).await?;
    let subscribers = crowd::of_channel(target, plan.subscribers, CHANNEL).await?;
    sources[0].announced().await?;

    let board = Board::new(CHANNEL, 1, plan.subscribers, publishers, plan.payload);
    let mut receivers = JoinSet::new();
    board.receive(0, subscribers, &mut receivers);

    let (sources, _) = board.phase(sources, plan.pace, plan.warm_up()).await?;
    board.reset_times();
    let group = &board.groups[0];
    let warm = group.totals();
    let before = meter.read()?;
    // Kept until all is read: the floor ends with its control line.
    let (_sources, skipped) = board.phase(sources, plan.pace, plan.length).await?;

    let deliveries = group.totals().delivered - warm.delivered;
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per delivery", deliveries, &before)?);
    figures.extend(meter.busy(&before)?);
    figures.push(Figure::new(
        "deliveries per second",
        Unit::Count,
        deliveries as f64 / before.elapsed_s(),
    ));
    figures.extend(latency("delivery", &group.delivery_us.borrow()));
    if matches!(target, Target::Pusher(_)) {
        figures.extend(latency("time to the 200", &board.publish_us.borrow()));
    }
    figures.extend(meter.rss("RSS")?);
    figures.push(Figure::count("publishes skipped", skipped));
    figures.extend(board.faults(0));
    figures.extend(board.failures());
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use tokio::task::LocalSet;

    use super::*;
    use crate::{floor, meter::Meter};

    #[tokio::test]
    async fn all_that_the_floor_sends_arrives_once_and_in_order() {
        for pace in [Pace::PerSecond(100), Pace::InFlight(4)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
                panic!("bound to IPv4");
            };
            let floor = std::thread::spawn(move || floor::serve(&listener));
            let plan = Plan {
                subscribers: 20,
                pace,
                length: Duration::from_millis(500),
                payload: 200,
            };
            let pid = Some(std::process::id());
            let subject = Subject {
                target: Target::Floor(address),
                meter: Meter { pid },
            };
            let figures = LocalSet::new()
                .run_until(run(&subject, &plan))
                .await
                .unwrap();
            let value = |name: &str| figures.iter().find(|f| f.name == name).unwrap().value;
            assert!(value("deliveries per second") > 0.0);
            assert!(value("CPU per delivery") > 0.0);
            for fault in ["lost", "duplicated", "inverted", "unknown", "cut off"] {
                assert_eq!(value(fault), 0.0, "{fault}");
            }
            floor.join().unwrap().unwrap();
        }
    }
}
