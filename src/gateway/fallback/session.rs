//! The task of one session: it owns the connection, heeds what the client sends, and lets out what the hub has
//! for it. When it ends, for whatever reason, the connection is dropped and so cleaned up after.

use std::sync::Arc;

use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use tokio::sync::mpsc;

use super::Seat;
use super::outlet::{Flow, Outlet, PATIENCE};
use super::response::Response;
use crate::clock;
use crate::gateway::pusher::Gateway;
use crate::gateway::pusher::connection::Connection;
use crate::gateway::pusher::handshake::Accepted;
use crate::hub::{Farewell, Link};

/// What the client asks of its session.
#[derive(Debug)]
pub(super) enum Request {
    /// Something to write to.
    Receive(Response),
    /// Messages, each one a frame's JSON. None at all is a sign of life.
    Send(Vec<String>),
}

pub(super) struct Session {
    connection: Connection,
    /// `limits.message_bytes`
    message_bytes: usize,
    /// The farewell is on its way; the client is no longer heeded.
    leaving: bool,
}

impl Session {
    /// Serves one session from the request that began it to its end.
    pub(super) async fn run(
        gateway: Arc<Gateway>,
        accepted: Accepted,
        _seat: Seat,
        mut requests: mpsc::Receiver<Request>,
        response: Response,
    ) {
        let link = Arc::new(Link::door());
        let mut outlet = Outlet::new(link.clone(), response, PATIENCE);
        let mut session = Session {
            message_bytes: gateway.message_bytes,
            connection: Box::pin(Connection::open(gateway, accepted, link.clone())).await,
            leaving: false,
        };
        loop {
            let flow = tokio::select! {
                flow = outlet.turn() => flow,
                () = link.severed() => Flow::Ended,
                request = requests.recv() => {
                    link.heard(clock::now_ms());
                    match request {
                        Some(Request::Receive(response)) => outlet.receive(response),
                        // Boxed: a message is rare and its work large, the waiting task is small.
                        Some(Request::Send(texts)) => {
                            outlet.heard();
                            session.leaving |= link.is_closing();
                            Box::pin(session.heed(texts)).await;
                            Flow::On
                        }
                        None => Flow::Ended,
                    }
                }
            };
            if flow == Flow::Ended {
                return;
            }
        }
    }

    async fn heed(&mut self, texts: Vec<String>) {
        for text in texts {
            if self.leaving {
                return;
            }
            if text.len() > self.message_bytes {
                let max = self.message_bytes;
                let reason = format!("Message exceeds limits.message_bytes ({max} bytes)");
                let close = Frame::close(Code::MessageTooBig.as_u16(), &reason);
                self.connection.close(Farewell { error: None, close }).await;
                self.leaving = true;
                return;
            }
            self.connection.on_text(&text).await;
        }
    }
}
