//! The listening socket and the certificate.

use std::fmt::Display;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock};

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
    pub(super) tls: Option<Tls>,
    /// `None` when it is off, or still with the process before.
    pub(super) admin: Option<TcpListener>,
}

/// How TLS is spoken; it can be replaced while connections come in.
#[derive(Clone)]
pub(super) struct Tls(Arc<RwLock<TlsAcceptor>>);

impl Tls {
    fn new(acceptor: TlsAcceptor) -> Tls {
        Tls(Arc::new(RwLock::new(acceptor)))
    }

    /// For one handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Handshakes from now on are made with the certificate that the settings name now. Connections stay.
    ///
    /// # Errors
    /// The setting that cannot be used; all stays as it was.
    pub(super) fn reload(&self, server: &Server) -> Result<(), ServerError> {
        if let Some(acceptor) = tls(server)? {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        }
        Ok(())
    }
}

impl Listener {
    /// Where it listens: the port is the real one, if 0 was asked for.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Another hold on the public socket: it accepts until all have let go.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.tcp.as_fd().try_clone_to_owned()
    }

    /// Where the admin listener is, if it is on.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn admin_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }
}

/// Reads the certificate, if there is one, and opens the sockets at `server.host` and `server.port` and, unless that
/// is off, at `admin.host` and `admin.port`; port 0 takes a free one. Must be called inside a tokio runtime.
///
/// # Errors
/// The setting that cannot be used.
pub fn bind(config: &Config) -> Result<Listener, ServerError> {
    let tls = tls(&config.server)?.map(Tls::new);
    let Server { host, port, .. } = &config.server;
    let tcp = open(host, *port, "server.host, server.port")?;
    let admin = config.admin.as_ref().map(open_admin).transpose()?;
    Ok(Listener { tcp, tls, admin })
}

/// The same with a public socket that the process before has opened. It still has the admin listener: that is opened once it
/// lets go. Must be called inside a tokio runtime.
///
/// # Errors
/// The setting that cannot be used.
pub fn listen_on(socket: net::TcpListener, config: &Config) -> Result<Listener, ServerError> {
    let tls = tls(&config.server)?.map(Tls::new);
    let tcp = socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket));
    let tcp = tcp.map_err(|source| ServerError::Bind {
        address: "the socket of the process before".to_owned(),
        settings: "it is inherited",
        source,
    })?;
    Ok(Listener {
        tcp,
        tls,
        admin: None,
    })
}

/// The admin listener.
pub(super) fn open_admin(admin: &Admin) -> Result<TcpListener, ServerError> {
    let settings = "admin.host, admin.port; port 0 switches the admin listener off";
    open(&admin.host, admin.port, settings)
}

/// The first address of `host` that can be listened on.
fn open(host: &str, port: u16, settings: &'static str) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Bind {
        address: format!("{host}:{port}"),
        settings,
        source,
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs().map_err(failed)? {
        match listen(address) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
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
