//! `gema serve`: the server, from its configuration to the signal that ends it.
//! What it prints goes to standard output, what it logs to standard error.

use std::io::Write;
use std::path::PathBuf;

use tracing::{info, warn};

use super::signals::Signals;
use super::successor::{self, Successor};
use super::{CommandError, banner, logging, sources};
use crate::config::{Config, Sources};
use crate::server;

/// Serve until SIGTERM or Ctrl-C
///
/// Settings come from the embedded defaults, the file, the environment (GEMA_SERVER__PORT, PUSHER_APP_SECRET, ...)
/// and the flags, the later over the earlier. GEMA_LOG sets the log level (info), GEMA_LOG_FORMAT=json its form.
///
/// SIGTERM drains and ends it, SIGHUP reads the certificate and the apps again, SIGUSR2 starts the program anew and hands
/// the listening socket over: no connection is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gema serve --config gema.toml --port 6002")]
pub(super) struct Args {
    /// TOML file; what it does not name stays at its default
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Address to listen on, over server.host
    #[arg(long)]
    pub(super) host: Option<String>,
    /// Port to listen on, over server.port; 0 = any free one
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// For a process that takes over: the socket is standard input
    #[arg(long, hide = true)]
    pub(super) listen_on_stdin: bool,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    logging::start()?;
    let mut sources = sources(args.config);
    sources.host = args.host;
    sources.port = args.port;
    let config = Config::load(&sources)?;
    raise_open_files();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // For the bus, the webhooks, the database: a few tasks that wait. Connections have a thread a shard.
        .worker_threads((cores / 4).clamp(2, 4))
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    runtime.block_on(serve(config, sources, args.listen_on_stdin))
}

async fn serve(config: Config, sources: Sources, is_successor: bool) -> Result<(), CommandError> {
    // Before anybody is told that it listens: who reads the banner may send a signal at once.
    let signals = Signals::listen().map_err(CommandError::Signals)?;
    let listener = if is_successor {
        // Who hands over goes once the banner is read: what can be wrong is found before.
        server::check(&config)?;
        let socket = successor::inherited().map_err(CommandError::Inherited)?;
        server::listen_on(socket, &config)?
    } else {
        server::bind(&config)?
    };
    let address = listener.local_addr().map_err(CommandError::Address)?;
    let successor = listener.share().and_then(Successor::new);
    let orders = signals.into_orders(sources, successor.map_err(CommandError::Address)?);
    let banner = banner::text(&config, address);
    // Nobody has to read it: the server is as good without.
    let mut stdout = std::io::stdout();
    stdout
        .write_all(banner.as_bytes())
        .and_then(|()| stdout.flush())
        .ok();
    Ok(server::run(listener, config, orders).await?)
}

/// Every connection is an open file, and the usual soft limit is 1024 of them.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => info!(limit, "open files"),
        Err(error) => warn!(%error, "the limit on open files stays as it is"),
    }
}
