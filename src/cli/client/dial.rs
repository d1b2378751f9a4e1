//! TCP and TLS to a server, one step after the other, and what a failure of each means for somebody who has to mend it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::trust::Judgement;
use crate::cli::target::Target;

/// A connection, encrypted or not.
pub(in crate::cli) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum DialError {
    /// The name has no address.
    #[error("{host} has no address: {why}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// Something is there, and it does not listen on that port.
    #[error("nothing listens at {0}")]
    Refused(SocketAddr),
    /// The network did not let us through.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// The last one tried.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// No answer.
    #[error("no answer from {what} within {} s", within.as_secs_f32())]
    Silent {
        /// Who was asked.
        what: String,
        /// For how long.
        within: Duration,
    },
    /// TCP stands, TLS does not.
    #[error("{found}")]
    Tls {
        /// What is wrong.
        found: String,
        /// What to do about it.
        cure: String,
    },
}

impl DialError {
    /// What to do about it.
    pub(in crate::cli) fn cure(&self) -> String {
        match self {
            DialError::Unresolved { .. } => {
                "check the spelling, or give the name an A or AAAA record".to_owned()
            }
            DialError::Refused(address) if address.ip().is_loopback() => {
                "start it (gema serve), or name the port it listens on".to_owned()
            }
            DialError::Refused(_) => {
                "start gema there with server.host = \"0.0.0.0\" (it listens on loopback by default), name its port, \
                 or start the proxy before it"
                    .to_owned()
            }
            DialError::Unreachable { .. } | DialError::Silent { .. } => {
                "a firewall or a security group lets nobody through; open the port for TCP".to_owned()
            }
            DialError::Tls { cure, .. } => cure.clone(),
        }
    }
}

/// The addresses of the target's host.
pub(in crate::cli) async fn resolve(
    target: &Target,
    within: Duration,
) -> Result<Vec<SocketAddr>, DialError> {
    let host = target.host();
    let unresolved = |why: String| DialError::Unresolved {
        host: host.to_owned(),
        why,
    };
    let looking = timeout(within, lookup_host((host, target.port()))).await;
    let found = looking.map_err(|_| DialError::Silent {
        what: format!("the name service about {host}"),
        within,
    })?;
    let addresses: Vec<SocketAddr> = found
        .map_err(|error| unresolved(error.to_string()))?
        .collect();
    if addresses.is_empty() {
        return Err(unresolved("the name is known, and has none".to_owned()));
    }
    Ok(addresses)
}

/// A TCP connection to the first of the addresses that takes one.
pub(in crate::cli) async fn connect(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut last = None;
    for &address in addresses {
        match timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small messages that are waited for.
                stream.set_nodelay(true).ok();
                return Ok((stream, address));
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                last = Some(DialError::Refused(address));
            }
            Ok(Err(error)) => {
                last = Some(DialError::Unreachable {
                    address,
                    why: error.to_string(),
                });
            }
            Err(_) => {
                last = Some(DialError::Silent {
                    what: address.to_string(),
                    within,
                });
            }
        }
    }
    Err(last.unwrap_or_else(|| DialError::Unresolved {
        host: String::new(),
        why: "no address".to_owned(),
    }))
}

/// TLS over the connection, and what is remarkable about the certificate.
pub(in crate::cli) async fn handshake(
    target: &Target,
    stream: TcpStream,
    within: Duration,
) -> Result<(Box<dyn Stream>, Judgement), DialError> {
    let (config, judge) = target.trust.judging().map_err(|found| DialError::Tls {
        found,
        cure: "install them".to_owned(),
    })?;
    let result = encrypt(target.host(), config, stream, within).await;
    let judgement = judge.judgement();
    match result {
        Ok(stream) => Ok((stream, judgement)),
        Err(None) => Err(DialError::Silent {
            what: "the TLS handshake".to_owned(),
            within,
        }),
        Err(Some(error)) => Err(explain(target, &error, judgement)),
    }
}

