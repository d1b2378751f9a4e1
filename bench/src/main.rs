//! Load generator for any Pusher-protocol server, and the raw send() floor to compare with.
//!
//! # Layout
//! `cli`: the commands · `scenarios`: what is measured, one file each · `catalogue`, `compare`: all of them, gema against
//! the floor and a `peer` · `variants`: gema against itself, with TLS, by other doors, with more shards · `floor`, `answers`:
//! the yardsticks · `target`, `wire`, `tls`, `client`, `doors`, `frames`, `ended`, `crowd`: connections, one and many ·
//! `publisher`, `pace`: who publishes, and when · `board`, `tally`, `stamp`, `ledger`, `roll`: what has arrived, by its
//! numbers · `meter`, `procfs`, `kernel`, `machine`: what was used, and of what · `child`, `redis_server`: servers started
//! here · `micro`: the protocol crate alone · `report`, `results`: figures, as tables and JSON · `aims`, `costs`,
//! `document`, `plot`, `capacity`: what the documents say of them · `random` · `error`.
//!
//! The driver is one thread: it leaves the rest of the machine to the server and needs no locks to count.

mod aims;
mod answers;
mod board;
mod capacity;
mod catalogue;
mod child;
mod cli;
mod client;
mod compare;
mod costs;
mod crowd;
mod document;
mod doors;
mod ended;
mod error;
mod floor;
mod frames;
mod kernel;
mod ledger;
mod machine;
mod meter;
mod micro;
mod pace;
mod peer;
mod plot;
mod procfs;
mod publisher;
mod random;
mod redis_server;
mod report;
mod results;
mod roll;
mod scenarios;
mod stamp;
mod tally;
mod target;
mod tls;
mod variants;
mod wire;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser;
use tokio::runtime::Builder;

use crate::{
    cli::{Cli, Command, ServerArgs, Source},
    compare::until_stopped,
    error::BenchError,
    floor::Floor,
    report::{Comparison, Figure, table},
    results::Results,
    scenarios::{Scenario, cluster},
};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gema-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), BenchError> {
    rlimit::increase_nofile_limit(u64::MAX).map_err(BenchError::io("raising RLIMIT_NOFILE"))?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("starting the runtime"))?;
    runtime.block_on(drive(command))
}

async fn drive(command: Command) -> Result<(), BenchError> {
    if let Some((name, scenario, server)) = command.scenario() {
        return until_stopped(one(name, &scenario, server)).await;
    }
    match command {
        Command::Floor { port, answers } => floor::run(
            port,
            match answers {
                true => Floor::Answers,
                false => Floor::Sends,
            },
        ),
        Command::Compare {
            gema,
            rounds,
            json,
            only,
            quick,
        } => {
            let options = compare::Options {
                gema,
                rounds,
                json,
                only,
                quick,
            };
            compare::run(&options).await
        }
        Command::Cluster { gema, load, json } => {
            let plan = load.plan();
            let both = async {
                let mut comparison = Comparison::new("cluster");
                comparison.column("gema");
                comparison.column("alone");
                comparison.add("alone", cluster::alone(&gema, &plan).await?);
                comparison.add("gema", cluster::run(&gema, &plan).await?);
                let result = comparison.json();
                print!("{}", table(&result, |_| false));
                let mut results = Results::about(machine::describe(&gema), 1);
                results.put("cluster", None, result);
                json.map_or(Ok(()), |path| results.write(&path))
            };
            until_stopped(both).await
        }
        Command::Micro => {
            let mut results = Results::about(serde_json::Value::Null, 1);
            results.put_micro(micro::run(false));
            print!("{}", results.micro_table());
            Ok(())
        }
        Command::Report { results, into } => {
            let results = Results::read(&results)?;
            let plots = into.with_extension("");
            plot::write_all(&results, &plots)?;
            document::fill(&into, &document::benchmarks(&results, &plots))
        }
        Command::Plot { results, to } => plot::write_all(&Results::read(&results)?, &to),
        Command::Capacity { results, into } => {
            document::fill(&into, &capacity::text(&Results::read(&results)?)?)
        }
        // All others are scenarios.
        _ => Ok(()),
    }
}

/// Runs one scenario, against a server that is there or one that is started for it. An error when it did what must not
/// be.
async fn one(name: &str, scenario: &Scenario, server: &ServerArgs) -> Result<(), BenchError> {
    let figures = match server.source()? {
        Source::There(subject) => scenario.run(&subject).await?,
        Source::Start(launch) => scenario.run_with(&launch).await?,
    };
    for figure in &figures {
        println!("{figure}");
    }
    if let Some(path) = &server.json {
        write(path, name, &figures)?;
    }
    let faults = figures
        .iter()
        .filter(|figure| aims::is_fault(&figure.name) && figure.value > 0.0);
    let faults: Vec<_> = faults
        .map(|figure| format!("{} {}", figure.value, figure.name))
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(BenchError::Faults(faults.join(", "))),
    }
}

fn write(path: &Path, name: &str, figures: &[Figure]) -> Result<(), BenchError> {
    let all = compare::plain_json(name, figures);
    fs::write(path, format!("{all:#}\n")).map_err(BenchError::io("writing the JSON file"))
}
