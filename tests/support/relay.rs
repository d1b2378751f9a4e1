//! A relay between one node and Redis: the network in between, to be cut, held and mended.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::port::Port;

/// What the relay does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Connections stay and new ones are accepted; bytes wait where they are.
    Frozen,
    /// Connections were ended, and new ones are refused.
    Stopped,
}

/// A TCP relay to one address.
pub struct Relay {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// Ends, with its connections, when the relay is dropped.
    _running: JoinSet<()>,
}

impl Relay {
    /// Relays to `target` from now on.
    pub fn to(target: SocketAddr) -> Relay {
        let port = Port::free();
        let address = port.address();
        let (state, changes) = watch::channel(State::Open);
        let listener = port.listen();
        let mut running = JoinSet::new();
        running.spawn(relay(port, listener, target, changes));
        Relay {
            address,
            state,
            _running: running,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Cuts: both ends see their connections end, and new ones are refused.
    pub fn stop(&self) {
        self.state.send_replace(State::Stopped);
    }

    /// Holds: neither end sees anything, not even an end.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Mends: held bytes go on, new connections are let through.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn relay(
    port: Port,
    listener: TcpListener,
    target: SocketAddr,
    mut changes: watch::Receiver<State>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let state = *changes.borrow_and_update();
        if state == State::Stopped {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = Some(port.listen());
        }
        let accepting = async {
            match &listener {
                Some(listener) => listener.accept().await.expect("a connection").0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            near = accepting => {
                connections.spawn(connect(near, target, changes.clone()));
            }
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

async fn connect(mut near: TcpStream, target: SocketAddr, changes: watch::Receiver<State>) {
    // Where nobody listens behind the relay, who comes through it is sent away.
    let Ok(mut far) = TcpStream::connect(target).await else {
        return;
    };
    for stream in [&near, &far] {
        stream.set_nodelay(true).ok();
    }
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    // The end of one direction is the end of both: Redis knows no half-closed connections.
    tokio::select! {
        () = pump(near_read, far_write, changes.clone()) => {}
        () = pump(far_read, near_write, changes) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut changes: watch::Receiver<State>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        // What has been read is held too, an end like any byte.
        if changes
            .wait_for(|state| *state == State::Open)
            .await
            .is_err()
        {
            return;
        }
        let Ok(count @ 1..) = read else { return };
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
