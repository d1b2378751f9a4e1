//! The listening socket and the certificate.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::ServerError;
use crate::config::{Admin, Config, Server};

/// Connections the kernel completes while we are busy; it takes the smaller of this and
/// `net.core.somaxconn`. A reconnect storm does not fit into the usual 128.
const BACKLOG: i32 = 4096;

/// Sockets that accept connections in the kernel already, and what it takes to speak TLS on the public one.
pub struct Listener {
    pub(super) tcp: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    /// `None` when it is off.
    pub(super) admin: Option<TcpListener>,
}

impl Listener {
    /// Where it listens: the port is the real one, if 0 was asked for.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Where the admin listener is, if it is on.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn admin_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }
}

/// Reads the certificate, if there is one, and opens the sockets at `server.host` and `server.port` and, unless that
/// is off, at `admin.host` and `admin.port`; port 0 takes a free one. Must be called inside a tokio runtime.
///
/// # Errors
/// The setting that cannot be used.
pub fn bind(config: &Config) -> Result<Listener, ServerError> {
    let tls = tls(&config.server)?;
    let Server { host, port, .. } = &config.server;
    let tcp = open(host, *port, "server.host, server.port")?;
    let admin = match &config.admin {
        Some(Admin { host, port, .. }) => {
            let settings = "admin.host, admin.port; port 0 switches the admin listener off";
            Some(open(host, *port, settings)?)
        }
        None => None,
    };
    Ok(Listener { tcp, tls, admin })
}

/// The first address of `host` that can be listened on.
fn open(host: &str, port: u16, settings: &'static str) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Bind {
        address: format!("{host}:{port}"),
        settings,
        source,
    };
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs().map_err(failed)? {
        match listen(address) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the connections of before to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The acceptor for `server.tls_cert` and `server.tls_key`, or none when they are empty.
pub(super) fn tls(server: &Server) -> Result<Option<TlsAcceptor>, ServerError> {
    let (Some(cert_path), Some(key_path)) = (&server.tls_cert, &server.tls_key) else {
        return Ok(None);
    };
    let bad_cert = |problem: &dyn Display| ServerError::tls("server.tls_cert", cert_path, problem);
    let bad_key = |problem: &dyn Display| ServerError::tls("server.tls_key", key_path, problem);

    let chain = CertificateDer::pem_file_iter(cert_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad_cert(&error))?;
    if chain.is_empty() {
        return Err(bad_cert(&"no certificate in this file"));
    }
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| bad_key(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_cert(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| bad_key(&error))?;
    // HTTP/1.1 only: browsers open WebSockets over it, and the trigger API keeps its connection.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
