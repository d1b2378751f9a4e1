//! Processes under the guard's eyes: started in a group of their own, signalled by number, asked whether they run.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep};

use crate::error::SoakError;
use crate::guard::Guard;

/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Starts processes and keeps what they say.
#[derive(Clone, Debug)]
pub(crate) struct Nursery {
    guard: Rc<RefCell<Guard>>,
    directory: PathBuf,
}

/// A process that was started here, and those that it has started.
#[derive(Debug)]
pub(crate) struct Lineage {
    nursery: Nursery,
    child: Child,
}

impl Nursery {
    /// What processes say goes to files of this directory.
    pub(crate) fn new(directory: &Path) -> Result<Nursery, SoakError> {
        let what = format!("making {}", directory.display());
        let made = fs::create_dir_all(directory);
        // Processes run in it, so its name must not depend on where that is.
        let directory = made.and_then(|()| directory.canonicalize());
        Ok(Nursery {
            guard: Rc::new(RefCell::new(Guard::start()?)),
            directory: directory.map_err(SoakError::io(what))?,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a command as the first of a group. What it says is appended to `name`.log.
    pub(crate) fn start(&self, name: &str, mut command: Command) -> Result<Lineage, SoakError> {
        let log = self.directory.join(format!("{name}.log"));
        let failed = |why: std::io::Error| SoakError::Child {
            program: name.to_owned(),
            why: why.to_string(),
            log: log.display().to_string(),
        };
        let said: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let and_errors = said.try_clone().map_err(failed)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(and_errors)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        self.guard.borrow_mut().watch(child.id())?;
        Ok(Lineage {
            nursery: self.clone(),
            child,
        })
    }
}

impl Lineage {
    /// The first process, and the number of the group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit code of the first process once it has ended; `Some(None)` when a signal ended it.
    pub(crate) fn exit_code(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().ok().flatten();
        status.map(|status| status.code())
    }

    /// `kill -9` for all of the group, and waits until the first one has ended.
    pub(crate) fn kill(&mut self) {
        if let Some(group) = pid(self.id()) {
            // All may have ended by themselves.
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        self.kill();
        // Without a guard, which somebody has killed, there is nobody to tell.
        self.nursery.guard.borrow_mut().forget(self.child.id()).ok();
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

/// Sends a signal; false when there is no such process.
pub(crate) fn signal(id: u32, signal: Signal) -> bool {
    pid(id).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Whether the process runs. One that has ended and that nobody has asked about does not.
pub(crate) fn runs(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name, in brackets, may hold anything; the state follows it.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Asks until the answer is yes.
///
/// # Errors
/// It is not, for so long.
pub(crate) async fn until(
    what: &str,
    patience: Duration,
    mut yes: impl AsyncFnMut() -> bool,
) -> Result<(), SoakError> {
    let deadline = Instant::now() + patience;
    while !yes().await {
        if Instant::now() > deadline {
            return Err(SoakError::Deadline {
                what: what.to_owned(),
                seconds: patience.as_secs(),
            });
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
