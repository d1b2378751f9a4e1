//! What the checks found: a line each as they come, or one JSON document at the end.

use serde_json::{Value, json};

use crate::cli::CommandError;
use crate::cli::output::{self, BAD, FAINT, GOOD, OPEN, styled};
use crate::cli::target::Target;

/// What a check gives the next ones and what it found, or what is wrong.
pub(super) type Verdict<T> = Result<(T, String), Problem>;

/// What is wrong, and what to do about it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) found: String,
    pub(super) cure: String,
}

impl Problem {
    pub(super) fn new(found: impl Into<String>, cure: impl Into<String>) -> Problem {
        Problem {
            found: found.into(),
            cure: cure.into(),
        }
    }
}

/// Everything found so far.
pub(super) struct Report {
    server: String,
    json: bool,
    checks: Vec<Value>,
    failed: usize,
}

impl Report {
    pub(super) fn new(target: &Target, json: bool) -> Report {
        Report {
            server: target.base.to_string(),
            json,
            checks: Vec::new(),
            failed: 0,
        }
    }

    pub(super) fn good(&mut self, name: &'static str, found: &str) {
        let found = output::harmless(found);
        self.show(name, &styled(GOOD, "ok     "), &found);
        self.checks
            .push(json!({ "check": name, "status": "ok", "found": found }));
    }

    pub(super) fn bad(&mut self, name: &'static str, problem: Problem) {
        self.failed += 1;
        let found = output::harmless(&problem.found);
        self.show(name, &styled(BAD, "failed "), &found);
        if !self.json {
            for line in problem.cure.lines() {
                output::last_line(&format!(
                    "           {}",
                    styled(OPEN, output::harmless(line))
                ));
            }
        }
        self.checks.push(
            json!({ "check": name, "status": "failed", "found": found, "cure": problem.cure }),
        );
    }

    pub(super) fn skip(&mut self, name: &'static str, why: &str) {
        self.show(name, &styled(FAINT, "skipped"), &styled(FAINT, why));
        self.checks
            .push(json!({ "check": name, "status": "skipped", "found": why }));
    }

    /// Closes the report; an error if a check failed.
    pub(super) fn end(self) -> Result<(), CommandError> {
        if self.json {
            let ok = self.failed == 0;
            let shown = json!({ "server": self.server, "ok": ok, "checks": self.checks });
            output::last_line(&shown.to_string());
        }
        let of = self.checks.len();
        match self.failed {
            0 => Ok(()),
            1 => Err(CommandError::Failed(format!("1 of {of} checks failed"))),
            failed => Err(CommandError::Failed(format!(
                "{failed} of {of} checks failed"
            ))),
        }
    }

    fn show(&self, name: &str, status: &str, found: &str) {
        if !self.json {
            output::last_line(&format!("{name:<10} {status} {found}"));
        }
    }
}
