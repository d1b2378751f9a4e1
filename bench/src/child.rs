//! A server that the bench starts for one scenario, and ends by its process id whatever happens: gema, the floor, or a
//! peer by the command its user gives.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    net::SocketAddrV4,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    error::BenchError,
    floor::Floor,
    meter::Meter,
    target::{App, Subject, Target},
    tls::Certificate,
};

/// How long a server may take to say that it listens.
const START: Duration = Duration::from_secs(10);
/// How long a peer may take to listen; some compile first.
const PEER_START: Duration = Duration::from_secs(60);
/// How often it is looked whether a server listens.
const LOOK: Duration = Duration::from_millis(20);

/// How to start a server.
#[derive(Clone, Debug)]
pub(crate) enum Launch {
    /// The gema binary.
    Gema { program: PathBuf, setup: Setup },
    /// This program as the yardstick.
    Floor(Floor),
    /// Any other: a line for the shell, and where it then listens with which app.
    Command { line: String, app: App },
}

/// What a gema is told besides the settings of a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    /// To speak TLS, with a certificate made for it.
    pub(crate) tls: bool,
    /// How many shards to have, where it is not to be the default.
    pub(crate) shards: Option<&'static str>,
}

impl Launch {
    /// Starts it on a free port, or where its command puts it. `settings` are environment variables for gema.
    pub(crate) async fn start(&self, settings: &[(&str, &str)]) -> Result<Server, BenchError> {
        self.start_on(0, settings).await
    }

    /// Starts it where one was before.
    pub(crate) async fn start_at(
        &self,
        address: SocketAddrV4,
        settings: &[(&str, &str)],
    ) -> Result<Server, BenchError> {
        self.start_on(address.port(), settings).await
    }

    async fn start_on(&self, port: u16, settings: &[(&str, &str)]) -> Result<Server, BenchError> {
        let port = port.to_string();
        match self {
            Self::Gema { program, setup } => {
                let args = ["serve", "--port", &port];
                let mut settings = settings.to_vec();
                settings.extend(setup.shards.map(|count| ("GEMA_SERVER__SHARDS", count)));
                Server::start_with(program.as_os_str(), &args, &settings, setup.tls).await
            }
            Self::Floor(what) => {
                let own = std::env::current_exe().map_err(BenchError::io("finding the bench"))?;
                let mut args = vec!["floor", "--port", &port];
                args.extend((*what == Floor::Answers).then_some("--answers"));
                let mut floor = Server::start(own.as_os_str(), &args, &[]).await?;
                if *what == Floor::Sends {
                    floor.target = Target::Floor(floor.target.address());
                }
                Ok(floor)
            }
            Self::Command { line, app } => Server::by_command(line, app).await,
        }
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Mutex<Child>,
    pid: u32,
    target: Target,
    /// The process leads a group of its own, which ends with it.
    leads: bool,
    /// What it writes goes with it.
    _directory: Option<TempDir>,
}

impl Server {
    /// Starts `program` and reads the address from its first line on stdout, `… listening on HOST:PORT…`.
    /// The environment's settings for a server are kept from it: all rounds measure the same configuration.
    /// `settings` are environment variables of this one.
    pub(crate) async fn start(
        program: &OsStr,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self, BenchError> {
        Self::start_with(program, args, settings, false).await
    }

    /// The same, with a certificate of its own for `tls`.
    async fn start_with(
        program: &OsStr,
        args: &[&str],
        settings: &[(&str, &str)],
        tls: bool,
    ) -> Result<Self, BenchError> {
        let name = program.to_string_lossy().into_owned();
        let failed = |why: String| BenchError::Child {
            program: name.clone(),
            why,
        };
        let mut command = guarded(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("GEMA_") {
                command.env_remove(key);
            }
        }
        command.env("GEMA_LOG", "warn");
        // Another gema on this machine may have it.
        command.env("GEMA_ADMIN__PORT", "0");
        // As by default, but not left behind in the user's directory.
        let directory = TempDir::new().map_err(|e| failed(e.to_string()))?;
        let database = format!("sqlite://{}/gema.db", directory.path().display());
        command.env("GEMA_DATABASE__URL", database);
        let mut app = App::embedded(SocketAddrV4::new([127, 0, 0, 1].into(), 0));
        if tls {
            let made = Certificate::make(directory.path())?;
            command.env("GEMA_SERVER__TLS_CERT", &made.certificate);
            command.env("GEMA_SERVER__TLS_KEY", &made.key);
            app.tls = Some(made.trusted()?);
        }
        command.envs(settings.iter().copied());
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let stdout = child.stdout.take();
        // From here on an early return ends the child.
        let mut server = Self {
            pid: child.id(),
            child: Mutex::new(child),
            target: Target::Pusher(app.clone()),
            leads: false,
            _directory: Some(directory),
        };
        let (tell, first_line) = oneshot::channel();
        thread::spawn(move || {
            let mut lines = stdout
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines());
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            // Nobody listens any more after the deadline; the rest is read so that the server never blocks on it.
            let _ = tell.send(first);
            lines.for_each(drop);
        });
        let line = timeout(START, first_line)
            .await
            .map_err(|_| failed("it said nothing on stdout".to_owned()))?
            .unwrap_or_default();
        let address =
            listening_on(&line).ok_or_else(|| failed(format!("its first line was {line:?}")))?;
        app.address = address;
        server.target = Target::Pusher(app);
        Ok(server)
    }

