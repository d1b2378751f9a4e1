//! The command line: one file a command, and what each exit code means.
//! 0 all is well, 1 the thing failed, 2 wrong usage or configuration.
//!
//! # Layout
//!
//! * `serve` (with `banner`, `logging`, `signals`, `successor`), `check`, `trigger`, `tail`, `token`, `doctor`, `import`,
//!   `completions`: the commands.
//! * `target`: which server and which app a command means. `client`: talking to that server.
//! * `output`: colours, JSON, progress.

mod banner;
mod check;
mod client;
mod completions;
mod doctor;
mod import;
mod logging;
mod output;
mod serve;
mod signals;
mod successor;
mod tail;
mod target;
mod token;
mod trigger;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{ConfigError, Sources};
use crate::server::ServerError;
use logging::LoggingError;

/// A broadcast server that speaks the Pusher protocol.
///
/// Without a command it serves; without a file it serves the app app-id / app-key / app-secret on 127.0.0.1:6001.
#[derive(Debug, Parser)]
#[command(
    name = "gema",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  gema serve --config gema.toml\n\nEvery command explains itself: gema serve --help"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Trigger(trigger::Args),
    Tail(tail::Args),
    Token(token::Args),
    Doctor(doctor::Args),
    Import(import::Args),
    Completions(completions::Args),
}

/// Why a command ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What `gema check` was asked to find out.
    #[error(transparent)]
    Checked(ConfigError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error("the runtime does not start: {0}")]
    Runtime(std::io::Error),
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
    #[error("the address of the listener is not known: {0}")]
    Address(std::io::Error),
    #[error("the socket cannot be taken over: {0}")]
    Inherited(std::io::Error),
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The arguments do not go together, or not with the configuration; the text has the cure.
    #[error("{0}")]
    Usage(String),
    /// What was asked for was tried and did not work; the text has the cure.
    #[error("{0}")]
    Failed(String),
}

/// Runs the command that the process's arguments name. Usage mistakes and `--help` end the process here.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Trigger(args) => trigger::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Token(args) => token::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Import(args) => import::run(args),
        Command::Completions(args) => {
            completions::run(args);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

impl CommandError {
    fn exit_code(&self) -> ExitCode {
        match self {
            CommandError::Config(_) | CommandError::Logging(_) | CommandError::Usage(_) => {
                ExitCode::from(2)
            }
            CommandError::Server(error) if error.is_config() => ExitCode::from(2),
            CommandError::Checked(_)
            | CommandError::Runtime(_)
            | CommandError::Signals(_)
            | CommandError::Address(_)
            | CommandError::Inherited(_)
            | CommandError::Server(_)
            | CommandError::Failed(_) => ExitCode::from(1),
        }
    }
}

/// The file, and the environment of this process. What is not UTF-8 in it cannot be a key of ours, nor a value.
fn sources(file: Option<PathBuf>) -> Sources {
    let env = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    });
    Sources {
        file,
        env: env.collect(),
        ..Sources::default()
    }
}

/// Runs a command that talks to servers, on this thread alone.
fn block_on<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_what_happens_without_a_command() {
        let cli = Cli::try_parse_from(["gema", "--port", "7000"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.port, Some(7000));
        let cli = Cli::try_parse_from(["gema", "serve", "--port", "7000"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(args)) if args.port == Some(7000)));
    }

    #[test]
    fn every_command_has_an_example() {
        for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example:\n  gema "), "{help}");
        }
    }
}
