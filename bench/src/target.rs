//! What is measured: a Pusher-protocol server and the app to use on it, or the floor; and a plain connection to either.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use tokio::net::{TcpSocket, TcpStream};

use crate::{doors::Door, error::BenchError, meter::Meter, tls::Tls};

/// Loopback source addresses taken in turn, so that rounds of 10,000 do not run out of ports.
const SOURCES: usize = 16;

/// What a gema that is started here believes tokens by.
pub(crate) const JWT_SECRET: &str = "the secret of the benchmark, known to all";

/// A Pusher-protocol server and the app to use on it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddrV4,
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    /// How its port is spoken to, the trigger API's included; `None` is plain.
    pub(crate) tls: Option<Tls>,
    /// Which way its clients come in.
    pub(crate) door: Door,
    /// HS256, for doors that want a token.
    pub(crate) jwt_secret: String,
}

impl App {
    /// The app that gema serves when it is told of none.
    pub(crate) fn embedded(address: SocketAddrV4) -> Self {
        Self {
            address,
            id: "app-id".to_owned(),
            key: "app-key".to_owned(),
            secret: "app-secret".to_owned(),
            tls: None,
            door: Door::Pusher,
            jwt_secret: JWT_SECRET.to_owned(),
        }
    }
}

/// What is being measured.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A server that speaks the Pusher protocol.
    Pusher(App),
    /// The raw send() floor: its subscribers are bare TCP connections.
    Floor(SocketAddrV4),
}

impl Target {
    pub(crate) fn address(&self) -> SocketAddrV4 {
        match self {
            Self::Pusher(app) => app.address,
            Self::Floor(address) => *address,
        }
    }
}

/// A server under test, and the process to read CPU and memory of where that is known.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) target: Target,
    pub(crate) meter: Meter,
}

impl Subject {
    /// The app, for what only a Pusher-protocol server can do.
    pub(crate) fn app(&self) -> Result<&App, BenchError> {
        match &self.target {
            Target::Pusher(app) => Ok(app),
            Target::Floor(_) => Err(BenchError::Protocol(
                "the floor knows nothing but fan-out and answering".to_owned(),
            )),
        }
    }
}

/// Connects connection number `index`. `receive_buffer`: bytes of SO_RCVBUF, for a client that means not to read.
pub(crate) async fn connect(
    address: SocketAddrV4,
    index: usize,
    receive_buffer: Option<u32>,
) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if address.ip().is_loopback() {
        socket.set_reuseaddr(true)?;
        let last = u8::try_from(2 + index % SOURCES).unwrap_or(2);
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address.into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
