//! What commands show: colours where a terminal wants them, JSON, a line of progress while something is waited for.
//! anstream takes the colours out for pipes, `NO_COLOR` and terminals that have none.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};

/// What went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What was not tried, and what is worth a second look.
pub(super) const OPEN: Style = AnsiColor::Yellow.on_default();
/// Names: channels, settings.
pub(super) const NAME: Style = AnsiColor::Cyan.on_default();
/// What may be skipped when reading.
pub(super) const FAINT: Style = Style::new().dimmed();

/// The text in this style.
pub(super) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes a line to standard output, at once.
///
/// # Errors
/// Nobody reads it any more, such as `head`; for a command that goes on and on this is the end.
pub(super) fn line(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// As [`line()`], for what is written once: a reader that has gone away has seen what it wanted.
pub(super) fn last_line(text: &str) {
    line(text).ok();
}

/// Writes a line to standard error.
pub(super) fn note(text: &str) {
    writeln!(anstream::stderr().lock(), "{text}").ok();
}

/// Text from outside, without what would steer the terminal (ECMA-48: escape sequences begin with a control character).
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if c.is_control() => write!(safe, "{}", c.escape_default()).ok(),
            c => {
                safe.push(c);
                None
            }
        };
    }
    Cow::Owned(safe)
}

/// One line on standard error that says what is waited for, where somebody watches; it leaves nothing behind.
pub(super) struct Progress {
    watched: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            watched: std::io::stderr().is_terminal(),
        }
    }

    /// Says what is waited for now, in the place of what was before.
    pub(super) fn waiting(&self, what: &str) {
        self.write(&format!("\r\x1b[K{what} ..."));
    }

    /// Takes the line away, before something else is written.
    pub(super) fn done(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if self.watched {
            let mut err = std::io::stderr().lock();
            err.write_all(text.as_bytes()).ok();
            err.flush().ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(harmless("Halo, é!"), "Halo, é!");
        assert_eq!(harmless("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(harmless("\u{9b}31m"), "\\u{9b}31m");
    }
}
