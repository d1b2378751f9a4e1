//! TLS: what a client trusts, and the certificate that a gema is started with. Every handshake is a whole one, without a
//! ticket of an earlier: the dearest case, and what a server sees after a restart.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::error::BenchError;

/// How a client speaks TLS to one server.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// What the server's certificate has to be for.
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts the certificates in a PEM file, for a server of that name or address.
    pub(crate) fn trusting(ca: &Path, host: &str) -> Result<Self, BenchError> {
        let wrong = |why: String| BenchError::Certificate {
            path: ca.display().to_string(),
            why,
        };
        let mut roots = RootCertStore::empty();
        let found = CertificateDer::pem_file_iter(ca).map_err(|e| wrong(e.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|e| wrong(format!("no certificate can be for {host:?}: {e}")))?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// The client's side of a new connection.
    pub(crate) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.config.clone(), self.name.clone())
    }
}

/// A certificate for loopback and its key, as PEM files.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes both in the directory: ECDSA with P-256, which is what certificate authorities give most sites.
    pub(crate) fn make(directory: &Path) -> Result<Self, BenchError> {
        let made = Self {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        let wrong = |why: String| BenchError::Certificate {
            path: made.certificate.display().to_string(),
            why,
        };
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])
                .map_err(|e| wrong(e.to_string()))?;
        for (path, pem) in [
            (&made.certificate, cert.pem()),
            (&made.key, signing_key.serialize_pem()),
        ] {
            std::fs::write(path, pem).map_err(BenchError::io("writing a certificate"))?;
        }
        Ok(made)
    }

    /// A client that trusts it.
    pub(crate) fn trusted(&self) -> Result<Tls, BenchError> {
        Tls::trusting(&self.certificate, &Ipv4Addr::LOCALHOST.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_certificate_is_trusted_and_a_file_without_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let made = Certificate::make(directory.path()).unwrap();
        assert!(made.trusted().unwrap().connection().is_ok());
        let error = Tls::trusting(&made.key, "127.0.0.1").unwrap_err();
        assert!(error.to_string().contains("key.pem"), "{error}");
        assert!(Tls::trusting(&made.certificate, "no host").is_err());
        assert!(Tls::trusting(Path::new("/no/such/file"), "127.0.0.1").is_err());
    }
}
