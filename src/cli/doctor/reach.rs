//! Name, TCP, TLS and HTTP: whether anything is there, and whether it is gema.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Problem, Verdict};
use crate::cli::client::api::{Answer, ApiError};
use crate::cli::client::{Api, DialError, dial};
use crate::cli::target::Target;
use crate::clock;

impl From<DialError> for Problem {
    fn from(error: DialError) -> Problem {
        Problem::new(error.to_string(), error.cure())
    }
}

pub(super) async fn resolve(target: &Target, within: Duration) -> Verdict<Vec<SocketAddr>> {
    let addresses = dial::resolve(target, within).await?;
    let listed: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
    let found = format!("{} is {}", target.host(), listed.join(", "));
    Ok((addresses, found))
}

pub(super) async fn connect(addresses: &[SocketAddr], within: Duration) -> Verdict<TcpStream> {
    let (stream, address) = dial::connect(addresses, within).await?;
    Ok((stream, format!("{address} takes connections")))
}

pub(super) async fn encrypt(target: &Target, stream: TcpStream, within: Duration) -> Verdict<()> {
    let (_, judgement) = dial::handshake(target, stream, within).await?;
    let host = target.host();
    let found = match judgement.ends_soon {
        false => format!("the certificate is good for {host}"),
        true => {
            format!("the certificate is good for {host}, and ends within two weeks: renew it")
        }
    };
    Ok(((), found))
}

/// What `/up` told.
pub(super) struct Up {
    pub(super) verdict: Verdict<()>,
    /// How far the clock in the header `Date` is ahead of ours, in seconds; a proxy may have set it.
    pub(super) skew_s: Option<i64>,
}

pub(super) async fn up(api: &Api, target: &Target) -> Up {
    let url = target.url("/up");
    match api
        .plain(Method::GET, &url, HeaderMap::new(), String::new())
        .await
    {
        Ok(answer) => Up {
            skew_s: skew(&answer),
            verdict: judge(&answer, target),
        },
        Err(error) => Up {
            skew_s: None,
            verdict: Err(no_http(&error, target)),
        },
    }
}

fn skew(answer: &Answer) -> Option<i64> {
    let date: SystemTime = httpdate::parse_http_date(answer.header("date")).ok()?;
    let theirs_s = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(theirs_s as i64 - clock::unix_s() as i64)
}

fn judge(answer: &Answer, target: &Target) -> Verdict<()> {
    let told: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let version = told["version"].as_str();
    if answer.status == 200
        && told["status"] == "up"
        && let Some(version) = version
    {
        return Ok(((), format!("gema {version}")));
    }
    let server = match answer.header("server") {
        "" => String::new(),
        server => format!(" by {server}"),
    };
    let status = answer.status;
    let found = format!("/up was answered with {status}{server}, and not by gema");
    let cure = match status {
        301 | 302 | 307 | 308 => format!(
            "use the address that it leads to: {}",
            answer.header("location")
        ),
        502..=504 => {
            "the proxy does not reach gema: start gema, and compare the proxy's address with server.host and server.port"
                .to_owned()
        }
        404 if target.base.path() == "/" => {
            "this may be another program, or gema under a path (server.path_prefix): name the URL with it".to_owned()
        }
        404 => format!(
            "the path must be the one that the proxy passes on; set server.path_prefix = \"{}\" if the proxy leaves it",
            target.base.path().trim_end_matches('/')
        ),
        _ => format!("another program answers here: {}", answer.beginning()),
    };
    Err(Problem::new(found, cure))
}

fn no_http(error: &ApiError, target: &Target) -> Problem {
    let cure = match target.tls() {
        true => "see the log of what answers there",
        false => "the port may speak TLS: try https://",
    };
    Problem::new(format!("no answer in HTTP: {error}"), cure)
}
