//! What can be asked of Redis, and what comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use redis::{Arg, Cmd, ServerError, ServerErrorKind, Value};
use thiserror::Error;
use tokio::sync::oneshot;

/// What a command costs in a queue beyond its arguments.
const OVERHEAD: usize = 64;

/// A Lua script; one for the life of the process.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    /// Its SHA-1 in hex, as the first `SCRIPT LOAD` answered.
    sha: OnceLock<String>,
}

impl Script {
    /// A script of this text.
    pub const fn new(text: &'static str) -> Script {
        Script {
            text,
            sha: OnceLock::new(),
        }
    }

    /// The command that makes a server know the script.
    pub(super) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.text);
        command
    }

    /// Takes the answer to [`Script::load`].
    pub(super) fn loaded(&self, answer: &Value) {
        let sha = match answer {
            Value::BulkString(sha) => String::from_utf8(sha.clone()).ok(),
            Value::SimpleString(sha) => Some(sha.clone()),
            _ => None,
        };
        if let Some(sha) = sha {
            self.sha.get_or_init(|| sha);
        }
    }

    /// `EVALSHA`, or `EVAL` for a script that was never loaded.
    fn run(&self, keys: &[String], args: &[Vec<u8>]) -> Cmd {
        let mut command = match self.sha.get() {
            Some(sha) => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(sha);
                command
            }
            None => {
                let mut command = redis::cmd("EVAL");
                command.arg(self.text);
                command
            }
        };
        command.arg(keys.len()).arg(keys);
        for arg in args {
            command.arg(arg.as_slice());
        }
        command
    }
}

/// One command. All its keys live where the name lives that it is handed over with.
#[derive(Debug)]
pub enum Command {
    /// Any command with one reply; not one that blocks or subscribes.
    Plain(Cmd),
    /// Runs a script.
    Script {
        /// One of those given at the start.
        script: &'static Script,
        /// `KEYS`, of one slot.
        keys: Vec<String>,
        /// `ARGV`
        args: Vec<Vec<u8>>,
    },
    /// Subscribes a channel: `SUBSCRIBE`, in a cluster `SSUBSCRIBE`.
    Listen(String),
    /// Takes that back.
    Unlisten(String),
    /// `PUBLISH`, in a cluster `SPUBLISH`.
    Publish {
        /// Where to.
        channel: String,
        /// What.
        payload: Vec<u8>,
    },
}

impl Command {
    /// About the bytes it takes in a queue and on the wire.
    pub(super) fn size(&self) -> usize {
        let args = match self {
            Command::Plain(command) => command
                .args_iter()
                .map(|arg| match arg {
                    Arg::Simple(bytes) => bytes.len(),
                    // A cursor is a number.
                    _ => 8,
                })
                .sum(),
            Command::Script { keys, args, .. } => {
                let keys: usize = keys.iter().map(String::len).sum();
                keys + args.iter().map(Vec::len).sum::<usize>()
            }
            Command::Listen(channel) | Command::Unlisten(channel) => channel.len(),
            Command::Publish { channel, payload } => channel.len() + payload.len(),
        };
        args + OVERHEAD
    }

    /// Whether its reply is a push.
    pub(super) fn subscribes(&self) -> bool {
        matches!(self, Command::Listen(_) | Command::Unlisten(_))
    }

    /// As the wire wants it; `sharded` in a cluster.
    pub(super) fn encode(&self, sharded: bool) -> Cmd {
        let name = |plain: &'static str, in_shards| if sharded { in_shards } else { plain };
        match self {
            Command::Plain(command) => command.clone(),
            Command::Script { script, keys, args } => script.run(keys, args),
            Command::Listen(channel) => {
                let mut command = redis::cmd(name("SUBSCRIBE", "SSUBSCRIBE"));
                command.arg(channel);
                command
            }
            Command::Unlisten(channel) => {
                let mut command = redis::cmd(name("UNSUBSCRIBE", "SUNSUBSCRIBE"));
                command.arg(channel);
                command
            }
            Command::Publish { channel, payload } => {
                let mut command = redis::cmd(name("PUBLISH", "SPUBLISH"));
                command.arg(channel).arg(payload.as_slice());
                command
            }
        }
    }
}

/// Why a command has no reply.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AskError {
    /// Redis is away, or went away before it answered: the command may have been carried out.
    #[error("cut off from Redis")]
    Away,
    /// Redis answered with this error; it begins with the error's code.
    #[error("Redis refused: {0}")]
    Refused(String),
}

/// The reply to come. Dropping it does not take the command back.
#[derive(Debug)]
pub struct Answer(Option<oneshot::Receiver<Result<Value, AskError>>>);

impl Answer {
    /// An answer, and where to put it.
    pub(super) fn pending() -> (oneshot::Sender<Result<Value, AskError>>, Answer) {
        let (sender, receiver) = oneshot::channel();
        (sender, Answer(Some(receiver)))
    }

    /// [`AskError::Away`] at once.
    pub(super) fn away() -> Answer {
        Answer(None)
    }
}

impl Future for Answer {
    type Output = Result<Value, AskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(receiver) => Pin::new(receiver)
                .poll(context)
                // Nobody is left to answer.
                .map(|answer| answer.unwrap_or(Err(AskError::Away))),
            None => Poll::Ready(Err(AskError::Away)),
        }
    }
}

/// What an error reply asks of the link that got it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Remedy {
    /// The command was wrong; others may be right.
    None,
    /// Another server has the slot: ask who.
    Topology,
    /// This connection is of no use: connect anew.
    Reconnect,
}

/// What to do about an error reply.
pub(super) fn remedy(error: &ServerError) -> Remedy {
    match error.kind() {
        Some(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain) => {
            Remedy::Topology
        }
        Some(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::NoScript
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => Remedy::Reconnect,
        _ => Remedy::None,
    }
}

/// The error as Redis wrote it.
pub(super) fn words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}
