//! A real nginx before a server, with the mistakes that a test wants.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::child::Child;
use super::port::Port;
use super::until;

pub struct Nginx {
    port: Port,
    _child: Child,
    _directory: TempDir,
}

impl Nginx {
    /// Starts one with these directives in its only `server { }`, and waits until it listens.
    pub async fn start(site: &str) -> Nginx {
        let port = Port::free();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_str().expect("a path");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {path}/{of}; "))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; {temporary}\nserver {{ listen {}; {site} }} }}\n",
            port.address()
        );
        let file = format!("{path}/nginx.conf");
        std::fs::write(&file, config).expect("a file");
        let log = format!("{path}/error.log");
        let child = Child::start("nginx", &["-e", &log, "-p", path, "-c", &file], &[]);
        let nginx = Nginx {
            port,
            _child: child,
            _directory: directory,
        };
        until("nginx listens", async || {
            TcpStream::connect(nginx.address()).await.is_ok()
        })
        .await;
        nginx
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}
