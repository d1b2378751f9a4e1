//! Keeping what this node knows of its channels true, with other nodes: news is applied, a channel is read when it is new
//! here, when news is missing, when Redis is back, and now and then; while Redis is away this node goes by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gema_protocol::envelope::Envelope;

use super::{Broker, STRIPES, Stripe};
use crate::bus::redis::LinkId;
use crate::bus::{Bus, BusError, CachedEvent, Holding, News, NodeName, Place, Snapshot, Step};
use crate::clock;
use crate::hub::Topic;
use crate::presence::{Members, Turn};

impl Broker {
    /// Takes what another node has said about a channel.
    pub async fn hear(self: &Arc<Self>, topic: &Topic, news: News) {
        let Some(bus) = &self.bus else { return };
        let mut stripe = self.lock(topic).await;
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        let mut step = shared.replica.take(&news);
        let total = shared.replica.total();
        shared.changed.notify_waiters();
        match news {
            News::Event(event) => self.deliver(bus, &mut stripe, topic, &event).await,
            News::Cached { version, event } => {
                if version > shared.cached {
                    shared.cached = version;
                    // An own one is remembered already, and perhaps a later one.
                    if !bus.is_own(&event) || bus.is_last_own(topic, &event) {
                        stripe.cache.put(topic, &event.frame, clock::now_ms());
                    }
                }
                self.deliver(bus, &mut stripe, topic, &event).await;
            }
            News::Member { member, .. } if step != Step::Old => {
                let members = stripe.members.entry(topic.clone()).or_default();
                if members.is_doubted(&member.user_id, &member.nodes, bus.name()) {
                    // Reading the channel says again who is here.
                    step = Step::Gap;
                }
                let turn = members.set(member, bus.name());
                self.tell_turns(topic, turn).await;
            }
            News::Count { .. } if step != Step::Old => {
                self.total_changed(&mut stripe, topic, total).await;
            }
            News::Member { .. } | News::Count { .. } | News::Terminate => {}
        }
        if step == Step::Gap {
            self.read(bus, &mut stripe, topic);
        }
    }

    /// A link to Redis is there anew: its channels are listened to and read, some at a time, for others have something to
    /// say too. When this returns Redis knows what this node holds.
    pub async fn come_back(self: &Arc<Self>, link: LinkId) {
        let Some(bus) = &self.bus else { return };
        for stripe in &self.stripes {
            let mut last = None;
            {
                let mut stripe = stripe.lock().await;
                for topic in topics_of(bus, &stripe, link) {
                    self.read(bus, &mut stripe, &topic);
                    last = Some(topic);
                }
            }
            if let Some(topic) = last {
                bus.reached(&Place::Channel(topic)).await;
            }
        }
    }

    /// A link to Redis is gone: its channels go by what this node knows.
    pub async fn cut_off(&self, link: LinkId) {
        let Some(bus) = &self.bus else { return };
        let here = bus.name();
        for stripe in &self.stripes {
            let mut stripe = stripe.lock().await;
            for topic in topics_of(bus, &stripe, link) {
                let members = stripe.members.get_mut(&topic);
                let turns = members.map_or_else(Vec::new, |members| members.cut_off(here));
                self.tell_turns(&topic, turns).await;
                let Some(shared) = stripe.shared.get_mut(&topic) else {
                    continue;
                };
                let count = if self.counts(&topic) {
                    shared.subscriptions
                } else {
                    0
                };
                shared.is_listening = false;
                shared.replica.cut_off(here, count);
                shared.changed.notify_waiters();
            }
        }
    }

    /// Reads every channel that this node listens to and says what it holds there; one part of [`Broker::PARTS`].
    pub async fn assert_part(self: &Arc<Self>, part: usize) {
        let Some(bus) = &self.bus else { return };
        let mut last = None;
        {
            let mut stripe = self.stripes[part % STRIPES].lock().await;
            let topics: Vec<_> = stripe.shared.keys().cloned().collect();
            for topic in topics {
                self.read(bus, &mut stripe, &topic);
                last = Some(topic);
            }
        }
        if let Some(topic) = last {
            bus.reached(&Place::Channel(topic)).await;
        }
    }

    /// How many parts there are.
    pub const PARTS: usize = STRIPES;

    /// Takes a dead node out of a channel, as its heir.
    ///
    /// # Errors
    /// Redis is away; the channel is to be tried again.
    pub async fn bury(&self, topic: &Topic, node: NodeName) -> Result<(), BusError> {
        let Some(bus) = &self.bus else { return Ok(()) };
        let place = Place::Channel(topic.clone());
        let snapshot = bus.drop_node(&place, node, self.interest(topic)).await?;
        let mut stripe = self.lock(topic).await;
        self.report_sync(&mut stripe, topic, &snapshot, true, |_| true);
        Ok(())
    }

