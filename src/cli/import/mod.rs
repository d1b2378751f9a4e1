//! `gema import`: the settings of Soketi, Reverb and Pusher as a gema.toml.
//!
//! # Layout
//!
//! * `draft`: the file in the making, and what does not go into it.
//! * `soketi`: soketi.json, and the SOKETI_ variables that say the same.
//! * `laravel`: the REVERB_ and PUSHER_ variables of a Laravel `.env`.
//! * `value`: numbers and switches, however they are written.
//!
//! Nothing is dropped silently: what has no counterpart is a comment in the file and a line on standard error.

mod draft;
mod laravel;
mod soketi;
mod value;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use self::draft::Draft;
use self::soketi::Options;
use super::CommandError;
use super::output::{self, GOOD, OPEN, styled};
use crate::config::Config;

/// No settings are as long as this.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Turn the settings of Soketi, Reverb or Pusher into a gema.toml
///
/// Reads soketi.json (any file that begins with a brace) and .env files (REVERB_..., SOKETI_..., PUSHER_APP_..., REDIS_...,
/// JWT_SECRET); of several files the later wins. Clients and back ends keep their keys. Where Soketi's limits are wider than
/// gema's, they come along. What cannot be carried over is a comment in the result and a line on standard error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gema import soketi.json --output gema.toml\n  \
                  gema import .env > gema.toml && gema check --config gema.toml"
)]
pub(super) struct Args {
    /// soketi.json or .env
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write here instead of to standard output; only its owner may read it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over the file that is there
    #[arg(long, requires = "output")]
    force: bool,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let mut read = Read::default();
    for file in &args.files {
        read.file(file)?;
    }
    let draft = read.finish()?;
    let names: Vec<String> = args.files.iter().map(|file| name(file)).collect();
    let text = draft.to_toml(&names.join(", "));
    // Better not to write a file than one that does not start.
    Config::from_toml(&text).map_err(|error| {
        CommandError::Failed(format!(
            "what was read does not make a configuration:\n{error}\nmend it in {}",
            names.join(", ")
        ))
    })?;
    match &args.output {
        None => output::last_line(text.trim_end()),
        Some(path) => {
            write(path, &text, args.force)?;
            let path = path.display();
            output::note(&styled(
                GOOD,
                format!("wrote {path}; start with: gema serve --config {path}"),
            ));
        }
    }
    for line in draft.left() {
        output::note(&styled(
            OPEN,
            format!("not carried over: {}", output::harmless(line)),
        ));
    }
    Ok(())
}

/// What the files say, before it is put into gema's words.
#[derive(Default)]
struct Read {
    soketi: Options,
    laravel: laravel::Variables,
    draft: Draft,
}

impl Read {
    fn file(&mut self, path: &Path) -> Result<(), CommandError> {
        let unreadable = |why: String| CommandError::Usage(format!("{}: {why}", path.display()));
        let text = read(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        if text.trim_start().starts_with('{') {
            let json = serde_json::from_str(&text);
            let json = json.map_err(|error| unreadable(format!("is not JSON: {error}")))?;
            self.soketi.lay(json);
            return Ok(());
        }
        for variable in dotenvy::from_read_iter(text.as_bytes()) {
            match variable {
                Ok((name, value)) => self.variable(name, value),
                Err(dotenvy::Error::LineParse(part, _)) => {
                    let name = name_of(&text, &part);
                    self.draft.leave(&format!(
                        "{name}: it cannot be read; values with spaces go in quotes"
                    ));
                }
                Err(error) => return Err(unreadable(format!("cannot be read: {error}"))),
            }
        }
        Ok(())
    }

    fn variable(&mut self, name: String, value: String) {
        // Templates list names without values.
        if value.is_empty() {
            return;
        }
        match name.strip_prefix("SOKETI_") {
            Some(option) => {
                if !self.soketi.lay_variable(option, value) {
                    self.draft
                        .leave(&format!("{name}: gema has no counterpart"));
                }
            }
            None => self.laravel.lay(name, value),
        }
    }

    fn finish(mut self) -> Result<Draft, CommandError> {
        self.soketi.carry(&mut self.draft);
        self.laravel.carry(&mut self.draft);
        if self.draft.has_no_app() {
            return Err(CommandError::Failed(
                "no app was found; wanted are a soketi.json with appManager.array.apps, or an .env with REVERB_APP_ID, \
                 _KEY and _SECRET, or PUSHER_APP_ or SOKETI_DEFAULT_APP_ with the same"
                    .to_owned(),
            ));
        }
        self.draft.keep_the_development_secret_at_home();
        Ok(self.draft)
    }
}

/// The name of the variable that has this in its line. The value may be a secret, and is not shown.
fn name_of<'t>(text: &'t str, part: &str) -> &'t str {
    let line = text.lines().find(|line| line.contains(part.trim()));
    let name = line.and_then(|line| line.split_once('='));
    name.map_or("a line without a name", |(name, _)| name.trim())
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The file's name without its directories.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    output::harmless(&name.to_string_lossy()).into_owned()
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), CommandError> {
    let shown = path.display();
    let mut options = OpenOptions::new();
    // It holds the secrets of all apps.
    options.write(true).mode(0o600);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            CommandError::Usage(format!("{shown} exists; --force writes over it"))
        }
        _ => CommandError::Failed(format!("{shown} cannot be written: {error}")),
    })
}
