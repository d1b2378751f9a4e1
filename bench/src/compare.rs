//! `make bench`: gema, the floor and, where one is given, a peer through the same scenarios in turn, several rounds,
//! medians side by side. A cluster is held against one gema without a bus.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    catalogue::{self, Entry, Rounds, Size},
    child::{Launch, Setup},
    doors::Door,
    error::BenchError,
    floor::Floor,
    machine, micro, peer,
    redis_server::RedisServer,
    report::{Comparison, Figure, table},
    results::Results,
    scenarios::{Scenario, cluster},
};

/// What a gema on its own is called where it is held against a cluster.
const ALONE: &str = "alone";
const GEMA: &str = "gema";
const FLOOR: &str = "floor";
const PEER: &str = "peer";

/// What `compare` was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// The gema binary.
    pub(crate) gema: PathBuf,
    pub(crate) rounds: u32,
    /// Where to write the figures as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Only scenarios whose short name holds this text; all when empty. What the file has of others stays in it.
    pub(crate) only: String,
    pub(crate) quick: bool,
}

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

/// Who runs besides gema in a scenario.
fn others(entry: &Entry, peer: Option<&Launch>) -> Vec<&'static str> {
    if let Some((name, _)) = entry.way.beside() {
        return vec![name];
    }
    let with_peer = |mut list: Vec<&'static str>| {
        list.extend(peer.map(|_| PEER));
        list
    };
    match entry.scenario {
        // The floor knows fan-out and answering; elsewhere there is nothing that every server must do the same way.
        Scenario::Fanout(_) | Scenario::Trigger(_) => with_peer(vec![FLOOR]),
        Scenario::Cluster(_) => vec![ALONE],
        // Doors of gema's own.
        Scenario::Idle(plan) if plan.door != Door::Pusher => Vec::new(),
        _ => with_peer(Vec::new()),
    }
}

async fn rounds(options: &Options) -> Result<(), BenchError> {
    let size = Size {
        quick: options.quick,
    };
    let has_redis = RedisServer::is_installed();
    let peer = peer::from_environment()?;
    let mut chosen: Vec<(Entry, Comparison)> = Vec::new();
    for entry in catalogue::entries(size) {
        if !entry.id.contains(&options.only) {
            continue;
        }
        if matches!(entry.scenario, Scenario::Cluster(_)) && !has_redis {
            println!(
                "skipped, because redis-server is not installed: {}",
                entry.name
            );
            continue;
        }
        let mut comparison = Comparison::new(&entry.name);
        comparison.column(GEMA);
        for other in others(&entry, peer.as_ref()) {
            comparison.column(other);
        }
        chosen.push((entry, comparison));
    }
    let gema = |setup: Setup| Launch::Gema {
        program: options.gema.clone(),
        setup,
    };
    for round in 1..=options.rounds {
        for (entry, comparison) in &mut chosen {
            if round > 1 && entry.rounds == Rounds::One {
                continue;
            }
            eprintln!("round {round} of {}: {}", options.rounds, entry.name);
            let mut servers = vec![GEMA];
            servers.extend(others(entry, peer.as_ref()));
            // Who goes first changes, so that none always finds the machine as the other left it.
            if round % 2 == 1 {
                servers.reverse();
            }
            for server in servers {
                let figures = match (server, &entry.scenario, &peer) {
                    (FLOOR, scenario @ Scenario::Trigger(_), _) => {
                        scenario.run_with(&Launch::Floor(Floor::Answers)).await?
                    }
                    (FLOOR, scenario, _) => scenario.run_with(&Launch::Floor(Floor::Sends)).await?,
                    (ALONE, Scenario::Cluster(plan), _) => {
                        cluster::alone(&options.gema, plan).await?
                    }
                    (PEER, scenario, Some(peer)) => {
                        refused_is_a_result(scenario.run_with(peer).await)?
                    }
                    (GEMA, scenario, _) => scenario.run_with(&gema(entry.way.setup())).await?,
                    (_, scenario, _) => {
                        let beside = entry.way.beside().map_or_else(Setup::default, |(_, it)| it);
                        scenario.run_with(&gema(beside)).await?
                    }
                };
                comparison.add(server, figures);
                // What the last one's connections leave behind in the kernel is worked off before the next.
                tokio::time::sleep(Duration::from_millis(if options.quick { 0 } else { 200 }))
                    .await;
            }
        }
    }
    let mut results = Results::about(machine::describe(&options.gema), options.rounds);
    results.quick(options.quick);
    for (entry, comparison) in &chosen {
        results.put(entry.id, entry.point, comparison.json());
    }
    if options.only.is_empty() || options.only == "micro" {
        results.put_micro(micro::run(options.quick));
    }
    println!(
        "{}; medians of {} rounds",
        results.machine_line(),
        options.rounds
    );
    for (entry, _) in &chosen {
        print!("{}", table(results.of(entry.id), |_| false));
    }
    print!("{}", results.micro_table());
    if let Some(path) = &options.json {
        write(path, results, &options.only)?;
    }
    Ok(())
}

/// What a peer cannot do is an empty column, not the end of the comparison.
fn refused_is_a_result(result: Result<Vec<Figure>, BenchError>) -> Result<Vec<Figure>, BenchError> {
    match result {
        Err(BenchError::Stopped) => Err(BenchError::Stopped),
        Err(error) => {
            eprintln!("the peer: {error}");
            Ok(Vec::new())
        }
        done => done,
    }
}

fn write(path: &Path, results: Results, only: &str) -> Result<(), BenchError> {
    match Results::read(path) {
        Ok(mut old) if !only.is_empty() => {
            old.merge(results);
            old.write(path)
        }
        _ => results.write(path),
    }
}

/// The figures of one scenario as JSON.
pub(crate) fn plain_json(name: &str, figures: &[Figure]) -> Value {
    let mut comparison = Comparison::new(name);
    comparison.column("server");
    comparison.add("server", figures.to_vec());
    let mut all = json!({"machine": machine::describe(Path::new(""))});
    all["results"] = json!([comparison.json()]);
    all
}
