//! Load generator for any Pusher-protocol server on this machine, and the raw send() floor to compare with.
//!
//! # Layout
//! `fanout`, `idle`, `trigger`, `cluster`: the scenarios · `compare`: all of them, gema against the floor · `floor`: the
//! yardstick · `client`, `frames`: subscribers · `publisher`: who publishes · `board`: when, and what has arrived of it
//! · `stamp`, `ledger`: by their numbers · `procfs`: what the server used · `child`, `redis_server`: servers started here
//! · `report`: tables and JSON · `error`.
//!
//! The driver is one thread: it leaves the rest of the machine to the server and needs no locks to count.

mod board;
mod child;
mod client;
mod cluster;
mod compare;
mod error;
mod fanout;
mod floor;
mod frames;
mod idle;
mod ledger;
mod procfs;
mod publisher;
mod redis_server;
mod report;
mod stamp;
mod trigger;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tokio::{runtime::Builder, task::LocalSet};

use crate::{
    board::Pace,
    client::{App, Target},
    error::BenchError,
    fanout::Plan,
    report::{Comparison, Figure},
};

/// Measures Pusher-protocol servers on this machine
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every scenario against gema and the floor in turn and print medians and ratios
    #[command(
        after_help = "Example: gema-bench compare --gema target/release/gema --json bench.json"
    )]
    Compare {
        /// The gema binary to start
        #[arg(long, default_value = "target/release/gema")]
        gema: PathBuf,
        /// How often each scenario runs
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
        rounds: u32,
        /// Also write every value to this file
        #[arg(long)]
        json: Option<PathBuf>,
        /// Only the scenarios whose name holds this text
        #[arg(long, default_value = "")]
        only: String,
    },
    /// One channel, many subscribers
    #[command(after_help = "Example: gema-bench fanout --pid $(pgrep gema) --in-flight 16")]
    Fanout {
        #[command(flatten)]
        server: ServerArgs,
        #[arg(long, default_value_t = 1_000, value_parser = connections)]
        subscribers: usize,
        /// Publishes a second
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Instead of a rate: so many publishes at a time that not every subscriber has yet
        #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u16).range(1..=256))]
        in_flight: Option<u16>,
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
        seconds: u32,
        /// Bytes of data in a publish
        #[arg(long, default_value_t = 200, value_parser = payload)]
        payload: usize,
    },
    /// Many connections that say nothing: CPU to connect and subscribe, memory to keep
    #[command(after_help = "Example: gema-bench idle --pid $(pgrep gema) --connections 10000")]
    Idle {
        #[command(flatten)]
        server: ServerArgs,
        #[arg(long, default_value_t = 10_000, value_parser = connections)]
        connections: usize,
        /// Channels the connections are spread over, one each
        #[arg(long, default_value_t = 1, value_parser = connections)]
        channels: usize,
    },
    /// Signed requests to the trigger API with no subscribers
    #[command(after_help = "Example: gema-bench trigger --pid $(pgrep gema) --requests 20000")]
    Trigger {
        #[command(flatten)]
        server: ServerArgs,
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        requests: u32,
        /// Bytes of data in a request
        #[arg(long, default_value_t = 200, value_parser = payload)]
        payload: usize,
    },
    /// Two nodes with a redis-server between them, a third without subscribers, and one gema alone for comparison
    #[command(
        after_help = "Example: gema-bench cluster --gema target/release/gema --subscribers 100 --in-flight 16"
    )]
    Cluster {
        /// The gema binary to start
        #[arg(long, default_value = "target/release/gema")]
        gema: PathBuf,
        /// On each of the two nodes
        #[arg(long, default_value_t = 100, value_parser = connections)]
        subscribers: usize,
        /// Publishes a second, to the first node
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// Instead of a rate: so many publishes at a time that not every subscriber has yet
        #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u16).range(1..=256))]
        in_flight: Option<u16>,
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
        seconds: u32,
        /// Bytes of data in a publish
        #[arg(long, default_value_t = 200, value_parser = payload)]
        payload: usize,
    },
    /// The yardstick: a process that only sends ready frames to raw connections
    #[command(after_help = "Started by compare. Example: gema-bench floor --port 7000")]
    Floor {
        /// Port on loopback, 0 for any free one
        #[arg(long)]
        port: u16,
    },
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// A loopback address: CPU and memory are read from this machine's /proc
    #[arg(long, default_value = "127.0.0.1", value_parser = loopback)]
    host: Ipv4Addr,
    #[arg(long, default_value_t = 6001)]
    port: u16,
    #[arg(long, default_value = "app-id")]
    app_id: String,
    #[arg(long, default_value = "app-key")]
    app_key: String,
    #[arg(long, default_value = "app-secret")]
    app_secret: String,
    /// Process id of the server
    #[arg(long)]
    pid: u32,
}

