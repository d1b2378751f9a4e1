//! Absences that have lasted: Redis gives each to one node, which tells the webhooks of it.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;

use super::Node;
use crate::bus::Place;
use crate::hub::Topic;
use crate::webhooks::{Event, Lasted};

/// Claims and tells, until it is to end and nothing is left.
pub(super) async fn carry_out(node: Node, mut lasted: Receiver<Lasted>, end: Arc<Notify>) {
    loop {
        tokio::select! {
            biased;
            next = lasted.recv() => match next {
                Some(lasted) => claim(&node, lasted).await,
                None => return,
            },
            () = end.notified() => lasted.close(),
        }
    }
}

async fn claim(node: &Node, Lasted { app, event }: Lasted) {
    let (channel, user_id) = match &event {
        Event::ChannelVacated { channel } => (channel, ""),
        Event::MemberRemoved { channel, user_id } => (channel, &**user_id),
        _ => return,
    };
    let channel = channel.clone();
    let place = Place::Channel(Topic { app, channel });
    match node.bus.claim(&place, user_id).await {
        Ok(true) => node.webhooks.tell(app, &event),
        // Somebody came back, or another node tells.
        Ok(false) => {}
        // Redis is away at the end: better told, and perhaps told again by an heir, than not at all.
        Err(_) if node.webhooks.is_ending() => node.webhooks.tell(app, &event),
        // Redis is away: another grace, and then again.
        Err(_) => node.webhooks.hold(app, &event),
    }
}
