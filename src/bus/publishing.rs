//! What this node sends to the others. It never waits: while Redis is away it is kept.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gema_protocol::envelope::Envelope;
use gema_protocol::frame::Frame;
use gema_protocol::socket_id::SocketId;

use super::redis::Command;
use super::{Bus, BusError, Place, lock, news};
use crate::hub::Topic;

impl Bus {
    /// Sends an event to the other nodes, when Redis is back if it is away. Never waits.
    pub fn publish(&self, topic: &Topic, frame: &Frame, except: Option<SocketId>) {
        let base = self.channel_base(topic);
        let payload = self.envelope(topic, frame, except).encode();
        let channel = base.clone();
        self.redis
            .keep(&base, Command::Publish { channel, payload });
    }

    /// Whether Redis has had everything published in this channel so far. It asks, and so may take a moment.
    ///
    /// # Errors
    /// Redis is away; then nobody knows.
    pub async fn has_had(&self, topic: &Topic) -> Result<bool, BusError> {
        // The answer comes after the publications before it, unless they are being held after an outage.
        self.counts(&Place::Channel(topic.clone())).await?;
        Ok(!self.redis.keeps_any(&self.channel_base(topic)))
    }

    /// The same for an event of a cache channel, which Redis remembers for `life`.
    pub fn publish_cached(
        &self,
        topic: &Topic,
        frame: &Frame,
        except: Option<SocketId>,
        life: Duration,
    ) {
        let home = self.home(self.channel_base(topic));
        let payload = self.envelope(topic, frame, except).encode();
        let command = home.cache(payload, life.as_millis() as u64, false);
        self.redis.keep(&home.base, command);
    }

    /// Gives Redis the last event of a cache channel back, which it has lost.
    pub fn restore(&self, topic: &Topic, frame: &Frame, life: Duration) {
        let home = self.home(self.channel_base(topic));
        // Counted by nobody: it is not sent.
        let envelope = Envelope {
            node: self.node,
            run: 0,
            number: 0,
            except: None,
            frame: frame.clone(),
        };
        let command = home.cache(envelope.encode(), life.as_millis() as u64, true);
        drop(self.redis.ask(&home.base, command));
    }

    /// Asks all nodes to close the connections of a user.
    pub fn terminate(&self, app: u32, user: &str) {
        let id = user.into();
        let base = self.base(&Place::User { app, id });
        let (channel, payload) = (base.clone(), news::TERMINATE.to_vec());
        self.redis
            .keep(&base, Command::Publish { channel, payload });
    }

    /// Whether this event is the last that this node has sent to the channel.
    pub fn is_last_own(&self, topic: &Topic, envelope: &Envelope) -> bool {
        lock(&self.sent).last(topic) == Some((envelope.run, envelope.number))
    }

    fn envelope(&self, topic: &Topic, frame: &Frame, except: Option<SocketId>) -> Envelope {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        let (run, number) = lock(&self.sent).next(topic);
        Envelope {
            node: self.node,
            run,
            number,
            except,
            frame: frame.clone(),
        }
    }
}
