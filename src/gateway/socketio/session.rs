//! One client of Socket.IO, in two tasks: what the hub has for it goes out, what it asks for comes in, one thing after the
//! other. Either ends both, and the guest is cleaned up after.

use std::sync::Arc;
use std::time::Duration;

use gema_protocol::frame::Frame;
use serde_json::json;
use serde_json::value::RawValue;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::{FromMessageParts, MessageHandler, Value};
use socketioxide::socket::Socket;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::debug;

use super::asked::{Client, Verdict};
use super::dress::Dressed;
use super::wire::Wire;
use crate::gateway::guest::Guest;
use crate::gateway::pusher::Gateway;
use crate::hub::{Drained, Link};

/// What a client may ask before the first is done. Who asks more does not wait for answers.
const INBOX: usize = 64;

/// How long a client that is sent away may take to go by itself. Before that it must fetch the packet that says so.
const LEAVE: Duration = Duration::from_secs(5);

/// The codes with which a client is not to come back (Pusher: 4000 to 4099).
const STAY_AWAY: std::ops::Range<u16> = 4000..4100;

/// An event that the client has emitted.
pub(super) struct Said {
    pub(super) event: String,
    pub(super) data: Option<Box<RawValue>>,
    /// For whoever waits for an answer.
    ack: Option<AckSender>,
}

/// Begins both tasks.
pub(super) fn begin(gateway: &Arc<Gateway>, socket: &Arc<Socket>, wire: Arc<Wire>, guest: Guest) {
    let (said, inbox) = mpsc::channel(INBOX);
    let ears = Ears {
        said,
        wire: wire.clone(),
    };
    socket.on_fallback(ears);
    let link = wire.link.clone();
    socket.on_disconnect(move || {
        link.sever();
        std::future::ready(())
    });
    // One that went before the line above has no way to say so; the hub finds it silent.
    let socket = SocketRef::from(socket.clone());
    let client = Client::new(gateway.clone(), guest);
    tokio::spawn(take_in(client, inbox, socket.clone(), wire.clone()));
    tokio::spawn(write_out(socket, wire));
}

/// Takes in whatever the client emits, in order; the engine's own handlers would run side by side.
struct Ears {
    said: mpsc::Sender<Said>,
    wire: Arc<Wire>,
}

impl MessageHandler<LocalAdapter, Ears> for Ears {
    fn call(&self, socket: Arc<Socket>, mut value: Value, ack: Option<i64>) {
        let Some((event, data)) = value.as_str().and_then(|text| read(text)) else {
            return;
        };
        let Ok(sender) = AckSender::from_message_parts(&socket, &mut value, &ack);
        let said = Said {
            event,
            data,
            ack: ack.is_some().then_some(sender),
        };
        if self.said.try_send(said).is_err() {
            debug!(socket = %socket.id, "asks faster than it is answered");
            self.wire.link.sever();
        }
    }
}

/// The event's name and its first argument, out of `["name", argument, …]`.
fn read(text: &str) -> Option<(String, Option<Box<RawValue>>)> {
    let mut parts = serde_json::from_str::<Vec<&RawValue>>(text)
        .ok()?
        .into_iter();
    let event = serde_json::from_str(parts.next()?.get()).ok()?;
    Some((event, parts.next().map(RawValue::to_owned)))
}

// What a client asks for is boxed: it is rare and its work large, and the waiting task without it is small (30 KiB before).
async fn take_in(
    mut client: Client,
    mut inbox: mpsc::Receiver<Said>,
    socket: SocketRef,
    wire: Arc<Wire>,
) {
    Box::pin(client.remember()).await;
    loop {
        let mut said = tokio::select! {
            biased;
            () = wire.link.severed() => return,
            said = inbox.recv() => match said {
                Some(said) => said,
                None => return,
            },
        };
        if wire.link.is_closing() {
            continue;
        }
        let ack = said.ack.take();
        let verdict = Box::pin(client.heed(said)).await;
        // No room for an answer, or nobody to hear it: the writing task ends for the same reason.
        match (verdict, ack) {
            (Verdict::Done(answer), Some(ack)) => drop(ack.send(&answer)),
            (Verdict::Done(_), None) => {}
            (Verdict::Refused { message, code }, Some(ack)) => {
                drop(ack.send(&json!({ "error": message, "code": code })));
            }
            (Verdict::Refused { message, code }, None) => {
                drop(socket.emit("error", &json!({ "message": message, "code": code })));
            }
            (Verdict::Abuse, _) => return wire.link.sever(),
        }
    }
}

async fn write_out(socket: SocketRef, wire: Arc<Wire>) {
    let ending = pump(&socket, &wire).await;
    wire.link.sever();
    // To a client of Socket.IO this means: do not come back. Any other end it takes for a broken connection.
    if let Ending::Finished { code: Some(code) } = ending
        && STAY_AWAY.contains(&code)
        && socket.clone().disconnect().is_ok()
    {
        sleep(LEAVE).await;
    }
    wire.cut();
}

/// Why there is nothing more to write.
enum Ending {
    /// The hub has said farewell, with the code of its close frame.
    Finished { code: Option<u16> },
    /// The client is gone, or is to be gone at once.
    Severed,
}

async fn pump(socket: &SocketRef, wire: &Wire) -> Ending {
    let mut code = None;
    loop {
        let frames = match wire.link.drain().await {
            Drained::Frames(frames) => frames,
            Drained::Finished => return Ending::Finished { code },
            Drained::Severed => return Ending::Severed,
        };
        for frame in frames {
            code = close_code(&frame).or(code);
            if let Some(dressed) = Dressed::of(&frame) {
                if !has_room(wire, &wire.link).await {
                    return Ending::Severed;
                }
                wire.handed(dressed.len());
                if let Err(error) = socket.emit(&dressed.event, &(&*dressed.data,)) {
                    debug!(socket = %socket.id, %error, "cannot be written to");
                    return Ending::Severed;
                }
            }
            // From here on the window (`wire`) bounds it.
            wire.link.wrote(frame.len());
        }
    }
}

async fn has_room(wire: &Wire, link: &Link) -> bool {
    tokio::select! {
        biased;
        () = wire.room() => true,
        () = link.severed() => false,
    }
}

/// The code of a close frame (RFC 6455, section 5.5.1).
fn close_code(frame: &Frame) -> Option<u16> {
    let is_close = frame.bytes().first() == Some(&0x88);
    let code = frame.payload().first_chunk().filter(|_| is_close)?;
    Some(u16::from_be_bytes(*code))
}
