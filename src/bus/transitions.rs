//! What this node writes into the registry of who is where, and reads there. A question has its place in the order of this node's
//! commands as soon as it is asked; its answer may be waited for elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gema_protocol::envelope::Envelope;
use gema_protocol::frame::Frame;

use super::redis::Command;
use super::{
    Bus, BusError, Holding, Interest, Move, NodeName, Outcome, Place, Snapshot, place, registry,
};
use crate::hub::Topic;

impl Bus {
    /// Writes a transition into the registry. It has its place in the order of this node's commands when this returns.
    pub fn change(
        &self,
        place: &Place,
        count: u32,
        change: Move<'_>,
        interest: Interest,
    ) -> impl Future<Output = Result<Outcome, BusError>> + Send + use<> {
        self.note(place, count);
        let home = self.home(self.base(place));
        let command = home.change(self.name(), count, change, interest);
        let answer = self.redis.ask(&home.base, command);
        async move { Ok(Outcome::read(answer.await?)?) }
    }

    /// Makes what this node holds in the place what it says here, and reads the place.
    pub fn sync(
        &self,
        place: &Place,
        holding: &Holding,
        interest: Interest,
    ) -> impl Future<Output = Result<Snapshot, BusError>> + Send + use<> {
        self.note(place, holding.count);
        let home = self.home(self.base(place));
        let command = home.sync(self.name(), holding, None, interest);
        let answer = self.redis.ask(&home.base, command);
        async move { Ok(Snapshot::read(answer.await?)?) }
    }

    /// Takes a dead node out of a place; this one is its heir.
    pub fn drop_node(
        &self,
        place: &Place,
        node: NodeName,
        interest: Interest,
    ) -> impl Future<Output = Result<Snapshot, BusError>> + Send + use<> {
        let nothing = Holding {
            count: 0,
            seats: Vec::new(),
        };
        let home = self.home(self.base(place));
        let command = home.sync(node, &nothing, Some(self.name()), interest);
        let answer = self.redis.ask(&home.base, command);
        async move { Ok(Snapshot::read(answer.await?)?) }
    }

    /// Ends an absence that this node holds: whether it was still held. An empty user is the place itself.
    pub async fn claim(&self, place: &Place, user: &str) -> Result<bool, BusError> {
        let home = self.home(self.base(place));
        let answer = self.redis.ask(&home.base, home.claim(user, self.name()));
        Ok(registry::read::<u8>(answer.await?)? == 1)
    }

    /// Subscriptions of a place by node.
    pub async fn counts(&self, place: &Place) -> Result<HashMap<NodeName, u32>, BusError> {
        let home = self.home(self.base(place));
        let answer = self.redis.ask(&home.base, home.counts());
        let counts: HashMap<u64, u32> = registry::read(answer.await?)?;
        let named = counts.into_iter();
        Ok(named
            .map(|(node, count)| (NodeName::of_number(node), count))
            .collect())
    }

    /// The ids of the members of a channel, in no order.
    pub async fn members(&self, topic: &Topic) -> Result<Vec<Arc<str>>, BusError> {
        let home = self.home(self.channel_base(topic));
        let answer = self.redis.ask(&home.base, home.members());
        let ids: Vec<String> = registry::read(answer.await?)?;
        Ok(ids.into_iter().map(Arc::from).collect())
    }

    /// The last event of a cache channel, and how long it will be replayed.
    pub async fn cached(&self, topic: &Topic) -> Result<Option<(Frame, Duration)>, BusError> {
        let home = self.home(self.channel_base(topic));
        let [event, life] = home
            .cached()
            .map(|command| self.redis.ask(&home.base, command));
        let event: Option<Vec<u8>> = registry::read(event.await?)?;
        let life: i64 = registry::read(life.await?)?;
        let envelope = event.and_then(|event| Envelope::decode(&event.into()).ok());
        let life = Duration::from_millis(u64::try_from(life).unwrap_or(0));
        Ok(envelope.map(|envelope| (envelope.frame, life)))
    }

    /// Writes into this node's index that it has, or has just had, to do with a place.
    pub(super) fn note(&self, place: &Place, count: u32) {
        let entry = place::entry(place.kind(), self.app_id(place.app()), place.name());
        let key = self.index_key(self.name());
        self.index(::redis::Cmd::hset(key, entry, count));
    }

    pub(super) fn index(&self, command: ::redis::Cmd) {
        let key = self.index_key(self.name());
        drop(self.redis.ask(&key, Command::Plain(command)));
    }
}
