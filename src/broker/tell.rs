//! What subscribers and webhooks are told of a change. Always under the channel's lock: in the channel's order.

use gema_protocol::channel::ChannelName;
use gema_protocol::presence::Member;
use gema_protocol::server;

use super::{Broker, Stripe, Subscriber};
use crate::bus::{Bus, Outcome, Snapshot};
use crate::clock;
use crate::hub::{ConnectionId, Topic};
use crate::presence::Turn;
use crate::webhooks::Event;

impl Broker {
    /// Subscribes in the hub with the right answer. Gives this node's subscriptions.
    pub(super) async fn acknowledge(
        &self,
        stripe: &mut Stripe,
        who: Subscriber,
        topic: &Topic,
        member: Option<&Member>,
    ) -> u32 {
        let channel = topic.channel.as_str();
        let ack = match (member, stripe.members.get(topic)) {
            (Some(_), Some(members)) => server::presence_succeeded(channel, members.roster()),
            (Some(_), None) => server::presence_succeeded(channel, []),
            (None, _) => server::subscription_succeeded(channel),
        };
        self.hub.subscribe(who.id, topic, ack).await
    }

    /// Sends a new subscriber the channel's last event, or says that there is none.
    pub(super) async fn replay(&self, stripe: &Stripe, id: ConnectionId, topic: &Topic) {
        let frame = match stripe.cache.get(topic, clock::now_ms()) {
            Some((frame, _)) => frame.clone(),
            None => {
                self.emit(topic, |channel| Event::CacheMiss { channel });
                server::cache_miss(topic.channel.as_str())
            }
        };
        self.hub.send(id, frame).await;
    }

    /// Tells the subscribers on this node who has come and gone.
    pub(super) async fn tell_turns(&self, topic: &Topic, turns: impl IntoIterator<Item = Turn>) {
        let channel = topic.channel.as_str();
        for turn in turns {
            let frame = match turn {
                Turn::Added { user_id, user_info } => {
                    server::member_added(channel, &user_id, user_info.as_deref())
                }
                Turn::Removed(user_id) => server::member_removed(channel, &user_id),
            };
            self.hub.publish(topic, &frame, None).await;
        }
    }

    /// Tells the subscribers on the only node how many they are now, and the back end, which hears of the last
    /// one's leaving too.
    pub(super) async fn count_changed_alone(&self, stripe: &mut Stripe, topic: &Topic, count: u32) {
        if self.counts(topic) && stripe.counts.changed(topic, count, clock::now_ms()) {
            self.tell_count(topic, count).await;
            self.emit(topic, |channel| Event::SubscriptionCount { channel, count });
        }
    }

    /// Tells the subscribers on this node how many there are in the cluster.
    pub(super) async fn total_changed(&self, stripe: &mut Stripe, topic: &Topic, total: u32) {
        if self.counts(topic) && stripe.counts.changed(topic, total, clock::now_ms()) {
            self.tell_count(topic, total).await;
        }
    }

    /// Tells the counts that had to wait and may be told now.
    pub(super) async fn tell_waiting_counts(&self, stripe: &mut Stripe) {
        let now_ms = clock::now_ms();
        for topic in stripe.counts.due(now_ms) {
            let count = match stripe.shared.get(&topic) {
                Some(shared) => shared.replica.total(),
                None => self.hub.subscription_count(&topic).await,
            };
            self.tell_count(&topic, count).await;
            if self.bus.is_none() {
                self.emit(&topic, |channel| Event::SubscriptionCount {
                    channel,
                    count,
                });
            }
        }
        for topic in stripe.reports.due(now_ms) {
            if let Some(shared) = stripe.shared.get(&topic) {
                let count = shared.replica.total();
                self.emit(&topic, |channel| Event::SubscriptionCount {
                    channel,
                    count,
                });
            }
        }
    }

    async fn tell_count(&self, topic: &Topic, count: u32) {
        let frame = server::subscription_count(topic.channel.as_str(), count);
        self.hub.publish(topic, &frame, None).await;
    }

    /// Tells the app's back end, if it wants to know. Who left may come back: the webhooks' grace sees to it.
    pub(super) fn emit(&self, topic: &Topic, event: impl FnOnce(ChannelName) -> Event) {
        if self.webhooks.wanted(topic.app) {
            self.webhooks.emit(topic.app, event(topic.channel.clone()));
        }
    }

