//! Subscribing and leaving on one of several nodes. Redis decides who is new and who is gone, and tells all nodes alike,
//! this one included; here it is asked, and waited for with a limit. While it is away this node decides by itself.

use std::sync::Arc;
use std::time::Duration;

use gema_protocol::presence::Member;
use gema_protocol::server;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Broker, Stripe, Subscriber};
use crate::bus::{Bus, BusError, Heard, Interest, Move, Outcome, Place, Replica};
use crate::clock;
use crate::hub::{ConnectionId, Topic};
use crate::presence::ChannelFull;

/// How long a subscriber waits for Redis before it is answered from what is known here.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how long a channel is listened to after its last subscriber has left: a page that is loaded anew comes back
/// within it, and the absences that this node holds for the webhooks' grace of three seconds end within it.
const LINGER_MS: u64 = 5000;

/// A channel that this node listens to.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    /// Subscriptions on this node, with those that are being made.
    pub(super) subscriptions: u32,
    pub(super) replica: Replica,
    /// Redis sends its news over the connection there is.
    pub(super) is_listening: bool,
    /// Raised when Redis may not have what this node holds; the place is read again until it has.
    pub(super) doubts: u32,
    /// Up to which doubt that has been seen to.
    pub(super) dispelled: u32,
    /// Since when Redis knew the channel when it was last read; 0 = it never was.
    pub(super) birth: u64,
    pub(super) heard: Heard,
    /// The version of the cached event.
    pub(super) cached: u64,
    /// Since when nobody here subscribes.
    idle_since_ms: Option<u64>,
    counting: Counting,
    /// Something that a subscriber may wait for has happened.
    pub(super) changed: Arc<Notify>,
}

/// Whether Redis knows the number of subscriptions. One telling at a time: while it is under way the number may change
/// often, and goes once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    Told,
    UnderWay,
    UnderWayAndStale,
}

impl Shared {
    fn new(place: Place) -> Shared {
        Shared {
            place,
            subscriptions: 0,
            replica: Replica::default(),
            is_listening: false,
            doubts: 0,
            dispelled: 0,
            birth: 0,
            heard: Heard::default(),
            cached: 0,
            idle_since_ms: None,
            counting: Counting::Told,
            changed: Arc::default(),
        }
    }
}

impl Broker {
    pub(super) async fn subscribe_shared(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        who: Subscriber,
        topic: &Topic,
        member: Option<&Member>,
    ) -> Result<(), ChannelFull> {
        let deadline = Instant::now() + PATIENCE;
        let joining = {
            let mut stripe = self.lock(topic).await;
            self.enter(bus, &mut stripe, topic, member)
        };
        let mut version = 0;
        if let Some(joining) = joining
            && let Ok(Ok(Ok(outcome))) = timeout_at(deadline, joining).await
        {
            if outcome.full {
                let mut stripe = self.lock(topic).await;
                self.exit(bus, &mut stripe, topic, member).await;
                self.read(bus, &mut stripe, topic);
                let max = self.max_members;
                return Err(ChannelFull { max });
            }
            version = outcome.version;
        }
        loop {
            let mut stripe = self.lock(topic).await;
            let Some(shared) = stripe.shared.get(topic) else {
                // It is kept while somebody subscribes, and this one does.
                return Ok(());
            };
            let is_ready = shared.replica.is_loaded() && shared.replica.version() >= version;
            if !is_ready && bus.is_up(&shared.place) && Instant::now() < deadline {
                let changed = shared.changed.clone();
                let mut changed = std::pin::pin!(changed.notified());
                changed.as_mut().enable();
                drop(stripe);
                drop(timeout_at(deadline, changed).await);
                continue;
            }
            if let Err(full) = self.admit(bus, &mut stripe, topic, member).await {
                self.exit(bus, &mut stripe, topic, member).await;
                return Err(full);
            }
            self.acknowledge(&mut stripe, who, topic, member).await;
            if topic.channel.kind().cache {
                self.replay(&stripe, who.id, topic).await;
            }
            if self.counts(topic)
                && let Some(shared) = stripe.shared.get(topic)
            {
                let count = shared.replica.total();
                let frame = server::subscription_count(topic.channel.as_str(), count);
                self.hub.send(who.id, frame).await;
            }
            return Ok(());
        }
    }