    /// Reads a channel, unless that is under way, and says what this node holds there.
    pub(super) fn read(self: &Arc<Self>, bus: &Arc<Bus>, stripe: &mut Stripe, topic: &Topic) {
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        if !bus.is_up(&shared.place) {
            return;
        }
        let Some(number) = shared.replica.begin(bus.is_settled(&shared.place)) else {
            return;
        };
        let members = stripe.members.get(topic);
        let holding = Holding {
            count: shared.subscriptions,
            seats: members.map_or_else(Vec::new, |members| members.holding(bus.name())),
        };
        let new = members.map_or_else(HashSet::new, Members::unconfirmed);
        let listening = (!shared.is_listening).then(|| bus.listen(&shared.place));
        let answer = bus.sync(&shared.place, &holding, self.interest(topic));
        let asked = Asked {
            number,
            doubts: shared.doubts,
            new,
        };
        let (broker, bus, topic) = (self.clone(), bus.clone(), topic.clone());
        tokio::spawn(async move {
            let listening = match listening {
                Some(listening) => listening.await,
                None => Ok(()),
            };
            let answer = listening.and(answer.await);
            // What was said before this answer is heard before it.
            bus.caught_up().await;
            broker.loaded(&bus, &topic, asked, answer).await;
        });
    }

    async fn loaded(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        topic: &Topic,
        asked: Asked,
        answer: Result<Snapshot, BusError>,
    ) {
        let mut stripe = self.lock(topic).await;
        let here = bus.name();
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        let snapshot = match answer {
            Ok(snapshot) => snapshot,
            Err(error) => {
                bus.note_refusal(&error);
                if shared.replica.fail(asked.number) {
                    shared.doubts = shared.doubts.wrapping_add(1);
                }
                shared.changed.notify_waiters();
                return;
            }
        };
        let before = shared.replica.total();
        let loaded = shared.replica.load(asked.number, &snapshot);
        if loaded.is_some() {
            shared.is_listening = true;
            shared.dispelled = asked.doubts;
        }
        let total = shared.replica.total();
        shared.changed.notify_waiters();
        let was_born = std::mem::replace(&mut shared.birth, snapshot.birth);
        let is_intact = was_born == 0 || was_born == snapshot.birth_before;
        let is_new = |user_id: &str| asked.new.contains(user_id);
        self.report_sync(&mut stripe, topic, &snapshot, is_intact, is_new);
        bus.suspect(&Place::Channel(topic.clone()), &snapshot);
        let Some(loaded) = loaded else {
            return;
        };
        if topic.channel.kind().is_presence() {
            let members = stripe.members.entry(topic.clone()).or_default();
            let turns = members.load(loaded.members, here, loaded.settled);
            let (gone, come): (Vec<_>, Vec<_>) = turns
                .into_iter()
                .partition(|turn| matches!(turn, Turn::Removed(_)));
            self.tell_turns(topic, gone.into_iter().chain(come)).await;
            let members = stripe.members.get_mut(topic);
            let found = members.map_or_else(Vec::new, |members| members.take_found(here));
            for user_id in found.iter().filter(|found| !snapshot.added.contains(found)) {
                self.report_found(topic, user_id);
            }
        }
        if before != total {
            self.total_changed(&mut stripe, topic, total).await;
        }
        if topic.channel.kind().cache {
            let event = snapshot.cached;
            self.catch_up(bus, &mut stripe, topic, event, loaded.first)
                .await;
        }
        if loaded.again {
            self.read(bus, &mut stripe, topic);
        }
    }

    /// Brings the last event of a cache channel here and in Redis to the newer of both.
    async fn catch_up(
        &self,
        bus: &Bus,
        stripe: &mut Stripe,
        topic: &Topic,
        cached: Option<CachedEvent>,
        first: bool,
    ) {
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        let known = cached.and_then(|cached| {
            let event = Envelope::decode(&cached.envelope).ok()?;
            Some((cached.version, event, cached.left))
        });
        match known {
            Some((version, event, left)) if version > shared.cached => {
                shared.cached = version;
                let now_ms = clock::now_ms();
                stripe.cache.put_for(topic, &event.frame, left, now_ms);
                // Whoever was here while Redis was away has missed it. What was restored is nothing new.
                if event.run > 0 {
                    self.deliver(bus, stripe, topic, &event).await;
                }
            }
            Some(_) => {}
            None if first => {
                if let Some((frame, left_ms)) = stripe.cache.get(topic, clock::now_ms()) {
                    bus.restore(topic, frame, Duration::from_millis(left_ms));
                }
            }
            None => {}
        }
    }

    /// Hands an event of another node to the subscribers here, once.
    async fn deliver(&self, bus: &Bus, stripe: &mut Stripe, topic: &Topic, event: &Envelope) {
        if bus.is_own(event) {
            return;
        }
        let Some(shared) = stripe.shared.get_mut(topic) else {
            return;
        };
        if let Some(missing) = shared.heard.note(event) {
            bus.count_gaps(missing);
            let show = || self.show(topic, &event.frame, None);
            self.hub
                .publish_and(topic, &event.frame, event.except, show)
                .await;
        }
    }
}

/// A reading that is under way.
struct Asked {
    number: u32,
    doubts: u32,
    /// Users of this node whom the registry has never had.
    new: HashSet<Arc<str>>,
}

fn topics_of(bus: &Bus, stripe: &Stripe, link: LinkId) -> Vec<Topic> {
    let shared = stripe.shared.iter();
    let of_link = shared.filter(|(_, shared)| bus.link_of(&shared.place) == Some(link));
    of_link.map(|(topic, _)| topic.clone()).collect()
}
