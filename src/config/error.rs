//! What can be wrong with a configuration, one line a problem.
//! Every line begins with the place that has to be changed: file, line and column, variable, or flag.

use std::fmt;

use gema_protocol::channel::ChannelNameError;

use crate::apps::OriginPatternError;
use crate::auth::PatternError;

/// Why a configuration was refused: everything that was found wrong at once, so that one look at it is enough.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The problems in the order they were found; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// `Err` with the problems, or `Ok(value)` when there are none.
    pub(super) fn unless_none<T>(value: T, problems: Vec<Problem>) -> Result<T, ConfigError> {
        if problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError { problems })
        }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        ConfigError {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file given with `--config` is not there or not readable.
    #[error("{file}: cannot be read: {reason}")]
    Unreadable {
        /// The path as given.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The text is not TOML.
    #[error("{at}: {message}")]
    Syntax {
        /// Where reading stopped.
        at: Place,
        /// What the TOML parser said.
        message: String,
    },
    /// A key that does not exist.
    #[error("{at}: unknown key {path}; the nearest valid name is {nearest}")]
    UnknownKey {
        /// Where the key stands.
        at: Place,
        /// Its full path.
        path: String,
        /// The full path of the valid key most like it.
        nearest: String,
    },
    /// A variable that begins with `GEMA_`, names a level with `__` and is no key.
    #[error("{name}: unknown variable; the nearest valid name is {nearest}")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The valid variable most like it.
        nearest: String,
    },
    /// A value of another type than its key has, or a number that does not fit it.
    #[error("{at}: {path} must be {expected}, found {found}")]
    WrongType {
        /// Where the value stands.
        at: Place,
        /// The full path of the key.
        path: String,
        /// What the key takes.
        expected: String,
        /// What stands there. Never the value of a text, which may be a secret.
        found: String,
    },
    /// A value of the right type that cannot be what is meant.
    #[error("{at}: {path} {why}")]
    Invalid {
        /// Where the value stands, or the table that lacks it.
        at: Place,
        /// The full path of the key.
        path: String,
        /// What is wrong with it; reads on after the path.
        why: Why,
    },
}

/// What is wrong with a value of the right type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each text below says it")]
pub enum Why {
    #[error("is missing")]
    Missing,
    #[error("is empty")]
    Empty,
    #[error("is 0; it must be at least 1")]
    Zero,
    #[error("is {found}; it must be from {min} to {max}")]
    OutOfRange { found: u64, min: u64, max: u64 },
    #[error(
        "is \"{given}\", which is not an address or a host name; the port has a key of its own"
    )]
    NotAHost { given: String },
    #[error("is \"{given}\", which is not a path such as /realtime")]
    NotAPath { given: String },
    #[error("is \"{given}\", which is not an address range such as 10.0.0.0/8")]
    NotARange { given: String },
    #[error("is set and {missing} is not; TLS needs both")]
    HalfOfTls { missing: &'static str },
    #[error("is \"{given}\"; use letters, digits, and the characters - . _ ~")]
    NotUrlSafe { given: String },
    #[error("is \"{given}\", and so is {other}; every app needs its own")]
    Taken { given: String, other: String },
    #[error("is not base64 of 32 bytes; `openssl rand -base64 32` makes such a key")]
    NotAMasterKey,
    #[error(transparent)]
    Origin(#[from] OriginPatternError),
    #[error(
        "is set, and {other} is too; tokens are checked with one of jwt_secret, jwt_public_key and jwks_url"
    )]
    SecondTokenKey { other: &'static str },
    #[error("is \"{given}\", which is not an http:// or https:// address")]
    NotAUrl { given: String },
    #[error("is \"{given}\", which is no webhook event; the nearest valid name is {nearest}")]
    NotAWebhookEvent { given: String, nearest: String },
    #[error("cannot be used: {reason}")]
    NotRedis { reason: String },
    #[error("cannot be used: {reason}")]
    NotADatabase { reason: String },
    #[error(
        "is \"{given}\", which is no table's name: use letters, digits and underscores, with a schema and a dot before it \
         if need be"
    )]
    NotATable { given: String },
    #[error("is \"{given}\"; it may not contain braces")]
    HasBraces { given: String },
    #[error("cannot be sent as an HTTP header")]
    NotAHeader,
    #[error("is set by gema itself")]
    ReservedHeader,
    #[error("cannot be a channel: {0}")]
    NotAChannel(ChannelNameError),
    #[error("is \"{given}\", which is no public channel")]
    NotPublic { given: String },
    #[error("is \"{given}\"; only {{user}} can be filled in, with the user's id")]
    NotATemplate { given: String },
    #[error("is \"{given}\", which is not the id of an app")]
    NoSuchApp { given: String },
    #[error("cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("cannot be used: {0}")]
    Pattern(#[from] PatternError),
    #[error(
        "is still the development secret \"app-secret\", with which gema listens on loopback only and not on {host}; \
         set secret under [[apps]] in a file or {variable} in the environment"
    )]
    DevelopmentSecret { host: String, variable: String },
    #[error(
        "is {host}, where others reach it, and admin.token is empty; set token under [admin] in a file or \
         GEMA_ADMIN__TOKEN in the environment, or switch the listener off with admin.port = 0"
    )]
    OpenAdmin { host: String },
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `config/default.toml`, which is part of the program.
    Defaults {
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// A file.
    File {
        /// Its path as given.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// The environment variable of this name.
    Variable(String),
    /// This flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Defaults { line, column } => {
                write!(f, "default.toml (embedded):{line}:{column}")
            }
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Variable(name) => f.write_str(name),
            Place::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The candidate most like `name`; the first of several that are equally so, "" of none.
/// `likeness` may weigh more than the spelling.
pub(super) fn nearest<'a>(
    candidates: impl IntoIterator<Item = &'a str>,
    likeness: impl Fn(&str) -> f64,
) -> String {
    let mut best = ("", f64::NEG_INFINITY);
    for candidate in candidates {
        let score = likeness(candidate);
        if score > best.1 {
            best = (candidate, score);
        }
    }
    best.0.to_owned()
}
