//! A port on loopback that stays the test's own while nobody listens on it: connections to it are refused, and no
//! other process gets it meanwhile.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// The port: bound and never listening. With `SO_REUSEADDR` on both sockets Linux lets another listen beside it.
pub struct Port {
    socket: TcpSocket,
}

impl Port {
    pub fn free() -> Port {
        Port {
            socket: socket("127.0.0.1:0".parse().expect("an address")),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Begins to listen; dropping the listener ends it, and connections are refused again.
    pub fn listen(&self) -> TcpListener {
        socket(self.address()).listen(1024).expect("a listener")
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a port that is ours");
    socket
}
