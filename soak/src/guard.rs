//! Ends what the soak has started when the soak has ended, however it ended. A process of its own: a killed one cleans nothing
//! up, and the kernel's own way (`PR_SET_PDEATHSIG`) does not reach the successor that a node starts on SIGUSR2.
//!
//! It reads lines: `+ID` is a process group to end, `-ID` one that has ended. At the end of its input it kills what is left.

use std::collections::BTreeSet;
use std::io::{BufRead, Write, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::SoakError;

/// The hidden command that a guard runs.
pub(crate) const COMMAND: &str = "guard";

/// The soak's end of the pipe.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Closed at the end of this process at the latest.
    lines: ChildStdin,
    _process: Child,
}

impl Guard {
    /// Starts one, in a group of its own, so that Ctrl-C does not end it.
    pub(crate) fn start() -> Result<Guard, SoakError> {
        let io = || SoakError::io("starting the guard");
        let program = std::env::current_exe().map_err(io())?;
        let mut process = Command::new(program)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(io())?;
        let lines = process.stdin.take().ok_or_else(|| SoakError::Io {
            what: "starting the guard".to_owned(),
            source: std::io::ErrorKind::BrokenPipe.into(),
        })?;
        Ok(Guard {
            lines,
            _process: process,
        })
    }

    /// This group must not outlive the soak.
    pub(crate) fn watch(&mut self, group: u32) -> Result<(), SoakError> {
        writeln!(self.lines, "+{group}").map_err(SoakError::io("telling the guard"))
    }

    /// All of this group have ended; another may get its number.
    pub(crate) fn forget(&mut self, group: u32) -> Result<(), SoakError> {
        writeln!(self.lines, "-{group}").map_err(SoakError::io("telling the guard"))
    }
}

/// What the guard does.
pub(crate) fn run() {
    let mut groups = BTreeSet::new();
    for line in stdin().lock().lines().map_while(Result::ok) {
        let (sign, group) = line.split_at(line.len().min(1));
        let Ok(group) = group.parse::<i32>() else {
            continue;
        };
        if sign == "+" {
            groups.insert(group);
        } else {
            groups.remove(&group);
        }
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // It fails where the whole group has ended by itself.
        kill_process_group(group, Signal::KILL).ok();
    }
}
