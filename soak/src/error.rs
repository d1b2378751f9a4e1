//! Why the soak could not go on. What gema does wrong is a finding (`findings.rs`) and ends nothing.

use std::io;

/// This machine, or the way the soak was called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoakError {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("{program} does not start: {why} (its words are in {log})")]
    Child {
        program: String,
        why: String,
        log: String,
    },
    /// Something that has to happen did not: without it nothing can be judged.
    #[error("not within {seconds} s: {what}")]
    Deadline { what: String, seconds: u64 },
    /// The Redis that was started here does not answer as it should.
    #[error("redis-server: {0}")]
    Redis(#[from] redis::RedisError),
}

impl SoakError {
    /// Turns an I/O error into one that says what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> SoakError {
        let what = what.into();
        move |source| SoakError::Io { what, source }
    }
}
