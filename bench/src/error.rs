//! What can go wrong in a measurement, told apart by whose fault it was:
//! the server under test, this machine, or the way the bench was called.

use std::io;

/// Why a scenario gave no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The operating system refused something the bench needs.
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
    /// The server said something that the Pusher protocol does not allow here.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The server answered a trigger with something other than 200.
    #[error("the trigger API answered {status}: {body}")]
    Refused { status: u16, body: String },
    /// Some subscribers could not connect and subscribe.
    #[error("{failed} of {wanted} subscribers failed, the first because: {first}")]
    Subscribers {
        failed: usize,
        wanted: usize,
        first: String,
    },
    /// Something that must happen soon did not.
    #[error("{what} took longer than {seconds} s")]
    Deadline { what: &'static str, seconds: u64 },
    /// A file of /proc did not read as expected; mostly: no such process.
    #[error("{path}: {why}")]
    Proc { path: String, why: String },
    /// The process whose CPU is read did nothing while the server worked.
    #[error("the process of --pid used no CPU: it is not the one that serves")]
    IdleProcess,
    /// A server that `compare` started did not come up.
    #[error("{program} did not start: {why}")]
    Child { program: String, why: String },
    /// The Redis that the bench started did not do as asked.
    #[error("redis-server: {0}")]
    Redis(#[from] redis::RedisError),
    /// `cluster` needs a Redis to put between the nodes.
    #[error("redis-server is not installed")]
    NoRedis,
    /// A scenario that kills and starts its server was given one that is there.
    #[error("this scenario starts its server itself: give --start COMMAND")]
    NeedsStart,
    /// Nodes with a Redis between them are started by the bench, which knows only gema's settings.
    #[error("clusters are measured of gema only")]
    OnlyGema,
    /// A file of results does not hold what is asked of it.
    #[error("{path}: {why}")]
    Results { path: String, why: String },
    /// A certificate is not one, or cannot be made.
    #[error("{path}: {why}")]
    Certificate { path: String, why: String },
    /// An environment variable of the bench has no meaning.
    #[error("{name}: {why}")]
    Setting { name: &'static str, why: String },
    /// The server did what must not be.
    #[error("the server is at fault: {0}")]
    Faults(String),
    /// The user or the system asked the bench to stop.
    #[error("stopped by a signal")]
    Stopped,
}

impl BenchError {
    /// An `Io` error with the words for what was being done, for `map_err`.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
