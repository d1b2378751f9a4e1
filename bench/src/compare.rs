//! `make bench`: gema and the floor through the same scenarios in turn, several rounds, medians side by side.
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
    child::Server,
    client::{App, Target},
    error::BenchError,
    fanout::{self, Pace, Plan},
    idle, procfs,
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
    Idle { connections: usize, channels: usize },
    Trigger { requests: u32, payload: usize },
}

const fn fan_out(subscribers: usize, pace: Pace, seconds: u32) -> Scenario {
    Scenario::Fanout(Plan {
        subscribers,
        pace,
        seconds,
        payload: 200,
    })
}

/// About five minutes in three rounds. The growth rows publish so that deliveries per second stay the same.
const SCENARIOS: [(&str, Scenario); 7] = [
    (
        "fan-out paced: 1,000 subscribers, 50 publishes/s, 200 B",
        fan_out(1_000, Pace::PerSecond(50), 10),
    ),
    (
        "fan-out saturated: 1,000 subscribers, 16 in flight, 200 B",
        fan_out(1_000, Pace::InFlight(16), 5),
    ),
    (
        "growth: 100 subscribers, 500 publishes/s, 200 B",
        fan_out(100, Pace::PerSecond(500), 5),
    ),
    (
        "growth: 10,000 subscribers, 5 publishes/s, 200 B",
        fan_out(10_000, Pace::PerSecond(5), 5),
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
];

/// Runs all rounds and prints the tables. Ends its servers also when it fails or is told to stop.
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BenchError::io("signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::io("signals"))?;
    tokio::select! {
        result = rounds(options) => result,
        _ = interrupt.recv() => Err(BenchError::Stopped),
        _ = terminate.recv() => Err(BenchError::Stopped),
    }
}

async fn rounds(options: &Options) -> Result<(), BenchError> {
    let bench = std::env::current_exe().map_err(BenchError::io("finding the bench itself"))?;
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .filter(|(name, _)| name.contains(&options.only))
        .collect();
    let mut comparisons: Vec<_> = chosen
        .iter()
        .map(|(name, _)| Comparison::new(name))
        .collect();
    for round in 1..=options.rounds {
        for ((name, scenario), comparison) in chosen.iter().zip(&mut comparisons) {
            eprintln!("round {round} of {}: {name}", options.rounds);
            // Who goes first changes, so that neither always finds the machine as the other left it.
            let floor_first = round % 2 == 1;
            if floor_first {
                floor_round(&bench, scenario, comparison).await?;
            }
            comparison.add_gema(gema_round(&options.gema, scenario).await?);
            if !floor_first {
                floor_round(&bench, scenario, comparison).await?;
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
    let server = Server::start(gema.as_os_str(), &["serve", "--port", "0"]).await?;
    let app = App {
        address: server.address,
        id: "app-id".to_owned(),
        key: "app-key".to_owned(),
        secret: "app-secret".to_owned(),
    };
    let pid = server.pid();
    // The set owns the receiving tasks: they end with it, before the server does.
    let tasks = LocalSet::new();
    match *scenario {
        Scenario::Fanout(plan) => {
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
async fn floor_round(
    bench: &Path,
    scenario: &Scenario,
    comparison: &mut Comparison,
) -> Result<(), BenchError> {
    if let Scenario::Fanout(plan) = scenario {
        let program: &OsStr = bench.as_os_str();
        let floor = Server::start(program, &["floor", "--port", "0"]).await?;
        let target = Target::Floor(floor.address);
        let tasks = LocalSet::new();
        let run = fanout::run(&target, plan, floor.pid());
        comparison.add_floor(tasks.run_until(run).await?);
    }
    Ok(())
}
