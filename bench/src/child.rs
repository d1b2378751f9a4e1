//! A server that the bench starts for one scenario, and ends by its process id whatever happens.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    net::SocketAddrV4,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::error::BenchError;

/// How long a server may take to say that it listens.
const START: Duration = Duration::from_secs(10);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddrV4,
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
        command.envs(settings.iter().copied());
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let stdout = child.stdout.take();
        // From here on an early return ends the child.
        let mut server = Self {
            child,
            address: SocketAddrV4::new([127, 0, 0, 1].into(), 0),
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
        server.address =
            listening_on(&line).ok_or_else(|| failed(format!("its first line was {line:?}")))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server says that it is fit for traffic: for a node of a cluster, that it has reached Redis.
    pub(crate) async fn ready(&self) -> Result<(), BenchError> {
        let asking = async {
            while !self.is_ready().await.unwrap_or(false) {
                sleep(Duration::from_millis(20)).await;
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
        let mut stream = TcpStream::connect(self.address).await?;
        let request = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer.starts_with(b"HTTP/1.1 200 "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when the child has ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
}
