//! The program's commands, as somebody runs them in a shell without a terminal.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::child::Child;
use super::{DEADLINE, until};

/// Lines that may wait to be read; a test reads each of the few it causes.
const LINES: usize = 1024;

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// What it wrote, of a command that went well.
    pub fn good(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// What it wrote, as JSON, whether it went well or not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `gema` with these arguments to its end.
pub async fn gema(args: &[&str]) -> Ended {
    Command::new(args).run().await
}

/// A command to be.
pub struct Command {
    args: Vec<String>,
    variables: Vec<(String, String)>,
    input: Option<String>,
}

impl Command {
    /// `gema` with these arguments.
    pub fn new(args: &[&str]) -> Command {
        Command::by(&[], args)
    }

    /// The same, started by another program, which is given all of it as its last arguments.
    pub fn by(starter: &[&str], args: &[&str]) -> Command {
        let all = [starter, &[env!("CARGO_BIN_EXE_gema")], args].concat();
        Command::bare(&all)
    }

    /// Any program.
    pub fn bare(args: &[&str]) -> Command {
        Command {
            args: args.iter().map(ToString::to_string).collect(),
            variables: Vec::new(),
            input: None,
        }
    }

    /// With a variable in its environment, which has no other but PATH.
    pub fn with(mut self, name: &str, value: &str) -> Command {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this on its standard input.
    pub fn reading(mut self, input: &str) -> Command {
        self.input = Some(input.to_owned());
        self
    }

    /// Runs it to its end.
    pub async fn run(self) -> Ended {
        let mut running = self.start();
        let mut output = running.child.output();
        let reading = spawn_blocking(move || {
            let mut out = String::new();
            output.read_to_string(&mut out).map(|_| out)
        });
        let out = timeout(DEADLINE, reading).await.expect("an end");
        let out = out.expect("no panic").expect("text");
        let code = running.exit_code().await;
        Ended {
            code,
            out,
            err: running.err(),
        }
    }

    /// Starts it, to be watched while it runs.
    pub fn watch(self) -> Watched {
        let mut running = self.start();
        let output = running.child.output();
        let (sender, lines) = mpsc::channel(LINES);
        spawn_blocking(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Watched { running, lines }
    }

    fn start(self) -> Running {
        let directory = tempfile::tempdir().expect("a directory");
        let err = directory.path().join("stderr");
        let input = directory.path().join("stdin");
        std::fs::write(&input, self.input.unwrap_or_default()).expect("a file");
        // It may be looked at before the shell has made it.
        std::fs::write(&err, "").expect("a file");
        // The shell lends its hand for the redirections, and is replaced by the program.
        let redirected = "err=$1 input=$2; shift 2; exec \"$@\" 2>\"$err\" <\"$input\"";
        let mut args = vec!["-c", redirected, "sh", path(&err), path(&input)];
        args.extend(self.args.iter().map(String::as_str));
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Running {
            child: Child::start_in(directory.path(), "sh", &args, &variables),
            err,
            _directory: directory,
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path")
}

struct Running {
    child: Child,
    err: PathBuf,
    _directory: TempDir,
}

impl Running {
    async fn exit_code(&mut self) -> i32 {
        until("the command ends", async || {
            self.child.exit_code().is_some()
        })
        .await;
        self.child.exit_code().flatten().expect("no signal")
    }

    fn err(&self) -> String {
        std::fs::read_to_string(&self.err).expect("a file")
    }
}

/// A command that runs.
pub struct Watched {
    running: Running,
    lines: mpsc::Receiver<String>,
}

impl Watched {
    /// The next line of its output.
    pub async fn line(&mut self) -> String {
        let line = timeout(DEADLINE, self.lines.recv()).await;
        match line {
            Ok(Some(line)) => line,
            _ => panic!("no line; it said: {}", self.running.err()),
        }
    }

    /// The next line, as JSON.
    pub async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line().await).expect("JSON")
    }

    /// Waits until it has said this on standard error.
    pub async fn says(&self, text: &str) {
        until(text, async || self.running.err().contains(text)).await;
    }

    /// Sends a signal by its name, INT.
    pub fn signal(&self, name: &str) {
        self.running.child.signal(name);
    }

    /// Waits until it has ended, and gives its exit code and what it said on standard error.
    pub async fn ended(mut self) -> (i32, String) {
        (self.running.exit_code().await, self.running.err())
    }
}
