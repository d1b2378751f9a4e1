//! `gema doctor`: whether a browser reaches a server, and a back end too; one line a check, and the cure of what failed.
//!
//! # Layout
//!
//! * `report`: what was found, for people and as JSON.
//! * `reach`: name, TCP, TLS, HTTP. `upgrade`: the WebSocket through whatever stands before the server, and the app's key.
//! * `sign`: the clock and the app's secret. `page`: what a page's origin and its user may do.
//! * `trip`: an event from the API to a subscriber, and a connection that is silent.
//!
//! A check that fails hides no other: what does not need it goes on, and what does is skipped and says so.

mod page;
mod reach;
mod report;
mod sign;
mod trip;
mod upgrade;

use std::time::Duration;

use reqwest::Url;

use self::report::{Problem, Report, Verdict};
use super::client::Api;
use super::output::Progress;
use super::target::{AppArgs, Target};
use super::{CommandError, block_on};

/// Find out whether browsers and back ends reach a server
///
/// Checks, one line each: DNS, TCP, TLS certificate, HTTP, WebSocket upgrade, key, clock, secret, the page's origin, CORS, the
/// auth endpoint, an event's round trip, a ping. A failed check says what to do. The exit code is 1 when one failed. The
/// round trip publishes on a channel of its own, gema-doctor-..., which nobody else hears.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gema doctor https://realtime.example.com --config gema.toml --origin https://www.example.com\n  \
                  gema doctor https://realtime.example.com --app 1001 --key app-key --secret app-secret --idle 90\n  \
                  gema doctor http://127.0.0.1:6001 --json | jq '.checks[] | select(.status == \"failed\")'"
)]
pub(super) struct Args {
    /// The server, as pages reach it; by default where the configuration listens
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Origin of the page that is to connect, such as https://www.example.com
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Option<String>,
    /// Where the page asks for signatures; by default gema's own /api/broadcasting/auth
    #[arg(long, value_name = "URL")]
    auth_endpoint: Option<Url>,
    /// A user's token for the auth endpoint; by default one is made with auth.jwt_secret, if the configuration has it
    #[arg(long, value_name = "JWT")]
    token: Option<String>,
    /// The user for whom that token is made
    #[arg(long, value_name = "ID", default_value = "1")]
    user: String,
    /// A private or presence channel that this user may have
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Stay silent on a connection for so many seconds, to find proxies that close it
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle: Option<u64>,
    /// Seconds that each step may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    app: AppArgs,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let target = args.app.at(args.url.as_deref())?;
    let within = Duration::from_secs(args.timeout);
    let exam = Exam {
        api: Api::new(&target, within)?,
        page: page::Page {
            origin: args.origin,
            endpoint: match &args.auth_endpoint {
                Some(url) => url.to_string(),
                None => target.url("/api/broadcasting/auth"),
            },
            own_endpoint: args.auth_endpoint.is_none(),
            token: args.token,
            user: args.user,
            channel: args.channel,
        },
        idle: args.idle.map(Duration::from_secs),
        report: Report::new(&target, args.json),
        progress: Progress::new(),
        target,
        within,
    };
    block_on(exam.run())
}

/// One look at one server.
struct Exam {
    target: Target,
    api: Api,
    page: page::Page,
    within: Duration,
    idle: Option<Duration>,
    report: Report,
    progress: Progress,
}

impl Exam {
    async fn run(mut self) -> Result<(), CommandError> {
        let reached = self.reach().await;
        let (upgraded, clock) = if reached {
            self.front().await
        } else {
            for name in ["http", "websocket"] {
                self.report.skip(name, "needs a connection");
            }
            (false, None)
        };
        let greeted = self.key(upgraded).await;
        let signed = self.signatures(reached, clock).await;
        self.page(reached, greeted).await;
        self.trip(greeted, signed).await;
        self.progress.done();
        self.report.end()
    }

    /// Name, TCP, TLS: whether there is a connection at all.
    async fn reach(&mut self) -> bool {
        self.begin("dns");
        let addresses = reach::resolve(&self.target, self.within).await;
        let Some(addresses) = self.take("dns", addresses) else {
            for name in ["connect", "tls"] {
                self.report.skip(name, "needs an address");
            }
            return false;
        };
        self.begin("connect");
        let stream = reach::connect(&addresses, self.within).await;
        let Some(stream) = self.take("connect", stream) else {
            self.report.skip("tls", "needs a connection");
            return false;
        };
        if !self.target.tls() {
            self.report.skip("tls", "http:// has none");
            return true;
        }
        self.begin("tls");
        let encrypted = reach::encrypt(&self.target, stream, self.within).await;
        self.take("tls", encrypted).is_some()
    }