/// Resolves, connects, and does the TLS handshake if the target has one.
pub(in crate::cli) async fn dial(
    target: &Target,
    within: Duration,
) -> Result<Box<dyn Stream>, DialError> {
    let addresses = resolve(target, within).await?;
    let (stream, _) = connect(&addresses, within).await?;
    match target.tls() {
        true => Ok(handshake(target, stream, within).await?.0),
        false => Ok(Box::new(stream)),
    }
}

/// `Err(None)` when time is up.
async fn encrypt(
    host: &str,
    config: ClientConfig,
    stream: TcpStream,
    within: Duration,
) -> Result<Box<dyn Stream>, Option<std::io::Error>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Some(std::io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::new(config));
    let shaken = timeout(within, connector.connect(name, stream)).await;
    Ok(Box::new(shaken.map_err(|_| None)?.map_err(Some)?))
}

/// What is wrong with a handshake, for people.
fn explain(target: &Target, error: &std::io::Error, judgement: Judgement) -> DialError {
    let host = target.host();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let (found, cure) = match inner {
        Some(Error::InvalidCertificate(problem)) => certificate(host, problem, judgement),
        Some(Error::InvalidMessage(_)) => (
            "the port does not speak TLS".to_owned(),
            "use http:// (and forceTLS: false in the page), or give gema server.tls_cert and server.tls_key".to_owned(),
        ),
        Some(Error::AlertReceived(AlertDescription::UnrecognisedName)) => (
            format!("the server has no certificate for {host}"),
            format!("get one for {host}, or use the name that it is made out to"),
        ),
        _ if error.kind() == ErrorKind::UnexpectedEof || error.kind() == ErrorKind::ConnectionReset => (
            "the connection was closed in the TLS handshake".to_owned(),
            "the port may not speak TLS: try http://, or see the log of the proxy".to_owned(),
        ),
        _ => (
            format!("the TLS handshake failed: {error}"),
            "see the log of what answers there".to_owned(),
        ),
    };
    DialError::Tls { found, cure }
}

fn certificate(host: &str, problem: &CertificateError, judgement: Judgement) -> (String, String) {
    const DAY_S: u64 = 86_400;
    match problem {
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / DAY_S;
            (
                format!("the certificate has expired, {days} days ago"),
                "renew it (certbot renew), and see why that did not happen by itself; is this machine's clock right?"
                    .to_owned(),
            )
        }
        CertificateError::Expired => (
            "the certificate has expired".to_owned(),
            "renew it, and see why that did not happen by itself".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "the certificate is not valid yet".to_owned(),
            "set the clock, of this machine or of the one that made it".to_owned(),
        ),
        CertificateError::NotValidForName => wrong_name(host, &[]),
        CertificateError::NotValidForNameContext { presented, .. } => wrong_name(host, presented),
        CertificateError::Revoked => (
            "the certificate has been revoked".to_owned(),
            "get a new one".to_owned(),
        ),
        _ if judgement.self_signed => (
            "the certificate is self-signed, which no browser believes".to_owned(),
            "get one from an authority (Let's Encrypt is free); for development, add it to those that the machine \
             trusts, and try again with --ca"
                .to_owned(),
        ),
        // A wrong signature is that of another authority by the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "the certificate is signed by nobody this machine knows".to_owned(),
            "let server.tls_cert hold the whole chain (certbot's fullchain.pem, not cert.pem); an authority of your \
             own is named with --ca"
                .to_owned(),
        ),
        other => (
            format!("the certificate is not believed: {other}"),
            "get another one".to_owned(),
        ),
    }
}

fn wrong_name(host: &str, presented: &[String]) -> (String, String) {
    let found = match presented {
        [] => format!("the certificate is not for {host}"),
        names => format!(
            "the certificate is not for {host} but for {}",
            names.join(", ")
        ),
    };
    let cure = format!("use the name that it is made out to, or get one for {host}");
    (found, cure)
}
