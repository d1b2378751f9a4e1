//! The command line: a scenario each with its sizes, and what is made of results.
//!
//! # Layout
//! here: the commands · `args`: what several of them take · `plans`: what they mean

mod args;
mod plans;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use args::{Load, Publishes, many, members, payload};
pub(crate) use args::{ServerArgs, Source};

use crate::doors::Door;

/// Measures servers that speak the Pusher protocol: what they cost, how quick they are, and whether they lose, repeat or
/// mix up anything.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "A server that is there:  gema-bench fanout --port 6001 --key app-key --pid 4711\n\
                  One to start for it:     gema-bench fanout --port 6001 --start 'some-server --port 6001'"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One channel, many subscribers
    #[command(after_help = "Example: gema-bench fanout --pid $(pgrep gema) --in-flight 16")]
    Fanout {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Many connections in several small channels each, publishes to random ones
    #[command(after_help = "Example: gema-bench channels --connections 1000 --each 10 --rate 500")]
    Channels {
        #[arg(long, default_value_t = 10_000, value_parser = many)]
        connections: usize,
        /// Channels of a connection, out of as many as there are connections
        #[arg(long, default_value_t = 10, value_parser = many)]
        each: usize,
        /// Publishes a second
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
        #[command(flatten)]
        publishes: Publishes,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Many connections that say nothing: CPU to connect and subscribe, memory to keep
    #[command(after_help = "Example: gema-bench idle --pid $(pgrep gema) --connections 10000")]
    Idle {
        #[arg(long, default_value_t = 10_000, value_parser = many)]
        connections: usize,
        /// Channels the connections are spread over, one each
        #[arg(long, default_value_t = 1, value_parser = many)]
        channels: usize,
        /// Where they come in; by gema's own doors each is a user with a token, and --channels means nothing
        #[arg(long, value_enum, default_value_t)]
        door: Door,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Connections that ask for nothing: what accepting one costs, and with --tls-ca the handshake
    #[command(
        after_help = "Example: gema-bench connect --tls-ca certificate.pem --pid $(pgrep gema)"
    )]
    Connect {
        #[arg(long, default_value_t = 5_000, value_parser = many)]
        connections: usize,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// As many deliveries as the server makes, counted in bytes by a driver that uses little CPU
    #[command(
        after_help = "Example: gema-bench throughput --connections 10000 --channels 10000 --each 10 --at-once 10"
    )]
    Throughput {
        #[arg(long, default_value_t = 1_000, value_parser = many)]
        connections: usize,
        #[arg(long, default_value_t = 1, value_parser = many)]
        channels: usize,
        /// Channels of a connection, at random
        #[arg(long, default_value_t = 1, value_parser = many)]
        each: usize,
        /// Channels of a publish, at random; servers allow 100
        #[arg(long, default_value_t = 1, value_parser = many)]
        at_once: usize,
        #[command(flatten)]
        publishes: Publishes,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Everybody connects at once, leaves, and comes again: how quickly, and whether memory is given back
    #[command(after_help = "Example: gema-bench storm --pid $(pgrep gema) --storms 5")]
    Storm {
        #[arg(long, default_value_t = 10_000, value_parser = many)]
        connections: usize,
        /// Connections being set up at the same time
        #[arg(long, default_value_t = 256, value_parser = many)]
        at_once: usize,
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        storms: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Members join one presence channel at once, and half of them leave; all is counted exactly
    #[command(
        after_help = "Pusher allows 100 members: the server's limit may have to be raised (gema: limits.presence_members).\n\
                      Example: gema-bench presence --members 1000"
    )]
    Presence {
        #[arg(long, default_value_t = 1_000, value_parser = members)]
        members: usize,
        /// How often one more comes and goes while they listen
        #[arg(long, default_value_t = 100)]
        visits: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Members of private channels send each other client events
    #[command(
        after_help = "Example: gema-bench client-events --channels 100 --members 10 --rate 2"
    )]
    ClientEvents {
        #[arg(long, default_value_t = 100, value_parser = many)]
        channels: usize,
        /// Members of each channel
        #[arg(long, default_value_t = 10, value_parser = many)]
        members: usize,
        /// Events a second of each member; servers allow about ten
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        rate: u32,
        #[command(flatten)]
        publishes: Publishes,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Signed requests to the trigger API with no subscribers
    #[command(after_help = "Example: gema-bench trigger --pid $(pgrep gema) --requests 20000")]
    Trigger {
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        requests: u32,
        /// Keep-alive connections, with one request at a time on each
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        connections: u16,
        /// Bytes of data in a request
        #[arg(long, default_value_t = 200, value_parser = payload)]
        payload: usize,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The time to the 200 with nobody and with many subscribed
    #[command(after_help = "Example: gema-bench publish-latency --subscribers 10000 --rate 5")]
    PublishLatency {
        #[arg(long, default_value_t = 10_000, value_parser = many)]
        subscribers: usize,
        /// Publishes a second
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        #[command(flatten)]
        publishes: Publishes,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// One reader stops: it alone has to be closed, and memory has to stay bounded
    #[command(after_help = "Example: gema-bench slow --pid $(pgrep gema) --readers 100")]
    Slow {
        /// Readers that go on
        #[arg(long, default_value_t = 100, value_parser = many)]
        readers: usize,
        /// Publishes a second
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
        seconds: u32,
        /// Bytes of data in a publish; all in all it must be more than kernels hold (about 6 MB)
        #[arg(long, default_value_t = 10_000, value_parser = payload)]
        payload: usize,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The server is killed and started again, and everybody comes back at once; needs --start
    #[command(
        after_help = "Example: gema-bench restart --start 'target/release/gema serve' --connections 5000"
    )]
    Restart {
        #[arg(long, default_value_t = 5_000, value_parser = many)]
        connections: usize,
        /// Published once everybody is back
        #[arg(long, default_value_t = 20)]
        publishes: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// pusher:ping to pusher:pong on other connections while a large channel is saturated
    #[command(after_help = "Example: gema-bench echo --subscribers 10000")]
    Echo {
        #[arg(long, default_value_t = 10_000, value_parser = many)]
        subscribers: usize,
        /// Publishes at a time that not every subscriber has yet
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
        in_flight: u16,
        /// Connections that ping, 20 times a second each
        #[arg(long, default_value_t = 10, value_parser = many)]
        connections: usize,
        #[command(flatten)]
        publishes: Publishes,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Joining and leaving fresh channels on a server that has many
    #[command(after_help = "Example: gema-bench subscribe --channels 100000 --pid $(pgrep gema)")]
    Subscribe {
        #[arg(long, default_value_t = 10_000, value_parser = many)]
        channels: usize,
        /// Channels of each connection that fills the server
        #[arg(long, default_value_t = 100, value_parser = many)]
        each: usize,
        /// Joins and leaves
        #[arg(long, default_value_t = 5_000)]
        pairs: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// gema only: two nodes with a redis-server between them, a third without subscribers, and one gema alone
    #[command(
        after_help = "Example: gema-bench cluster --gema target/release/gema --subscribers 100 --in-flight 16"
    )]
    Cluster {
        /// The gema binary to start
        #[arg(long, default_value = "target/release/gema")]
        gema: PathBuf,
        #[command(flatten)]
        load: Load,
        /// Also write the figures to this file
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Pieces of the protocol crate, nanoseconds each
    Micro,
    /// Every scenario with gema, the floor and a peer in turn: medians and ratios
    #[command(
        after_help = "Another server in the same rounds, by the environment: GEMA_BENCH_PEER='some-server --port 8080'\n\
                      GEMA_BENCH_PEER_PORT=8080, and _ID, _KEY, _SECRET of its app.\n\
                      Example: gema-bench compare --gema target/release/gema --json bench.json"
    )]
    Compare {
        /// The gema binary to start
        #[arg(long, default_value = "target/release/gema")]
        gema: PathBuf,
        /// How often scenarios with an aim run; the others run once
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
        rounds: u32,
        /// Also write every value to this file; with --only, results of other scenarios stay in it
        #[arg(long)]
        json: Option<PathBuf>,
        /// Only scenarios whose short name holds this text ("fanout", "cluster-1", …)
        #[arg(long, default_value = "")]
        only: String,
        /// A hundredth of the sizes and a moment each: whether everything works; the figures mean nothing
        #[arg(long)]
        quick: bool,
    },
    /// Write the results into the generated part of a document, with the plots beside it
    #[command(after_help = "Example: gema-bench report bench.json --into docs/benchmarks.md")]
    Report {
        results: PathBuf,
        #[arg(long, default_value = "docs/benchmarks.md")]
        into: PathBuf,
    },
    /// Only the plots, as SVG files
    #[command(after_help = "Example: gema-bench plot bench.json --to docs/benchmarks")]
    Plot {
        results: PathBuf,
        /// A directory
        #[arg(long, default_value = "docs/benchmarks")]
        to: PathBuf,
    },
    /// What the measured costs mean on larger machines, into the generated part of a document
    #[command(after_help = "Example: gema-bench capacity bench.json --into docs/capacity.md")]
    Capacity {
        results: PathBuf,
        #[arg(long, default_value = "docs/capacity.md")]
        into: PathBuf,
    },
    /// The yardstick: a process that only sends ready frames to raw connections, or fixed answers
    #[command(after_help = "Started by compare. Example: gema-bench floor --port 7000")]
    Floor {
        /// Port on loopback, 0 for any free one
        #[arg(long)]
        port: u16,
        /// Instead, answer every request with the same 200 without looking at it
        #[arg(long)]
        answers: bool,
    },
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
    fn any_server_can_be_named() {
        let parse = |host: &str| {
            let args = ["gema-bench", "idle", "--host", host, "--key", "k"];
            Cli::try_parse_from(args).map(|cli| {
                let (_, _, server) = cli.command.scenario().unwrap();
                server.source()
            })
        };
        let Ok(Ok(Source::There(subject))) = parse("10.1.2.3") else {
            panic!("not a server that is there");
        };
        assert_eq!(subject.target.address().to_string(), "10.1.2.3:6001");
        assert_eq!(subject.app().unwrap().key, "k");
        assert_eq!(subject.meter.pid, None);
        assert!(matches!(parse("::1"), Ok(Err(_))));
    }
}
