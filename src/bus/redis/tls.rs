//! TLS to Redis: whom to believe.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Certificates, loaded once.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of `?ca=`.
    #[error("the certificates of {path} cannot be used: {why}")]
    Ca {
        /// As it was written.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// There is nobody to believe.
    #[error("the system has no root certificates; say whom to believe with ?ca=file.pem")]
    NoRoots,
    /// rustls has no use for its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// The system's roots, and those of a PEM file.
    pub(super) fn load(ca: Option<&str>) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        // Some of a system's certificates may be unreadable; the others are no worse for that.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            add_file(&mut roots, path).map_err(|why| TlsError::Ca {
                path: path.into(),
                why,
            })?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(Arc::new(config)))
    }

    /// Does the handshake with `host`, a name or an IP address.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error: InvalidDnsNameError| std::io::Error::other(error))?;
        TlsConnector::from(Arc::clone(&self.0))
            .connect(name, stream)
            .await
    }
}

fn add_file(roots: &mut RootCertStore, path: &str) -> Result<(), String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 {
        return Err("there are none in it".into());
    }
    Ok(())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
