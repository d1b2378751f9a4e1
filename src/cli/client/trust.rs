//! Whose certificates are believed: the system's roots and those of `--ca`; and a verifier that can say more about a
//! certificate than yes or no.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// How long before its end a certificate is worth a word: those of Let's Encrypt are renewed 30 days before it.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The certificates that are believed, loaded once.
#[derive(Clone)]
pub(in crate::cli) struct Trust {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    config: ClientConfig,
}

/// What is remarkable about a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Judgement {
    /// It is signed by nobody but itself.
    pub(in crate::cli) self_signed: bool,
    /// It is good, and will not be in two weeks.
    pub(in crate::cli) ends_soon: bool,
}

impl Trust {
    /// The system's roots, and those of a PEM file.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub(in crate::cli) fn load(ca: Option<&Path>) -> Result<Trust, String> {
        let mut roots = RootCertStore::empty();
        // A machine without any can still speak plain HTTP; and some being unreadable makes the others no worse.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            let shown = path.display();
            add_file(&mut roots, path).map_err(|why| format!("--ca {shown}: {why}"))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        // A WebSocket begins in HTTP/1.1, and so do our other requests.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Trust {
            roots,
            provider,
            config,
        })
    }

    /// For clients.
    pub(in crate::cli) fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// For a client that wants to know more: the verifier remembers what it saw.
    pub(super) fn judging(&self) -> Result<(ClientConfig, Arc<Judge>), String> {
        let verifier = self.verifier(&self.roots).map_err(|()| {
            "this system has no root certificates; Debian's package ca-certificates has them, and --ca names others"
                .to_owned()
        })?;
        let judge = Arc::new(Judge {
            trust: self.clone(),
            verifier,
            judgement: Mutex::default(),
        });
        let mut config = self.config();
        let verifier = Arc::clone(&judge);
        config.dangerous().set_certificate_verifier(verifier);
        Ok((config, judge))
    }

    fn verifier(&self, roots: &Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, ()> {
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider)
            .build()
            .map_err(|_| ())
    }

    /// Whether nobody but itself vouches for this certificate: it holds once it is a root.
    fn is_self_signed(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let mut alone = RootCertStore::empty();
        if alone.add(certificate.clone().into_owned()).is_err() {
            return false;
        }
        let Ok(verifier) = self.verifier(&Arc::new(alone)) else {
            return false;
        };
        let verified = verifier.verify_server_cert(certificate, &[], name, &[], now);
        // Another one's signature does not hold under its own key, or names another issuer.
        !matches!(
            verified,
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ))
        )
    }
}

/// Verifies as rustls does, and remembers what a person wants to know besides.
pub(super) struct Judge {
    trust: Trust,
    verifier: Arc<WebPkiServerVerifier>,
    judgement: Mutex<Judgement>,
}

impl Judge {
    pub(super) fn judgement(&self) -> Judgement {
        *self
            .judgement
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let at = |now| {
            self.verifier
                .verify_server_cert(certificate, chain, name, ocsp, now)
        };
        let verified = at(now);
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        let judgement = Judgement {
            self_signed: verified.is_err() && self.trust.is_self_signed(certificate, name, now),
            ends_soon: verified.is_ok() && at(later).is_err(),
        };
        *self
            .judgement
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = judgement;
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    match count {
        0 => Err("there is no certificate in it".to_owned()),
        _ => Ok(()),
    }
}
