//! A node: a gema process at fixed ports, its successors, and its figures.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::child::{Lineage, Nursery, runs, signal, until};
use crate::error::SoakError;
use crate::findings::Findings;
use crate::http::{self, HttpClient};
use crate::ports::free_port;

pub(crate) const APP: &str = "soak";
pub(crate) const KEY: &str = "soak-key";
pub(crate) const SECRET: &str = "soak-secret";

/// Over so long a node closes its connections.
const GRACE_S: u64 = 3;
/// How long the others wait for a dead node's next sign of life.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How long a node may take to be ready.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end: the grace, the last farewells and webhooks, and a busy machine.
const END: Duration = Duration::from_secs(GRACE_S + 7 + 20);

/// One place in the cluster, whatever process has it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) address: SocketAddrV4,
    admin: SocketAddrV4,
    program: PathBuf,
    config: PathBuf,
    nursery: Nursery,
    /// Where it says that a successor has taken over, as it would to systemd.
    notices: UnixDatagram,
    notices_at: PathBuf,
    lineage: RefCell<Option<Lineage>>,
    process: Cell<u32>,
    /// Whether clients should try it.
    open: Cell<bool>,
    /// Whether its connections may end without having done anything; until when after the last restart.
    leaving: Cell<bool>,
    left: Cell<Option<Instant>>,
}

impl Node {
    /// Settles where it is to be; it does not run yet.
    pub(crate) fn new(
        index: usize,
        program: &Path,
        nursery: &Nursery,
        redis: &str,
        webhooks: &str,
    ) -> Result<Node, SoakError> {
        let place = || free_port().map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let (address, admin) = (place()?, place()?);
        let directory = nursery.directory();
        let config = directory.join(format!("node-{index}.toml"));
        let text = format!(
            "chat.enabled = false\n\
             [server]\nport = {}\nshutdown_grace_s = {GRACE_S}\n\
             [admin]\nport = {}\n\
             [redis]\nurl = '{redis}'\nnode_lease_s = {}\n\
             [[apps]]\nid = '{APP}'\nkey = '{KEY}'\nsecret = '{SECRET}'\n\
             [[apps.webhooks]]\nurl = '{webhooks}'\n\
             events = ['channel_occupied', 'channel_vacated', 'member_added', 'member_removed']\n",
            address.port(),
            admin.port(),
            LEASE.as_secs(),
        );
        let io = |what: &str| SoakError::io(format!("{what} for node {index}"));
        std::fs::write(&config, text).map_err(io("writing the settings"))?;
        let notices_at = directory.join(format!("node-{index}.notices"));
        // One of an earlier run.
        std::fs::remove_file(&notices_at).ok();
        let notices = UnixDatagram::bind(&notices_at).map_err(io("binding the notices"))?;
        notices
            .set_nonblocking(true)
            .map_err(io("binding the notices"))?;
        Ok(Node {
            index,
            address,
            admin,
            program: program.to_owned(),
            config,
            nursery: nursery.clone(),
            notices,
            notices_at,
            lineage: RefCell::new(None),
            process: Cell::new(0),
            open: Cell::new(false),
            leaving: Cell::new(true),
            left: Cell::new(None),
        })
    }

    /// The process that serves at the moment.
    pub(crate) fn process(&self) -> u32 {
        self.process.get()
    }