impl ServerArgs {
    fn app(self) -> App {
        App {
            address: SocketAddrV4::new(self.host, self.port),
            id: self.app_id,
            key: self.app_key,
            secret: self.app_secret,
        }
    }
}

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
    let tasks = LocalSet::new();
    let figures = match command {
        Command::Floor { port } => return floor::run(port),
        Command::Compare {
            gema,
            rounds,
            json,
            only,
        } => {
            let options = compare::Options {
                gema,
                rounds,
                json,
                only,
            };
            return compare::run(&options).await;
        }
        Command::Fanout {
            server,
            subscribers,
            rate,
            in_flight,
            seconds,
            payload,
        } => {
            let plan = Plan {
                subscribers,
                pace: in_flight.map_or(Pace::PerSecond(rate), Pace::InFlight),
                seconds,
                payload,
            };
            let pid = server.pid;
            let target = Target::Pusher(server.app());
            tasks.run_until(fanout::run(&target, &plan, pid)).await?
        }
        Command::Idle {
            server,
            connections,
            channels,
        } => {
            let pid = server.pid;
            let app = server.app();
            let idle = idle::run(&app, connections, channels, pid);
            tasks.run_until(idle).await?
        }
        Command::Trigger {
            server,
            requests,
            payload,
        } => {
            let pid = server.pid;
            trigger::run(&server.app(), requests, payload, pid).await?
        }
        Command::Cluster {
            gema,
            subscribers,
            rate,
            in_flight,
            seconds,
            payload,
        } => {
            let plan = Plan {
                subscribers,
                pace: in_flight.map_or(Pace::PerSecond(rate), Pace::InFlight),
                seconds,
                payload,
            };
            let mut comparison = Comparison::new("cluster", cluster::BASE_NAME);
            let both = async {
                comparison.add_base(cluster::alone(&gema, &plan).await?);
                comparison.add_gema(cluster::run(&gema, &plan).await?);
                Ok(())
            };
            compare::until_stopped(both).await?;
            print!("{}", comparison.table());
            return Ok(());
        }
    };
    print_all(&figures);
    Ok(())
}

fn print_all(figures: &[Figure]) {
    for figure in figures {
        println!("{figure}");
    }
}

fn loopback(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "not an IPv4 address".to_owned())?;
    address
        .is_loopback()
        .then_some(address)
        .ok_or_else(|| "not a loopback address".to_owned())
}

fn connections(text: &str) -> Result<usize, String> {
    between(text, 1, 100_000)
}

fn payload(text: &str) -> Result<usize, String> {
    between(text, stamp::SHORTEST, 10_240)
}

fn between(text: &str, least: usize, most: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_this_machine_is_measured() {
        assert!(loopback("127.0.0.9").is_ok());
        assert!(loopback("10.0.0.1").is_err());
        assert!(loopback("example.com").is_err());
    }

    #[test]
    fn a_payload_always_holds_its_stamp() {
        assert!(payload("43").is_err());
        assert_eq!(payload("44"), Ok(stamp::SHORTEST));
        assert!(payload("10241").is_err());
    }
}