    pub(super) async fn unsubscribe_shared(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        id: ConnectionId,
        topic: &Topic,
        member: Option<&Member>,
        going: bool,
    ) {
        let mut stripe = self.lock(topic).await;
        self.hub.unsubscribe(id, topic, going).await;
        self.exit(bus, &mut stripe, topic, member).await;
    }

    /// What is told of this channel's changes.
    pub(super) fn interest(&self, topic: &Topic) -> Interest {
        Interest {
            hold: self.remembers(topic) && self.webhooks.wanted(topic.app),
            tell: self.counts(topic),
        }
    }

    /// Counts one more subscription, and one more connection of the member; gives what Redis says to a new member.
    fn enter(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        stripe: &mut Stripe,
        topic: &Topic,
        member: Option<&Member>,
    ) -> Option<tokio::task::JoinHandle<Result<Outcome, BusError>>> {
        let place = Place::Channel(topic.clone());
        let is_up = bus.is_up(&place);
        let is_first = !stripe.shared.contains_key(topic);
        let shared = stripe.shared.entry(topic.clone());
        let shared = shared.or_insert_with(|| Shared::new(place));
        shared.subscriptions += 1;
        shared.idle_since_ms = None;
        let mut joining = None;
        if let Some(member) = member {
            let members = stripe.members.entry(topic.clone()).or_default();
            if members.seat(member, bus.name()) && is_up {
                let max = self.max_members;
                let change = Move::Join { member, max };
                joining = Some(self.ask(bus, stripe, topic, change));
            }
        }
        if is_up {
            let is_loaded = stripe
                .shared
                .get(topic)
                .is_some_and(|s| s.replica.is_loaded());
            if !is_loaded {
                self.read(bus, stripe, topic);
            }
            // A reading that began before this subscription does not speak of it.
            if !is_first && joining.is_none() {
                self.tell_registry(bus, stripe, topic);
            }
        } else {
            self.own_count_changed(bus, stripe, topic);
        }
        joining
    }

    /// Where Redis has not made the member one, this node does.
    async fn admit(
        &self,
        bus: &Bus,
        stripe: &mut Stripe,
        topic: &Topic,
        member: Option<&Member>,
    ) -> Result<(), ChannelFull> {
        let (Some(member), here) = (member, bus.name()) else {
            return Ok(());
        };
        let Some(members) = stripe.members.get_mut(topic) else {
            return Ok(());
        };
        if members.is_here(&member.user_id, here) {
            return Ok(());
        }
        let max = self.max_members;
        let known = members.ids().any(|id| *id == member.user_id);
        if !known && members.len() >= max {
            return Err(ChannelFull { max });
        }
        if members.admit(&member.user_id, here) {
            let info = member.user_info.as_deref();
            let added = server::member_added(topic.channel.as_str(), &member.user_id, info);
            self.hub.publish(topic, &added, None).await;
        }
        Ok(())
    }

    /// Takes a subscription back, and a connection of the member.
    async fn exit(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        stripe: &mut Stripe,
        topic: &Topic,
        member: Option<&Member>,
    ) {
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        shared.subscriptions = shared.subscriptions.saturating_sub(1);
        if shared.subscriptions == 0 {
            shared.idle_since_ms = Some(clock::now_ms());
        }
        let is_up = bus.is_up(&shared.place);
        let members = stripe.members.get_mut(topic);
        let leaving = match (member, members) {
            (Some(member), Some(members)) => {
                members.unseat(&member.user_id).then_some(&*member.user_id)
            }
            _ => None,
        };
        match leaving {
            Some(user_id) if is_up => drop(self.ask(bus, stripe, topic, Move::Leave(user_id))),
            Some(user_id) => {
                let members = stripe.members.get_mut(topic);
                if members.is_some_and(|members| members.dismiss(user_id, bus.name())) {
                    let removed = server::member_removed(topic.channel.as_str(), user_id);
                    self.hub.publish(topic, &removed, None).await;
                }
            }
            None if is_up => self.tell_registry(bus, stripe, topic),
            None => {}
        }
        if !is_up {
            self.own_count_changed(bus, stripe, topic);
        }
    }

