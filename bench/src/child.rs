//! A server that the bench starts for one scenario, and ends by its process id whatever happens.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::SocketAddrV4,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

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
    pub(crate) async fn start(program: &OsStr, args: &[&str]) -> Result<Self, BenchError> {
        let name = program.to_string_lossy().into_owned();
        let failed = |why: String| BenchError::Child {
            program: name.clone(),
            why,
        };
        let mut command = Command::new(program);
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
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when the child has ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        let error = Server::start(OsStr::new("echo"), &["hello"])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("\"hello\""), "{error}");
        assert!(
            Server::start(OsStr::new("/no/such/program"), &[])
                .await
                .is_err()
        );
    }
}
