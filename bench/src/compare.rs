//! `make bench`: gema and the floor through the same scenarios in turn, several rounds, medians side by side. A cluster
//! is held against one gema without a bus.
//! Every run gets a fresh process, so that no scenario inherits the memory or the warmth of another.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use crate::{
    board::Pace,
    child::Server,
    client::{App, Target},
    cluster,
    error::BenchError,
    fanout::{self, Plan},
    idle, procfs,
    redis_server::RedisServer,
    report::{Comparison, Figure},
    trigger,
};

/// What `compare` was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// The gema binary.
    pub(crate) gema: PathBuf,
    pub(crate) rounds: u32,
    /// Where to write the figures as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Only scenarios whose name holds this text; all when empty.
    pub(crate) only: String,
}

#[derive(Clone, Copy, Debug)]
enum Scenario {
    Fanout(Plan),
    Idle {
        connections: usize,
        channels: usize,
    },
    Trigger {
        requests: u32,
        payload: usize,
    },
    /// Subscribers are those of each node.
    Cluster(Plan),
}

impl Scenario {
    /// What gema is held against in it.
    fn base_name(&self) -> &'static str {
        match self {
            Self::Cluster(_) => cluster::BASE_NAME,
            Self::Fanout(_) | Self::Idle { .. } | Self::Trigger { .. } => "floor",
        }
    }
}

const fn plan(subscribers: usize, pace: Pace, seconds: u32) -> Plan {
    Plan {
        subscribers,
        pace,
        seconds,
        payload: 200,
    }
}

/// About eight minutes in three rounds. The growth rows publish so that deliveries per second stay the same.
const SCENARIOS: [(&str, Scenario); 10] = [
    (
        "fan-out paced: 1,000 subscribers, 50 publishes/s, 200 B",
        Scenario::Fanout(plan(1_000, Pace::PerSecond(50), 10)),
    ),
    (
        "fan-out saturated: 1,000 subscribers, 16 in flight, 200 B",
        Scenario::Fanout(plan(1_000, Pace::InFlight(16), 5)),
    ),
    (
        "growth: 100 subscribers, 500 publishes/s, 200 B",
        Scenario::Fanout(plan(100, Pace::PerSecond(500), 5)),
    ),
    (
        "growth: 10,000 subscribers, 5 publishes/s, 200 B",
        Scenario::Fanout(plan(10_000, Pace::PerSecond(5), 5)),
    ),
    (
        "idle: 10,000 connections, one channel",
        Scenario::Idle {
            connections: 10_000,
            channels: 1,
        },
    ),
    (
        "idle: 10,000 connections, a channel each",
        Scenario::Idle {
            connections: 10_000,
            channels: 10_000,
        },
    ),
    (
        "trigger: 20,000 requests, no subscribers",
        Scenario::Trigger {
            requests: 20_000,
            payload: 200,
        },
    ),
    (
        "cluster: 1 subscriber on each of 2 nodes, 200 publishes/s, 200 B",
        Scenario::Cluster(plan(1, Pace::PerSecond(200), 10)),
    ),
    (
        "cluster: 100 subscribers on each of 2 nodes, 200 publishes/s, 200 B",
        Scenario::Cluster(plan(100, Pace::PerSecond(200), 10)),
    ),
    (
        "cluster saturated: 100 subscribers on each of 2 nodes, 16 in flight, 200 B",
        Scenario::Cluster(plan(100, Pace::InFlight(16), 5)),
    ),
];

/// Runs all rounds and prints the tables. Ends its servers also when it fails or is told to stop.
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    until_stopped(rounds(options)).await
}

/// Gives `work` up, with the servers it has started, when the bench is told to stop.
pub(crate) async fn until_stopped<T>(
    work: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BenchError::io("signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::io("signals"))?;
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err(BenchError::Stopped),
        _ = terminate.recv() => Err(BenchError::Stopped),
    }
}

async fn rounds(options: &Options) -> Result<(), BenchError> {
    let bench = std::env::current_exe().map_err(BenchError::io("finding the bench itself"))?;
    let has_redis = RedisServer::is_installed();
    let mut chosen = Vec::new();
    for entry in &SCENARIOS {
        let (name, scenario) = entry;
        if !name.contains(&options.only) {
            continue;
        }
        if matches!(scenario, Scenario::Cluster(_)) && !has_redis {
            println!("skipped, because redis-server is not installed: {name}");
            continue;
        }
        chosen.push(entry);
    }
    let mut comparisons: Vec<_> = chosen
        .iter()
        .map(|(name, scenario)| Comparison::new(name, scenario.base_name()))
        .collect();
    for round in 1..=options.rounds {
        for ((name, scenario), comparison) in chosen.iter().zip(&mut comparisons) {
            eprintln!("round {round} of {}: {name}", options.rounds);
            // Who goes first changes, so that neither always finds the machine as the other left it.
            let base_first = round % 2 == 1;
            if base_first {
                base_round(&bench, &options.gema, scenario, comparison).await?;
            }
            comparison.add_gema(gema_round(&options.gema, scenario).await?);
            if !base_first {
                base_round(&bench, &options.gema, scenario, comparison).await?;
            }
        }
    }
    let machine = procfs::machine();
    println!("{machine}; medians of {} rounds", options.rounds);
    for comparison in &comparisons {
        print!("{}", comparison.table());
    }
    if let Some(path) = &options.json {
        let results: Vec<_> = comparisons.iter().map(Comparison::json).collect();
        let all = json!({"machine": machine, "rounds": options.rounds, "results": results});
        fs::write(path, format!("{all:#}\n")).map_err(BenchError::io("writing the JSON file"))?;
    }
    Ok(())
}

async fn gema_round(gema: &Path, scenario: &Scenario) -> Result<Vec<Figure>, BenchError> {
    if let Scenario::Cluster(plan) = scenario {
        return cluster::run(gema, plan).await;
    }
    let server = Server::start(gema.as_os_str(), &["serve", "--port", "0"], &[]).await?;
    let app = App::embedded(server.address);
    let pid = server.pid();
    // The set owns the receiving tasks: they end with it, before the server does.
    let tasks = LocalSet::new();
    match *scenario {
        Scenario::Fanout(plan) | Scenario::Cluster(plan) => {
            let target = Target::Pusher(app);
            tasks.run_until(fanout::run(&target, &plan, pid)).await
        }
        Scenario::Idle {
            connections,
            channels,
        } => {
            let idle = idle::run(&app, connections, channels, pid);
            tasks.run_until(idle).await
        }
        Scenario::Trigger { requests, payload } => {
            let trigger = trigger::run(&app, requests, payload, pid);
            tasks.run_until(trigger).await
        }
    }
}

/// The floor knows only fan-out; elsewhere there is nothing that every server must do the same way.
async fn base_round(
    bench: &Path,
    gema: &Path,
    scenario: &Scenario,
    comparison: &mut Comparison,
) -> Result<(), BenchError> {
    match scenario {
        Scenario::Fanout(plan) => {
            let program: &OsStr = bench.as_os_str();
            let floor = Server::start(program, &["floor", "--port", "0"], &[]).await?;
            let target = Target::Floor(floor.address);
            let tasks = LocalSet::new();
            let run = fanout::run(&target, plan, floor.pid());
            comparison.add_base(tasks.run_until(run).await?);
        }
        Scenario::Cluster(plan) => comparison.add_base(cluster::alone(gema, plan).await?),
        Scenario::Idle { .. } | Scenario::Trigger { .. } => {}
    }
    Ok(())
}
