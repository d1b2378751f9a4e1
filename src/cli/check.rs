//! `gema check`: whether the server would start with this configuration, and what it would go by.
//! The exit code is 0 or 1: to answer that question is what this command is for.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{CommandError, output, sources};
use crate::config::{Config, ConfigError, Place, Problem, Sources};
use crate::server;

/// Check the configuration and print what is in effect
///
/// Reads the defaults, the file and the environment as `gema serve` does and prints the outcome as TOML, with
/// *** in the place of secrets; or prints what is wrong, one line a mistake, and exits with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gema check --config gema.toml\n  \
                        gema check --config gema.toml --json | jq .config.server.port")]
pub(super) struct Args {
    /// TOML file; what it does not name stays at its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the outcome as JSON: {"ok":true,"config":...} or {"ok":false,"problems":[...]}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let sources = sources(args.config);
    let checked = check(&sources);
    if args.json {
        let shown = match &checked {
            Ok(effective) => json!({ "ok": true, "config": as_json(effective) }),
            Err(CommandError::Checked(error)) => {
                json!({ "ok": false, "problems": problems(error) })
            }
            Err(error) => json!({ "ok": false, "problems": [{ "message": error.to_string() }] }),
        };
        output::last_line(&shown.to_string());
    }
    match checked {
        // A reader that has gone away, such as `head`, has seen what it wanted.
        Ok(effective) if !args.json => output::last_line(effective.trim_end()),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn check(sources: &Sources) -> Result<String, CommandError> {
    let config = Config::load(sources).map_err(CommandError::Checked)?;
    server::check(&config)?;
    Config::explain(sources).map_err(CommandError::Checked)
}

fn as_json(effective: &str) -> Value {
    let table = toml::from_str::<toml::Table>(effective);
    table.map_or(Value::Null, |table| json!(table))
}

/// Each mistake as it is printed, with the key and the place it has, for editors to jump to.
fn problems(error: &ConfigError) -> Vec<Value> {
    let problems = error.problems().iter().map(|problem| {
        let (at, path) = match problem {
            Problem::Unreadable { file, .. } => (json!({ "file": file }), None),
            Problem::Syntax { at, .. } => (place(at), None),
            Problem::UnknownVariable { name, .. } => (json!({ "variable": name }), None),
            Problem::UnknownKey { at, path, .. }
            | Problem::WrongType { at, path, .. }
            | Problem::Invalid { at, path, .. } => (place(at), Some(path)),
        };
        json!({ "message": problem.to_string(), "key": path, "at": at })
    });
    problems.collect()
}

fn place(place: &Place) -> Value {
    match place {
        Place::Defaults { line, column } => {
            json!({ "file": "default.toml (embedded)", "line": line, "column": column })
        }
        Place::File { file, line, column } => {
            json!({ "file": file, "line": line, "column": column })
        }
        Place::Variable(name) => json!({ "variable": name }),
        Place::Flag(flag) => json!({ "flag": flag }),
    }
}
