//! A connection's bytes, plain or under TLS, without a buffer or a task of its own: who reads says where to.
//!
//! The one rule of the TLS side: the socket is read only when nothing decrypted is left. So a read that found the socket
//! empty has also given out all that it held, and whoever waits for the socket misses nothing.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddrV4,
    task::{Context, Poll},
};

use rustls::ClientConnection;
use tokio::net::TcpStream;

use crate::{target::connect, tls::Tls};

/// One read of a client that reads into memory of its own.
const CHUNK: usize = 4 * 1024;

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    tls: Option<RefCell<ClientConnection>>,
}

impl Wire {
    /// Connects, and completes the TLS handshake where there is one. `index` and `receive_buffer` as in
    /// [`connect`].
    pub(crate) async fn open(
        address: SocketAddrV4,
        tls: Option<&Tls>,
        index: usize,
        receive_buffer: Option<u32>,
    ) -> io::Result<Self> {
        let stream = connect(address, index, receive_buffer).await?;
        let Some(tls) = tls else {
            return Ok(Self { stream, tls: None });
        };
        let mut connection = tls.connection().map_err(io::Error::other)?;
        while connection.is_handshaking() || connection.wants_write() {
            if connection.wants_write() {
                match connection.write_tls(&mut Socket(&stream)) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        stream.writable().await?;
                    }
                    written => {
                        written?;
                    }
                }
                continue;
            }
            match connection.read_tls(&mut Socket(&stream)) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => stream.readable().await?,
                read => {
                    read?;
                    connection.process_new_packets().map_err(invalid)?;
                }
            }
        }
        Ok(Self {
            stream,
            tls: Some(RefCell::new(connection)),
        })
    }

    /// Waits until a read is worth trying.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    /// What has arrived, as far as it fits; 0 is the end. `WouldBlock` when there is nothing.
    pub(crate) fn try_read(&self, to: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return self.stream.try_read(to);
        };
        let mut connection = tls.borrow_mut();
        loop {
            match connection.reader().read(to) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Many servers end without TLS' own goodbye.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            connection.read_tls(&mut Socket(&self.stream))?;
            connection.process_new_packets().map_err(invalid)?;
        }
    }

    /// Sends what the socket takes at once, and says how much that was.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return self.stream.try_write(bytes);
        };
        let mut connection = tls.borrow_mut();
        let taken = connection.writer().write(bytes)?;
        match flush(&mut connection, &self.stream) {
            // The connection has it; a later write sends it.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(taken),
            flushed => flushed.map(|()| taken),
        }
    }

    /// Sends all of it, however long that takes.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        loop {
            let flushed = flush(&mut tls.borrow_mut(), &self.stream);
            match flushed {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                done => return done,
            }
        }
    }

    /// Waits for bytes and appends them; 0 is the end.
    pub(crate) async fn read_some(&self, to: &mut Vec<u8>) -> io::Result<usize> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.try_read(&mut chunk) {
                Ok(count) => {
                    to.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.readable().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The bare socket, which nothing wakes any more; an error under TLS.
    pub(crate) fn into_socket(self) -> io::Result<std::net::TcpStream> {
        match self.tls {
            None => self.stream.into_std(),
            Some(_) => Err(io::Error::other("the bytes of a TLS socket say nothing")),
        }
    }
}

/// Sends what TLS has ready.
fn flush(connection: &mut ClientConnection, stream: &TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(&mut Socket(stream))?;
    }
    Ok(())
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// The socket as rustls takes one: without waiting.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(to)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpListener},
        sync::Arc,
        thread,
    };

    use rustls::{
        ServerConfig, ServerConnection, Stream,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };

    use super::*;
    use crate::tls::Certificate;

    /// More than the socket, rustls and one read hold.
    const MANY: usize = 3_000_000;

    #[tokio::test]
    async fn all_bytes_come_through_tls_whatever_a_read_takes() {
        let directory = tempfile::tempdir().unwrap();
        let made = Certificate::make(directory.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("bound to IPv4");
        };
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&made.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&made.key).unwrap(),
            )
            .unwrap();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            let mut asked = [0; 5];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"begin");
            let bytes: Vec<u8> = (0..MANY).map(|at| (at % 251) as u8).collect();
            stream.write_all(&bytes).unwrap();
            stream.flush().unwrap();
        });
        let tls = made.trusted().unwrap();
        let wire = Wire::open(address, Some(&tls), 0, None).await.unwrap();
        wire.write_all(b"begin").await.unwrap();
        let mut all = Vec::new();
        while wire.read_some(&mut all).await.unwrap() > 0 {}
        assert_eq!(all.len(), MANY);
        assert!(
            all.iter()
                .enumerate()
                .all(|(at, &byte)| byte == (at % 251) as u8)
        );
        server.join().unwrap();
        assert!(wire.into_socket().is_err());
    }
}