    /// Whether clients should try it.
    pub(crate) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Whether its connections and requests may fail: it is going, or away, or has been back for less than a second, in which
    /// those of before may still be ending.
    pub(crate) fn may_fail(&self) -> bool {
        let just_back = self.left.get();
        self.leaving.get() || just_back.is_some_and(|at| at.elapsed() < Duration::from_secs(1))
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&self, http: &HttpClient) -> Result<(), SoakError> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--config"]).arg(&self.config);
        // Nothing of the machine's own settings gets into the soak.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path);
        command.env("GEMA_LOG", "info");
        command.env("NOTIFY_SOCKET", &self.notices_at);
        command.current_dir(self.nursery.directory());
        let lineage = self
            .nursery
            .start(&format!("node-{}", self.index), command)?;
        self.process.set(lineage.id());
        *self.lineage.borrow_mut() = Some(lineage);
        self.serves(http).await
    }

    async fn serves(&self, http: &HttpClient) -> Result<(), SoakError> {
        let what = format!("node {} is ready", self.index);
        until(&what, START, async || self.is_ready(http).await).await?;
        self.open.set(true);
        self.leaving.set(false);
        self.left.set(Some(Instant::now()));
        Ok(())
    }

    /// Whether it says that it is fit for traffic.
    pub(crate) async fn is_ready(&self, http: &HttpClient) -> bool {
        let ready = http::get(http, self.address, "/ready").await;
        ready.is_ok_and(|(status, _)| status == 200)
    }

    /// SIGTERM, and the start of another when it has ended.
    pub(crate) async fn restart(
        &self,
        http: &HttpClient,
        findings: &Findings,
    ) -> Result<(), SoakError> {
        self.end(findings).await?;
        self.start(http).await
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn end(&self, findings: &Findings) -> Result<(), SoakError> {
        self.leaving.set(true);
        self.open.set(false);
        let process = self.process.get();
        signal(process, Signal::TERM);
        self.has_ended(process).await?;
        if let Some(mut lineage) = self.lineage.borrow_mut().take()
            && lineage.id() == process
            && lineage.exit_code() != Some(Some(0))
        {
            let index = self.index;
            findings.add(
                "exit",
                format!("node {index} ended with {:?}", lineage.exit_code()),
            );
        }
        Ok(())
    }

    async fn has_ended(&self, process: u32) -> Result<(), SoakError> {
        let what = format!("process {process} of node {} ends", self.index);
        until(&what, END, async || {
            // Asks, so that it does not stay as one that nobody asked about.
            let mut lineage = self.lineage.borrow_mut();
            let first = lineage.as_mut().filter(|lineage| lineage.id() == process);
            match first {
                Some(lineage) => lineage.exit_code().is_some(),
                None => !runs(process),
            }
        })
        .await
    }

    /// SIGUSR2: another process takes the socket over, and this one ends.
    pub(crate) async fn hand_over(&self, http: &HttpClient) -> Result<(), SoakError> {
        self.leaving.set(true);
        let process = self.process.get();
        signal(process, Signal::USR2);
        let what = format!("node {} has a successor", self.index);
        let mut successor = None;
        until(&what, START, async || {
            let mut message = [0; 64];
            let Ok(length) = self.notices.recv(&mut message) else {
                return false;
            };
            let said = std::str::from_utf8(&message[..length]).unwrap_or_default();
            successor = said.strip_prefix("MAINPID=").and_then(|id| id.parse().ok());
            successor.is_some()
        })
        .await?;
        self.has_ended(process).await?;
        self.process.set(successor.unwrap_or_default());
        self.serves(http).await
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        self.leaving.set(true);
        self.open.set(false);
        *self.lineage.borrow_mut() = None;
    }

    /// What it says of itself at `/metrics`.
    pub(crate) async fn figures(&self, http: &HttpClient) -> Option<Figures> {
        let (status, text) = http::get(http, self.admin, "/metrics").await.ok()?;
        (status == 200).then_some(Figures(text))
    }
}

/// One scrape.
#[derive(Debug)]
pub(crate) struct Figures(String);

impl Figures {
    /// The sum of a family's series, `gema_` left out.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        let lines = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix("gema_")?.strip_prefix(family)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        lines.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_the_sum_of_its_series_and_of_no_other() {
        let text = "# TYPE gema_connections gauge\ngema_connections{app=\"a b\",gateway=\"x\"} 2\n\
                    gema_connections{app=\"b\"} 3\ngema_connections_total 9\n";
        let figures = Figures(text.to_owned());
        assert_eq!(figures.sum("connections"), 5.0);
        assert_eq!(figures.sum("connections_total"), 9.0);
        assert_eq!(figures.sum("channels"), 0.0);
    }
}
