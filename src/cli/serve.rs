//! `gema serve`: the server, from its configuration to the signal that ends it.
//! What it prints goes to standard output, what it logs to standard error.

use std::io::Write;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{CommandError, banner, logging, sources};
use crate::config::Config;
use crate::server;

/// Serve until SIGTERM or Ctrl-C
///
/// Settings come from the embedded defaults, the file, the environment (GEMA_SERVER__PORT, PUSHER_APP_SECRET, ...)
/// and the flags, the later over the earlier. GEMA_LOG sets the log level (info), GEMA_LOG_FORMAT=json its form.
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
        .worker_threads((cores / 4).clamp(1, 4))
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), CommandError> {
    // Before anybody is told that it listens: who reads the banner may send the signal at once.
    let shutdown = shutdown().map_err(CommandError::Signals)?;
    let listener = server::bind(&config)?;
    let address = listener.local_addr().map_err(CommandError::Address)?;
    let banner = banner::text(&config, address);
    // Nobody has to read it: the server is as good without.
    let mut stdout = std::io::stdout();
    stdout
        .write_all(banner.as_bytes())
        .and_then(|()| stdout.flush())
        .ok();
    Ok(server::run(listener, config, shutdown).await?)
}

/// Resolves at the first SIGTERM or SIGINT; the second ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Who asks twice does not want to wait for the drain.
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    })
}

/// Every connection is an open file, and the usual soft limit is 1024 of them.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => info!(limit, "open files"),
        Err(error) => warn!(%error, "the limit on open files stays as it is"),
    }
}