    /// Asks Redis for a transition, and sees to what follows from it.
    fn ask(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        stripe: &Stripe,
        topic: &Topic,
        change: Move<'_>,
    ) -> tokio::task::JoinHandle<Result<Outcome, BusError>> {
        let shared = stripe.shared.get(topic);
        let count = shared.map_or(0, |shared| shared.subscriptions);
        let born = shared.map_or(0, |shared| shared.birth);
        let place = Place::Channel(topic.clone());
        let answer = bus.change(&place, count, change, self.interest(topic));
        let user_id: Option<Arc<str>> = match change {
            Move::None => None,
            Move::Join { member, .. } => Some(member.user_id.clone()),
            Move::Leave(user_id) => Some(user_id.into()),
        };
        let (broker, topic) = (self.clone(), topic.clone());
        let (bus, is_joining) = (bus.clone(), matches!(change, Move::Join { .. }));
        tokio::spawn(async move {
            let answer = answer.await;
            let mut stripe = broker.lock(&topic).await;
            match &answer {
                Ok(outcome) if outcome.full => {}
                Ok(outcome) => {
                    let user_id = user_id.as_deref();
                    broker.report(&bus, &mut stripe, &topic, (born, user_id), outcome);
                }
                Err(error) => {
                    bus.note_refusal(error);
                    if let Some(shared) = stripe.shared.get_mut(&topic) {
                        shared.doubts = shared.doubts.wrapping_add(1);
                    }
                    if let (true, Some(user_id), Some(members)) =
                        (is_joining, &user_id, stripe.members.get_mut(&topic))
                    {
                        members.lose(user_id);
                    }
                }
            }
            answer
        })
    }

    /// Tells Redis this node's number of subscriptions, unless that is under way: then afterwards.
    fn tell_registry(self: &Arc<Self>, bus: &Arc<Bus>, stripe: &mut Stripe, topic: &Topic) {
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        if shared.counting != Counting::Told {
            shared.counting = Counting::UnderWayAndStale;
            return;
        }
        shared.counting = Counting::UnderWay;
        let asked = self.ask(bus, stripe, topic, Move::None);
        let (broker, bus, topic) = (self.clone(), bus.clone(), topic.clone());
        tokio::spawn(async move {
            drop(asked.await);
            let mut stripe = broker.lock(&topic).await;
            let Some(shared) = stripe.shared.get_mut(&topic) else {
                return;
            };
            let was = std::mem::replace(&mut shared.counting, Counting::Told);
            if was == Counting::UnderWayAndStale && bus.is_up(&shared.place) {
                broker.tell_registry(&bus, &mut stripe, &topic);
            }
        });
    }

    /// Counts by itself, while Redis is away.
    fn own_count_changed(&self, bus: &Bus, stripe: &mut Stripe, topic: &Topic) {
        if let Some(shared) = stripe.shared.get_mut(topic)
            && self.counts(topic)
        {
            let count = shared.subscriptions;
            shared.replica.set_count(bus.name(), count);
        }
    }

    /// Says again what Redis may not have, and ends listening to channels that nobody here has subscribed to for a while.
    /// A channel is not forgotten before Redis has it that nobody is there.
    pub(super) fn tidy(self: &Arc<Self>, bus: &Arc<Bus>, stripe: &mut Stripe) {
        let doubtful = stripe.shared.iter();
        let doubtful = doubtful.filter(|(_, shared)| shared.doubts != shared.dispelled);
        let doubtful: Vec<_> = doubtful.map(|(topic, _)| topic.clone()).collect();
        for topic in doubtful {
            self.read(bus, stripe, &topic);
        }
        let now_ms = clock::now_ms();
        let Stripe {
            members,
            shared,
            cache,
            ..
        } = stripe;
        shared.retain(|topic, shared| {
            let is_over = shared
                .idle_since_ms
                .is_some_and(|since| now_ms >= since + LINGER_MS);
            let is_known = shared.replica.is_loaded()
                && !shared.replica.is_reading()
                && shared.counting == Counting::Told
                && shared.doubts == shared.dispelled
                && bus.is_up(&shared.place);
            if is_over && is_known {
                bus.unlisten(&shared.place);
                members.remove(topic);
                cache.forget(topic);
                return false;
            }
            true
        });
    }
}
