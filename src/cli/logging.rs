//! Where log lines go and how they look: standard error, for people unless GEMA_LOG_FORMAT asks for JSON.
//! Its two variables are no keys of the configuration, because logging starts before that is read.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// A variable of logging that cannot be what is meant.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoggingError {
    /// Neither a level nor a list of targets with levels.
    #[error("GEMA_LOG: \"{given}\" is not a level such as info or gema=debug,warn ({source})")]
    Level {
        /// The variable's value.
        given: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A form that does not exist.
    #[error("GEMA_LOG_FORMAT: \"{0}\" is not json; leave it out for lines to be read by people")]
    Format(String),
}

/// Starts logging for the whole process, as GEMA_LOG and GEMA_LOG_FORMAT say.
pub(super) fn start() -> Result<(), LoggingError> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let filter = filter(variable("GEMA_LOG"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if wants_json(variable("GEMA_LOG_FORMAT"))? {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}

fn filter(given: String) -> Result<EnvFilter, LoggingError> {
    let directives = if given.is_empty() { "info" } else { &given };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| LoggingError::Level { given, source })
}

fn wants_json(given: String) -> Result<bool, LoggingError> {
    match given.as_str() {
        "" => Ok(false),
        "json" => Ok(true),
        _ => Err(LoggingError::Format(given)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_info_unless_the_variable_says_otherwise() {
        assert_eq!(filter(String::new()).unwrap().to_string(), "info");
        assert_eq!(
            filter("gema=debug".to_owned()).unwrap().to_string(),
            "gema=debug"
        );
    }

    #[test]
    fn a_value_that_means_nothing_is_refused_by_the_name_of_its_variable() {
        let said = filter("gema=loud".to_owned()).unwrap_err().to_string();
        assert!(
            said.starts_with("GEMA_LOG: \"gema=loud\" is not a level"),
            "{said}"
        );
        let said = wants_json("xml".to_owned()).unwrap_err().to_string();
        assert!(
            said.starts_with("GEMA_LOG_FORMAT: \"xml\" is not json"),
            "{said}"
        );
    }
}