    /// Runs a line of the shell and waits until something listens where it should.
    async fn by_command(line: &str, app: &App) -> Result<Self, BenchError> {
        let failed = |why: String| BenchError::Child {
            program: line.to_owned(),
            why,
        };
        if TcpStream::connect(app.address).await.is_ok() {
            return Err(failed(format!(
                "something listens on {} already",
                app.address
            )));
        }
        let mut command = guarded(OsStr::new("sh"));
        command
            .args(["-c", &format!("exec {line}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        let child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let server = Self {
            pid: child.id(),
            child: Mutex::new(child),
            target: Target::Pusher(app.clone()),
            leads: true,
            _directory: None,
        };
        let listening = async {
            while TcpStream::connect(app.address).await.is_err() {
                if let Some(status) = server.status() {
                    return Err(failed(format!("it ended with {status}")));
                }
                sleep(LOOK).await;
            }
            Ok(())
        };
        timeout(PEER_START, listening)
            .await
            .map_err(|_| failed(format!("nothing listens on {}", app.address)))??;
        Ok(server)
    }

    fn status(&self) -> Option<std::process::ExitStatus> {
        self.child.lock().ok()?.try_wait().ok().flatten()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What reads its CPU and memory.
    pub(crate) fn meter(&self) -> Meter {
        Meter {
            pid: Some(self.pid),
        }
    }

    /// What a scenario needs to know of it.
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            target: self.target.clone(),
            meter: self.meter(),
        }
    }

    /// The app it serves.
    pub(crate) fn app(&self) -> Result<App, BenchError> {
        self.subject().app().cloned()
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&self) {
        if self.leads {
            // What a shell's command has started is in its group. Fails only when all have ended.
            let group = format!("-{}", self.pid);
            let kill = Command::new("kill").args(["-KILL", "--", &group]).status();
            drop(kill);
        }
        if let Ok(mut child) = self.child.lock() {
            // Fails only when the child has ended by itself, and then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until the server says that it is fit for traffic: for a node of a cluster, that it has reached Redis.
    pub(crate) async fn ready(&self) -> Result<(), BenchError> {
        let asking = async {
            while !self.is_ready().await.unwrap_or(false) {
                sleep(LOOK).await;
            }
        };
        timeout(START, asking)
            .await
            .map_err(|_| BenchError::Deadline {
                what: "becoming ready",
                seconds: START.as_secs(),
            })
    }

    async fn is_ready(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect(self.target.address()).await?;
        let request = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer.starts_with(b"HTTP/1.1 200 "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command for a child that ends with the bench, even when that is killed.
pub(crate) fn guarded(program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn listening_on(line: &str) -> Option<SocketAddrV4> {
    let (_, address) = line.split_once(" listening on ")?;
    address.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_first_line() {
        let address = Some("127.0.0.1:6001".parse().unwrap());
        assert_eq!(
            listening_on("gema 0.1.0 listening on 127.0.0.1:6001"),
            address
        );
        assert_eq!(
            listening_on("gema 0.1.0 listening on 127.0.0.1:6001 (TLS)"),
            address
        );
        assert_eq!(listening_on("error: port in use"), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_a_server_is_told_with_what_it_said() {
        let error = Server::start(OsStr::new("echo"), &["hello"], &[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("\"hello\""), "{error}");
        assert!(
            Server::start(OsStr::new("/no/such/program"), &[], &[])
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_command_that_ends_before_it_listens_is_told() {
        // A port that was free a moment ago; nothing of this test's listens on it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("127.0.0.1:{}", free.local_addr().unwrap().port());
        drop(free);
        let launch = Launch::Command {
            line: "false".to_owned(),
            app: App::embedded(address.parse().unwrap()),
        };
        let error = launch.start(&[]).await.unwrap_err();
        assert!(error.to_string().contains("ended with"), "{error}");
    }
}