    /// HTTP and the WebSocket upgrade: what the proxy and gema say to each. Gives whether there is a WebSocket, and by how much
    /// the server's clock is ahead, in seconds.
    async fn front(&mut self) -> (bool, Option<i64>) {
        self.begin("http");
        let up = reach::up(&self.api, &self.target).await;
        let clock = up.skew_s;
        self.take("http", up.verdict);
        self.begin("websocket");
        let upgraded = upgrade::upgrade(&self.target, self.within).await;
        (self.take("websocket", upgraded).is_some(), clock)
    }

    async fn key(&mut self, upgraded: bool) -> bool {
        if !upgraded {
            self.report.skip("key", "needs a WebSocket");
            return false;
        }
        self.begin("key");
        let greeted = upgrade::key(&self.target, self.within).await;
        self.take("key", greeted).is_some()
    }

    /// The clock and the secret; gives whether signed requests get through.
    async fn signatures(&mut self, reached: bool, by_header: Option<i64>) -> bool {
        let app = self.target.credentials().ok();
        if !reached {
            for name in ["clock", "secret"] {
                self.report.skip(name, "needs a connection");
            }
            return false;
        }
        self.begin("clock");
        match sign::skew(&self.api, app.as_ref(), by_header).await {
            Some(skew_s) => {
                // What follows is signed by the server's clock, so that a wrong one hides nothing.
                self.api.skew_s = skew_s;
                self.take("clock", sign::clock(skew_s));
            }
            None => self.report.skip(
                "clock",
                "needs an answer with a date, or --app and --secret",
            ),
        }
        let Some(app) = app else {
            self.report.skip("secret", "needs --app and --secret");
            return false;
        };
        self.begin("secret");
        let signed = sign::secret(&self.api, &app).await;
        self.take("secret", signed).is_some()
    }

    /// What a page of this origin may do, and its user.
    async fn page(&mut self, reached: bool, greeted: bool) {
        let askable = reached || !self.page.own_endpoint;
        match (&self.page.origin, greeted) {
            (None, _) => self.report.skip("origin", "needs --origin"),
            (Some(_), false) => self.report.skip("origin", "needs the right key"),
            (Some(origin), true) => {
                let origin = origin.clone();
                self.begin("origin");
                let allowed = page::origin(&self.target, &origin, self.within).await;
                self.take("origin", allowed);
            }
        }
        match self.page.origin.clone() {
            None => self.report.skip("cors", "needs --origin"),
            Some(_) if !askable => self.report.skip("cors", "needs a connection"),
            Some(origin) => {
                self.begin("cors");
                let allowed = page::cors(&self.api, &self.page.endpoint, &origin).await;
                self.take("cors", allowed);
            }
        }
        match self.page.token(&self.target.config.auth.settings) {
            Err(why) => self.report.skip("auth", why),
            Ok(_) if !askable => self.report.skip("auth", "needs a connection"),
            Ok(token) => {
                self.begin("auth");
                let signed = page::auth(&self.api, &self.target, &self.page, &token).await;
                self.take("auth", signed);
            }
        }
    }

    /// An event from the API to a subscriber, and a connection that is left alone.
    async fn trip(&mut self, greeted: bool, signed: bool) {
        let app = self.target.credentials().ok();
        match app {
            Some(app) if greeted && signed => {
                self.begin("delivery");
                let delivered = trip::deliver(&self.api, &self.target, &app, self.within).await;
                self.take("delivery", delivered);
            }
            _ => self
                .report
                .skip("delivery", "needs the right key and secret"),
        }
        if !greeted {
            self.report.skip("ping", "needs the right key");
            return;
        }
        self.begin("ping");
        if let Some(idle) = self.idle {
            let seconds = idle.as_secs();
            self.progress
                .waiting(&format!("ping: being silent for {seconds} s"));
        }
        let answered = trip::ping(&self.target, self.idle, self.within).await;
        self.take("ping", answered);
    }

    fn begin(&self, name: &str) {
        self.progress.waiting(name);
    }

    /// Notes what a check found, and hands on what the next ones need.
    fn take<T>(&mut self, name: &'static str, verdict: Verdict<T>) -> Option<T> {
        self.progress.done();
        match verdict {
            Ok((value, found)) => {
                self.report.good(name, &found);
                Some(value)
            }
            Err(problem) => {
                self.report.bad(name, problem);
                None
            }
        }
    }
}

/// Scheme, host and port, as a browser writes them: no path, no slash (RFC 6454, section 6.2).
fn origin(given: &str) -> Result<String, String> {
    let wrong = || "write it as a browser does: https://www.example.com, without a path".to_owned();
    let url = Url::parse(given).map_err(|_| wrong())?;
    match (url.scheme(), url.path(), url.query()) {
        ("http" | "https", "/", None) => Ok(url.origin().ascii_serialization()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        assert_eq!(
            origin("https://A.example.com:443/").unwrap(),
            "https://a.example.com"
        );
        assert_eq!(
            origin("http://localhost:5173").unwrap(),
            "http://localhost:5173"
        );
        for wrong in [
            "example.com",
            "https://example.com/page",
            "ftp://example.com",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
