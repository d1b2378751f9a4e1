//! Children: processes that a test starts, stops and kills, and that end when the test does, however it ends.

use std::io::Read;
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// A running process, killed when it is dropped.
pub struct Child {
    process: Process,
}

/// What the parent of all children is asked: a command, and where the child goes.
type Birth = (Command, SyncSender<std::io::Result<Process>>);

impl Child {
    /// Starts a program. The kernel kills it when this process ends, even when that is killed itself.
    pub fn start(program: &str, args: &[&str], variables: &[(&str, &str)]) -> Child {
        Child::start_in(Path::new("."), program, args, variables)
    }

    /// The same in a directory, where it may leave files.
    pub fn start_in(
        directory: &Path,
        program: &str,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Child {
        Child::start_logged(directory, program, args, variables, Stdio::inherit())
    }

    /// The same with its standard error going elsewhere than the test's.
    pub fn start_logged(
        directory: &Path,
        program: &str,
        args: &[&str],
        variables: &[(&str, &str)],
        log: Stdio,
    ) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(args);
        command.current_dir(directory);
        // Nothing of the machine's own settings (REDIS_URL, GEMA_...) gets into a test.
        let path = std::env::var("PATH").expect("a PATH");
        command.env_clear().env("PATH", format!("{path}:/usr/sbin"));
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(log);
        let (answer, born) = sync_channel(1);
        parent().send((command, answer)).expect("a parent");
        let process = born.recv().expect("an answer");
        let process = process.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        Child { process }
    }

    /// What it writes to its standard output; it is given once.
    pub fn output(&mut self) -> impl Read + Send + use<> {
        self.process.stdout.take().expect("its output")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().expect("an end");
    }

    /// Sends a signal by its name: TERM, STOP, CONT.
    pub fn signal(&self, name: &str) {
        let id = self.process.id();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status();
        assert!(sent.expect("a shell").success(), "kill -{name} {id}");
    }

    /// The exit code once it has ended; `None` while it runs, `Some(None)` when a signal ended it.
    pub fn exit_code(&mut self) -> Option<Option<i32>> {
        let status = self.process.try_wait().expect("a status");
        status.map(|status| status.code())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The thread that starts all children: the kernel means the thread when it says that the parent has ended, and those
/// of a test's runtime come and go.
fn parent() -> &'static SyncSender<Birth> {
    static PARENT: OnceLock<SyncSender<Birth>> = OnceLock::new();
    PARENT.get_or_init(|| {
        let (sender, births) = sync_channel::<Birth>(1);
        thread::spawn(move || {
            for (mut command, answer) in births {
                answer.send(command.spawn()).ok();
            }
        });
        sender
    })
}
