//! One channel, many subscribers: what a delivery costs the server, how late it comes, and whether all of them do.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{
    board::{Board, Pace, WARM_UP},
    client::{self, Target},
    error::BenchError,
    procfs::{self, Cpu},
    publisher::Publisher,
    report::{Figure, Unit, latency},
};

const CHANNEL: &str = "bench-fanout";

/// A fan-out scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) pace: Pace,
    /// Length of the measured part.
    pub(crate) seconds: u32,
    /// Bytes of the published data.
    pub(crate) payload: usize,
}

/// Runs the plan against a server of process `pid`. Needs to run on a `LocalSet`.
pub(crate) async fn run(target: &Target, plan: &Plan, pid: u32) -> Result<Vec<Figure>, BenchError> {
    let publishers = plan.pace.publishers();
    let sources = Publisher::open(target, publishers).await?;
    sources[0].announce(plan.subscribers).await?;
    let subscribers = client::subscribe_all(target, plan.subscribers, CHANNEL).await?;
    sources[0].announced().await?;

    let board = Board::new(CHANNEL, 1, plan.subscribers, publishers, plan.payload);
    let mut receivers = JoinSet::new();
    board.receive(0, subscribers, &mut receivers);

    let (sources, _) = board.phase(sources, plan.pace, WARM_UP).await?;
    board.reset_times();
    let group = &board.groups[0];
    let warm = group.totals();
    let own_pid = std::process::id();
    let (cpu, own_cpu) = (Cpu::of(pid)?, Cpu::of(own_pid)?);
    let started = Instant::now();
    let length = Duration::from_secs(u64::from(plan.seconds));
    let (_, skipped) = board.phase(sources, plan.pace, length).await?;
    let elapsed = started.elapsed();
    let cpu_ns = Cpu::of(pid)?.used_since(&cpu)?;
    let own_cpu_ns = Cpu::of(own_pid)?.since(&own_cpu);
    let rss_kib = procfs::rss_kib(pid)?;

    let deliveries = group.totals().delivered - warm.delivered;
    let each_us = cpu_ns as f64 / 1e3 / deliveries.max(1) as f64;
    let busy = |ns: u64| ns as f64 / elapsed.as_nanos() as f64 * 100.0;
    let mut figures = vec![
        Figure::new("CPU per delivery", Unit::Micros, each_us),
        Figure::new("server CPU", Unit::Percent, busy(cpu_ns)),
        // Near 100 % the latencies are the driver's own, not the server's.
        Figure::new("driver CPU", Unit::Percent, busy(own_cpu_ns)),
        Figure::new(
            "deliveries per second",
            Unit::Count,
            deliveries as f64 / elapsed.as_secs_f64(),
        ),
    ];
    figures.extend(latency("delivery", &group.delivery_us.borrow()));
    if matches!(target, Target::Pusher(_)) {
        figures.extend(latency("time to the 200", &board.publish_us.borrow()));
    }
    figures.extend([
        Figure::new("RSS", Unit::Kib, rss_kib as f64),
        Figure::count("publishes skipped", skipped),
    ]);
    figures.extend(board.faults(0));
    figures.push(board.cut_off());
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use tokio::task::LocalSet;

    use super::*;
    use crate::floor;

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
                seconds: 1,
                payload: 200,
            };
            let target = Target::Floor(address);
            let figures = LocalSet::new()
                .run_until(run(&target, &plan, std::process::id()))
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