    /// Tells the back end what this node's transition has come to. `born` is the channel's birth as this node knew it when
    /// it asked. The grace is held in Redis: a return may be on
    /// any node.
    pub(super) fn report(
        &self,
        bus: &Bus,
        stripe: &mut Stripe,
        topic: &Topic,
        (born, user_id): (u64, Option<&str>),
        outcome: &Outcome,
    ) {
        if !self.remembers(topic) || !self.webhooks.wanted(topic.app) {
            return;
        }
        let (app, channel) = (topic.app, topic.channel.clone());
        if born != 0 && born != outcome.birth {
            // Redis has lost the channel, and takes what everybody knew for new.
            let members = stripe.members.get(topic);
            if let (1, Some(user_id), Some(members)) = (outcome.gained, user_id, members)
                && !members.is_confirmed(user_id)
                && !members.is_elsewhere(user_id, bus.name())
            {
                self.report_found(topic, user_id);
            }
            return;
        }
        self.report_occupation(topic, outcome.before, outcome.after, outcome.reoccupied);
        if let Some(user_id) = user_id {
            let user_id = user_id.into();
            match (outcome.gained, outcome.returned) {
                (1, false) => {
                    let event = Event::MemberAdded { channel, user_id };
                    self.webhooks.tell(app, &event);
                }
                (1, true) => {
                    let event = Event::MemberAdded { channel, user_id };
                    self.webhooks.forget(app, &event);
                }
                (-1, _) => {
                    let event = Event::MemberRemoved { channel, user_id };
                    self.webhooks.hold(app, &event);
                }
                _ => {}
            }
        }
        self.report_count(stripe, topic, outcome.before, outcome.after);
    }

    /// Tells the back end of a member who is new.
    pub(super) fn report_found(&self, topic: &Topic, user_id: &str) {
        if self.webhooks.wanted(topic.app) {
            let (channel, user_id) = (topic.channel.clone(), user_id.into());
            let event = Event::MemberAdded { channel, user_id };
            self.webhooks.tell(topic.app, &event);
        }
    }

    /// Tells the back end what has changed when this node wrote all it holds. Where Redis had lost the channel
    /// (`is_intact`), only what is new: the rest was told before.
    pub(super) fn report_sync(
        &self,
        stripe: &mut Stripe,
        topic: &Topic,
        snapshot: &Snapshot,
        is_intact: bool,
        is_new: impl Fn(&str) -> bool,
    ) {
        if !self.remembers(topic) || !self.webhooks.wanted(topic.app) {
            return;
        }
        let app = topic.app;
        if is_intact {
            let Snapshot {
                before,
                after,
                reoccupied,
                ..
            } = *snapshot;
            self.report_occupation(topic, before, after, reoccupied);
            self.report_count(stripe, topic, before, after);
        }
        for user_id in &snapshot.added {
            if is_intact || is_new(user_id) {
                self.report_found(topic, user_id);
            }
        }
        for user_id in &snapshot.held {
            let (channel, user_id) = (topic.channel.clone(), user_id.clone());
            let event = if user_id.is_empty() {
                Event::ChannelVacated { channel }
            } else {
                Event::MemberRemoved { channel, user_id }
            };
            self.webhooks.hold(app, &event);
        }
    }

    fn report_count(&self, stripe: &mut Stripe, topic: &Topic, before: u32, count: u32) {
        if self.counts(topic)
            && before != count
            && stripe.reports.changed(topic, count, clock::now_ms())
        {
            let channel = topic.channel.clone();
            let event = Event::SubscriptionCount { channel, count };
            self.webhooks.tell(topic.app, &event);
        }
    }

    fn report_occupation(&self, topic: &Topic, before: u32, after: u32, reoccupied: bool) {
        let (app, channel) = (topic.app, topic.channel.clone());
        match (before, after) {
            (0, 1..) if reoccupied => {
                self.webhooks
                    .forget(app, &Event::ChannelOccupied { channel });
            }
            (0, 1..) => self.webhooks.tell(app, &Event::ChannelOccupied { channel }),
            (1.., 0) => self.webhooks.hold(app, &Event::ChannelVacated { channel }),
            _ => {}
        }
    }
}
