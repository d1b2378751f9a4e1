//! Handing over to a new process, as after an upgrade of the program: on SIGUSR2 it is started with the same arguments and
//! this one's listening socket as its standard input. Both hold the one socket, so no connection is refused in between.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::{info, warn};

/// The successor's hidden argument: its standard input is the socket to listen on.
pub(super) const LISTEN_ON_STDIN: &str = "--listen-on-stdin";

/// How long a successor may take until it listens: what it reads at its start is small, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Room for the banner.
const BANNER: usize = 4096;

/// What it takes to start the program once more.
pub(super) struct Successor {
    /// Where this process's program was when it started: another file may be there by now.
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Shares the socket with this process's listener.
    socket: OwnedFd,
}

impl Successor {
    /// Of this process. `socket` is what it listens on.
    ///
    /// # Errors
    /// The operating system does not say where the program is.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Successor> {
        let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
        if !arguments.iter().any(|argument| argument == LISTEN_ON_STDIN) {
            arguments.push(LISTEN_ON_STDIN.into());
        }
        Ok(Successor {
            program: env::current_exe()?,
            arguments,
            socket,
        })
    }

    /// Starts it; true when it listens. If it does not, all stays as it is.
    pub(super) async fn start(&self) -> bool {
        info!(program = %self.program.display(), "starting a successor");
        let mut unfinished = match self.spawn() {
            Ok(process) => Unfinished(Some(process)),
            Err(error) => {
                warn!(%error, "no successor; this process goes on");
                return false;
            }
        };
        let said = timeout(PATIENCE, unfinished.until_it_listens());
        let problem = match said.await {
            Ok(Ok(process)) => {
                info!(process, "the successor listens");
                tell_service_manager(process);
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it does not listen after {} s", PATIENCE.as_secs()),
        };
        warn!(problem, "no successor; this process goes on");
        false
    }

    /// It is not killed with this process.
    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::from(self.socket.try_clone()?))
            .stdout(Stdio::piped())
            .spawn()
    }
}

/// A successor that does not listen yet; dropped, it is killed.
struct Unfinished(Option<Child>);

impl Unfinished {
    /// Passes its banner on and gives its process id. From then on it lives without this process.
    async fn until_it_listens(&mut self) -> io::Result<u32> {
        let Some(process) = &mut self.0 else {
            return Err(io::Error::other("it listens already"));
        };
        let mut banner = vec![0; BANNER];
        let said = match &mut process.stdout {
            Some(stdout) => stdout.read(&mut banner).await?,
            None => 0,
        };
        if said == 0 {
            let status = process.wait().await?;
            return Err(io::Error::other(format!("it ended: {status}")));
        }
        // Nobody has to read it.
        io::stdout().write_all(&banner[..said]).ok();
        let id = process.id().unwrap_or_default();
        self.0 = None;
        Ok(id)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            // It may have ended by itself.
            process.start_kill().ok();
        }
    }
}

/// The socket that the process before this one listened on.
///
/// # Errors
/// Standard input is no such thing: the argument is not for people.
pub(super) fn inherited() -> io::Result<TcpListener> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(io::Error::other(
            "standard input is a terminal, not a socket",
        ));
    }
    let socket = TcpListener::from(stdin.as_fd().try_clone_to_owned()?);
    socket.local_addr()?;
    // The socket must end with the listener, not with the process.
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket)
}

/// Says which process is the service from now on, if systemd wants to know (`sd_notify(3)`). Otherwise it would take the end of
/// this one for the end of the service.
fn tell_service_manager(process: u32) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = address(path).and_then(|address| {
        UnixDatagram::unbound()?.send_to_addr(format!("MAINPID={process}").as_bytes(), &address)
    });
    if let Err(error) = told {
        warn!(%error, "the service manager was not told of the successor (NOTIFY_SOCKET)");
    }
}

/// A name that begins with `@` is abstract.
fn address(path: OsString) -> io::Result<SocketAddr> {
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}
