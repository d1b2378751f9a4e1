//! What the soak has started ends with it, also when it is killed: its guard sees the end of a pipe.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Two processes in a group of their own: the group is what is watched, not its first. Ended when the test does not end them.
struct Pair {
    first: Child,
    second: String,
}

impl Pair {
    fn start() -> Pair {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        command.stdout(Stdio::piped());
        let mut first = command.process_group(0).spawn().unwrap();
        let mut second = String::new();
        let mut said = BufReader::new(first.stdout.take().unwrap());
        said.read_line(&mut second).unwrap();
        Pair {
            first,
            second: second.trim().to_owned(),
        }
    }

    /// The signal that has ended the first.
    fn ended_by(&mut self, deadline: Duration) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.first.try_wait().unwrap() {
                return status.signal();
            }
            if began.elapsed() >= deadline {
                return None;
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// One that has ended may stay as a zombie, where nobody asks about orphans.
    fn second_runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.second));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let group = format!("-{}", self.first.id());
        let mut command = Command::new("kill");
        let kill = command.args(["-9", "--", &group]).stderr(Stdio::null());
        kill.status().ok();
        self.first.wait().ok();
    }
}

#[test]
fn at_the_end_of_its_input_the_guard_kills_the_groups_that_it_watches_and_no_other() {
    let mut guard = Command::new(env!("CARGO_BIN_EXE_gema-soak"))
        .arg("guard")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut watched, mut forgotten) = (Pair::start(), Pair::start());
    let mut lines = guard.stdin.take().unwrap();
    let (one, two) = (watched.first.id(), forgotten.first.id());
    write!(lines, "+{one}\n+{two}\n-{two}\n").unwrap();
    drop(lines);
    assert!(guard.wait().unwrap().success());
    assert_eq!(watched.ended_by(Duration::from_secs(20)), Some(9));
    let began = Instant::now();
    while watched.second_runs() && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(5));
    }
    assert!(!watched.second_runs());
    assert_eq!(forgotten.ended_by(Duration::ZERO), None);
    assert!(forgotten.second_runs());
}
