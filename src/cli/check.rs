//! `gema check`: whether the server would start with this configuration, and what it would go by.
//! The exit code is 0 or 1: to answer that question is what this command is for.

use std::io::Write;
use std::path::PathBuf;

use super::{CommandError, sources};
use crate::config::Config;
use crate::server;

/// Check the configuration and print what is in effect
///
/// Reads the defaults, the file and the environment as `gema serve` does and prints the outcome as TOML, with
/// *** in the place of secrets; or prints what is wrong, one line a mistake, and exits with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gema check --config gema.toml")]
pub(super) struct Args {
    /// TOML file; what it does not name stays at its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let sources = sources(args.config);
    let config = Config::load(&sources).map_err(CommandError::Checked)?;
    server::check(&config)?;
    let effective = Config::explain(&sources).map_err(CommandError::Checked)?;
    // A reader that has gone away, such as `head`, has seen what it wanted.
    std::io::stdout().write_all(effective.as_bytes()).ok();
    Ok(())
}
