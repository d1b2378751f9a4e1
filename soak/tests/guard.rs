//! What the soak has started ends with it, also when it is killed: its guard sees the end of a pipe.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// In a group of its own; ended with its group when the test does not end it.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        // Two processes: the group is what is watched, not its first.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & sleep 600"]);
        Sleeper(command.process_group(0).spawn().unwrap())
    }

    fn ended_by(&mut self, deadline: Duration) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.signal();
            }
            sleep(Duration::from_millis(5));
        }
        None
    }

    fn group_is_empty(&self) -> bool {
        let group = format!("-{}", self.0.id());
        let mut command = Command::new("kill");
        let sent = command.args(["-0", "--", &group]).stderr(Stdio::null());
        !sent.status().unwrap().success()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let mut command = Command::new("kill");
        let kill = command.args(["-9", "--", &group]).stderr(Stdio::null());
        kill.status().ok();
        self.0.wait().ok();
    }
}

#[test]
fn at_the_end_of_its_input_the_guard_kills_the_groups_that_it_watches_and_no_other() {
    let mut guard = Command::new(env!("CARGO_BIN_EXE_gema-soak"))
        .arg("guard")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut watched, mut forgotten) = (Sleeper::start(), Sleeper::start());
    let mut lines = guard.stdin.take().unwrap();
    let (one, two) = (watched.0.id(), forgotten.0.id());
    write!(lines, "+{one}\n+{two}\n-{two}\n").unwrap();
    drop(lines);
    assert!(guard.wait().unwrap().success());
    assert_eq!(watched.ended_by(Duration::from_secs(20)), Some(9));
    // The second process of the group has no parent left; whoever has it now notices its end in a moment.
    let began = Instant::now();
    while !watched.group_is_empty() && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(5));
    }
    assert!(watched.group_is_empty());
    assert_eq!(forgotten.ended_by(Duration::ZERO), None);
    assert!(!forgotten.group_is_empty());
}
