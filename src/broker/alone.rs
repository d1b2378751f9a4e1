//! Subscribing and leaving where this node decides by itself: there is no other.

use gema_protocol::presence::Member;
use gema_protocol::server;

use super::{Broker, Subscriber};
use crate::bus::NodeName;
use crate::hub::{ConnectionId, Topic};
use crate::presence::ChannelFull;
use crate::webhooks::Event;

/// The only node.
const HERE: NodeName = NodeName::ONLY;

impl Broker {
    pub(super) async fn subscribe_alone(
        &self,
        who: Subscriber,
        topic: &Topic,
        member: Option<&Member>,
    ) -> Result<(), ChannelFull> {
        let channel = topic.channel.as_str();
        if !self.remembers(topic) {
            let ack = server::subscription_succeeded(channel);
            self.hub.subscribe(who.id, topic, ack).await;
            return Ok(());
        }
        let mut stripe = self.lock(topic).await;
        let mut is_new = false;
        if let Some(member) = member {
            let members = stripe.members.entry(topic.clone()).or_default();
            // A channel is full only when somebody is in it: no empty entry stays behind.
            is_new = members.join(member, HERE, self.max_members)?;
        }
        let count = self.acknowledge(&mut stripe, who, topic, member).await;
        if count == 1 {
            self.emit(topic, |channel| Event::ChannelOccupied { channel });
        }
        if topic.channel.kind().cache {
            self.replay(&stripe, who.id, topic).await;
        }
        if let (Some(member), true) = (member, is_new) {
            let info = member.user_info.as_deref();
            let added = server::member_added(channel, &member.user_id, info);
            self.hub.publish(topic, &added, Some(who.socket)).await;
            let user_id = member.user_id.clone();
            self.emit(topic, |channel| Event::MemberAdded { channel, user_id });
        }
        self.count_changed_alone(&mut stripe, topic, count).await;
        Ok(())
    }

    pub(super) async fn unsubscribe_alone(
        &self,
        id: ConnectionId,
        topic: &Topic,
        member: Option<&Member>,
        going: bool,
    ) {
        if !self.remembers(topic) {
            self.hub.unsubscribe(id, topic, going).await;
            return;
        }
        let mut stripe = self.lock(topic).await;
        let count = self.hub.unsubscribe(id, topic, going).await;
        if let Some(member) = member
            && let Some(members) = stripe.members.get_mut(topic)
            && members.leave(&member.user_id, HERE)
        {
            if members.is_empty() {
                stripe.members.remove(topic);
            }
            let removed = server::member_removed(topic.channel.as_str(), &member.user_id);
            self.hub.publish(topic, &removed, None).await;
            let user_id = member.user_id.clone();
            self.emit(topic, |channel| Event::MemberRemoved { channel, user_id });
        }
        if count == 0 {
            self.emit(topic, |channel| Event::ChannelVacated { channel });
        }
        self.count_changed_alone(&mut stripe, topic, count).await;
    }
}
