//! A real Redis that also listens for TLS, with a certificate for 127.0.0.1 by an authority of its own.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::port::Port;
use super::redis::Redis;

pub struct RedisTls {
    /// As it is without TLS.
    pub server: Redis,
    port: Port,
    directory: TempDir,
}

impl RedisTls {
    /// Starts one; `args` are more of its own.
    pub async fn start(args: &[&str]) -> RedisTls {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, pem: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, pem).expect("a file");
            path.to_str().expect("a path").to_owned()
        };
        let key = || KeyPair::generate().expect("a key");
        let params = |names: Vec<String>| CertificateParams::new(names).expect("parameters");
        let mut of_ca = params(Vec::new());
        of_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(of_ca, key()).expect("an authority");
        let own = key();
        let cert = params(vec!["127.0.0.1".into()]).signed_by(&own, &ca);
        let ca_file = write("ca.pem", ca.pem());
        let cert_file = write("cert.pem", cert.expect("a certificate").pem());
        let key_file = write("key.pem", own.serialize_pem());
        let port = Port::free();
        let number = port.address().port().to_string();
        let mut all = vec!["--tls-port", &number, "--tls-auth-clients", "no"];
        all.extend(["--tls-cert-file", &cert_file, "--tls-key-file", &key_file]);
        all.extend(["--tls-ca-cert-file", &ca_file]);
        all.extend(args);
        let server = Redis::with(&all).await;
        RedisTls {
            server,
            port,
            directory,
        }
    }

    /// Its address by this host, which may have `user:password@` before it, and by its authority.
    pub fn url(&self, host: &str) -> String {
        let (port, ca) = (self.port.address().port(), self.directory.path());
        format!("rediss://{host}:{port}?ca={}/ca.pem", ca.display())
    }
}
