//! Keeps a cluster of gema busy for a while, restarts its parts, and holds what came out against what has to.
//!
//! # Layout
//! `scene`: what all tasks share · `listener`, `visitor`, `publisher`: clients that stay, that come and go, and back ends ·
//! `client`, `http`: what they speak · `webhooks`: the back end that is told, and whether that balances · `troubles`: the faults ·
//! `outages`: what gema is forgiven for them · `ledger`: who has to hear what · `findings`: what was wrong · `samples`, `trend`,
//! `procfs`: memory and descriptors · `closing`: what may be left at the end · `node`, `redis_server`, `child`, `guard`, `ports`:
//! the processes · `report` · `error`.
//!
//! The driver is one thread. Everything that it starts ends with it, also when it is killed.

mod child;
mod client;
mod closing;
mod error;
mod findings;
mod guard;
mod http;
mod ledger;
mod listener;
mod node;
mod outages;
mod ports;
mod procfs;
mod publisher;
mod redis_server;
mod report;
mod samples;
mod scene;
mod trend;
mod troubles;
mod visitor;
mod webhooks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep};

use crate::child::Nursery;
use crate::error::SoakError;
use crate::findings::Findings;
use crate::listener::LISTENERS;
use crate::node::Node;
use crate::redis_server::RedisServer;
use crate::samples::Samples;
use crate::scene::{Scene, Stage, Tallies};
use crate::troubles::{CYCLE, EACH_ONCE};
use crate::visitor::VISITORS;
use crate::webhooks::Webhooks;

/// How many nodes.
const NODES: usize = 3;
/// Between two faults: a sixtieth of the run, within these bounds.
const PAUSE_S: (f64, f64) = (2.0, 30.0);

/// Keeps three nodes of gema and a redis-server busy, restarts and kills them, and says what was lost, leaked or left behind.
///
/// Exit codes: 0 nothing was found, 1 something was, 2 it could not be run.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example: gema-soak --minutes 30 --gema target/release/gema"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The gema binary to start
    #[arg(long, default_value = "target/release/gema")]
    gema: PathBuf,
    /// How long to keep it busy; each kind of fault happens at least once however short that is
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Where settings and logs of the nodes go, and the result as soak.json
    #[arg(long, default_value = "target/soak")]
    directory: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ends processes when its standard input ends
    #[command(name = guard::COMMAND, hide = true)]
    Guard,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Guard) = cli.command {
        guard::run();
        return ExitCode::SUCCESS;
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let ran = runtime
        .map_err(SoakError::io("starting the runtime"))
        .and_then(|runtime| LocalSet::new().block_on(&runtime, soak(cli)));
    match ran {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Gives the number of findings.
async fn soak(cli: Cli) -> Result<u64, SoakError> {
    let io = |what: &str| SoakError::io(format!("{what} {}", cli.gema.display()));
    let program = cli.gema.canonicalize().map_err(io("looking for"))?;
    let nursery = Nursery::new(&cli.directory)?;
    let mut redis = RedisServer::start(&nursery).await?;
    let scene = Rc::new(scene(&program, &nursery, &redis).await?);
    for node in &scene.nodes {
        node.start(&scene.http).await?;
    }
    let idle: Vec<(u32, u64)> = scene
        .nodes
        .iter()
        .map(Node::process)
        .filter_map(|process| Some((process, procfs::descriptors(process)?)))
        .collect();

    let mut guests = JoinSet::new();
    for listener in 0..LISTENERS {
        guests.spawn_local(listener::listen(scene.clone(), listener));
    }
    for _ in 0..VISITORS {
        guests.spawn_local(visitor::visit(scene.clone()));
    }
    for node in 0..NODES {
        guests.spawn_local(publisher::publish(scene.clone(), node));
    }
    let samples = Rc::new(Samples::default());
    let began = Instant::now();
    let watching = spawn_local(watch_and_tell(scene.clone(), samples.clone(), began));

    let seconds = cli.minutes * 60.0;
    let pause = Duration::from_secs_f64((seconds / 60.0).clamp(PAUSE_S.0, PAUSE_S.1));
    let until = began + Duration::from_secs_f64(seconds);
    let mut made = Vec::new();
    for trouble in CYCLE.into_iter().cycle() {
        sleep(pause).await;
        if Instant::now() >= until && made.len() >= EACH_ONCE {
            break;
        }
        let what = trouble.make(&scene, &mut redis).await?;
        println!("{:5.1} min  {what}", began.elapsed().as_secs_f64() / 60.0);
        made.push(what);
    }
    watching.abort();
    if let Some(growth) = samples.growth() {
        if !growth.memory_is_flat() {
            scene.findings.add("memory", format!("{growth:?}"));
        }
        if !growth.descriptors_are_flat() {
            scene.findings.add("descriptors", format!("{growth:?}"));
        }
    }
    closing::close(&scene, &redis, &mut guests, &idle).await?;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let result = report::end(&scene, &samples, &made, minutes);
    let path = cli.directory.join("soak.json");
    let what = format!("writing {}", path.display());
    std::fs::write(&path, format!("{result:#}\n")).map_err(SoakError::io(what))?;
    Ok(scene.findings.count())
}

async fn scene(
    program: &std::path::Path,
    nursery: &Nursery,
    redis: &RedisServer,
) -> Result<Scene, SoakError> {
    let findings = Rc::new(Findings::default());
    let webhooks = Rc::new(Webhooks::default());
    let era = Rc::new(Cell::new(0));
    let url = webhooks::receive(webhooks.clone(), era.clone(), findings.clone()).await?;
    let nodes = (0..NODES).map(|index| Node::new(index, program, nursery, &redis.url(), &url));
    Ok(Scene {
        nodes: nodes.collect::<Result<_, _>>()?,
        http: http::client(),
        ledger: ledger::Ledger::default(),
        outages: outages::Outages::default(),
        findings,
        webhooks,
        era,
        visits: RefCell::new(BTreeMap::new()),
        tallies: Tallies::default(),
        stage: watch::Sender::new(Stage::Busy),
    })
}

async fn watch_and_tell(scene: Rc<Scene>, samples: Rc<Samples>, began: Instant) {
    let telling = async {
        let mut minute = interval(Duration::from_secs(60));
        minute.tick().await;
        loop {
            minute.tick().await;
            report::line(&scene, &samples, began);
        }
    };
    tokio::join!(samples.take(&scene), telling);
}
