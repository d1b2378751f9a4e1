//! Absences that have lasted: Redis gives each to one node, which tells the webhooks of it.

use tokio::sync::mpsc::Receiver;

use super::Node;
use crate::bus::Place;
use crate::hub::Topic;
use crate::webhooks::{Event, Lasted};

/// Claims and tells, for ever.
pub(super) async fn carry_out(node: Node, mut lasted: Receiver<Lasted>) {
    while let Some(Lasted { app, event }) = lasted.recv().await {
        let (channel, user_id) = match &event {
            Event::ChannelVacated { channel } => (channel, ""),
            Event::MemberRemoved { channel, user_id } => (channel, &**user_id),
            _ => continue,
        };
        let channel = channel.clone();
        let place = Place::Channel(Topic { app, channel });
        match node.bus.claim(&place, user_id).await {
            Ok(true) => node.webhooks.tell(app, &event),
            // Somebody came back, or another node tells.
            Ok(false) => {}
            // Redis is away: another grace, and then again.
            Err(_) => node.webhooks.hold(app, &event),
        }
    }
}
