//! What a server has used while something was measured: its CPU and memory where its process is known, else nothing, so
//! that servers on other machines can be driven too; and the driver's own CPU always.

use std::time::Instant;

use crate::{
    error::BenchError,
    procfs::{self, Cpu},
    report::{Figure, Unit},
};

/// Reads the server's process, if there is one to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    pub(crate) pid: Option<u32>,
}

/// The accounts at one moment.
#[derive(Debug)]
pub(crate) struct Reading {
    server: Option<Cpu>,
    driver: Cpu,
    at: Instant,
}

impl Meter {
    /// The accounts as of now.
    pub(crate) fn read(self) -> Result<Reading, BenchError> {
        Ok(Reading {
            server: self.pid.map(Cpu::of).transpose()?,
            driver: Cpu::of(std::process::id())?,
            at: Instant::now(),
        })
    }

    /// Microseconds of CPU that the server has used since, in a time in which it has certainly worked: none at all is
    /// an error, for then the process is another.
    pub(crate) fn used_us(self, since: &Reading) -> Result<Option<f64>, BenchError> {
        self.account(since, Cpu::used_since)
    }

    /// The same in a time in which it may have had nothing to do.
    pub(crate) fn idle_us(self, since: &Reading) -> Result<Option<f64>, BenchError> {
        self.account(since, |now, then| Ok(now.since(then)))
    }

    fn account(
        self,
        since: &Reading,
        used_ns: impl FnOnce(&Cpu, &Cpu) -> Result<u64, BenchError>,
    ) -> Result<Option<f64>, BenchError> {
        let (Some(pid), Some(server)) = (self.pid, &since.server) else {
            return Ok(None);
        };
        Ok(Some(used_ns(&Cpu::of(pid)?, server)? as f64 / 1e3))
    }

    /// The same divided by `count`, as a figure.
    pub(crate) fn each(
        self,
        name: &str,
        count: u64,
        since: &Reading,
    ) -> Result<Option<Figure>, BenchError> {
        let used = self.used_us(since)?;
        Ok(used.map(|us| Figure::new(name, Unit::Micros, us / count.max(1) as f64)))
    }

    /// How busy server and driver have been since, in percent of one core.
    pub(crate) fn busy(self, since: &Reading) -> Result<Vec<Figure>, BenchError> {
        let elapsed_us = since.at.elapsed().as_secs_f64() * 1e6;
        let percent = |us: f64| us / elapsed_us * 100.0;
        let own = Cpu::of(std::process::id())?.since(&since.driver);
        let server = self.used_us(since)?;
        let mut figures: Vec<_> = server
            .map(|us| Figure::new("server CPU", Unit::Percent, percent(us)))
            .into_iter()
            .collect();
        // The driver is one thread, and a second one publishes: near 100 % the latencies are its own.
        let own = percent(own as f64 / 1e3);
        figures.push(Figure::new("driver CPU", Unit::Percent, own));
        Ok(figures)
    }

    /// Resident memory of the server in KiB.
    pub(crate) fn rss_kib(self) -> Result<Option<f64>, BenchError> {
        let rss = self.pid.map(procfs::rss_kib).transpose()?;
        Ok(rss.map(|kib| kib as f64))
    }

    /// The same as a figure.
    pub(crate) fn rss(self, name: &str) -> Result<Option<Figure>, BenchError> {
        Ok(self.rss_kib()?.map(|kib| Figure::new(name, Unit::Kib, kib)))
    }

    /// How much resident memory has grown over `start_kib`, divided by `count`, as a figure.
    pub(crate) fn growth(
        self,
        name: &str,
        start_kib: Option<f64>,
        count: u64,
    ) -> Result<Option<Figure>, BenchError> {
        let grown = self
            .rss_kib()?
            .zip(start_kib)
            .map(|(now, start)| now - start);
        Ok(grown.map(|kib| Figure::new(name, Unit::Kib, kib / count.max(1) as f64)))
    }
}

impl Reading {
    /// Seconds since it was taken.
    pub(crate) fn elapsed_s(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }
}
