//! What the shards have done and what they hold, for the figures. Each counts for itself in plain integers, since it alone
//! writes to its connections; a scrape asks it by a command.

use std::collections::BTreeMap;

use gema_protocol::channel::Access;

/// A connection that ends without a close frame counts under this code, which RFC 6455 (section 7.4.1) keeps for that.
pub(super) const NO_CLOSE_FRAME: u16 = 1006;

/// The codes that are counted one by one: those of RFC 6455 that clients send, and those of Pusher. Clients may close with
/// any number they like, and a figure must not have as many series as there are numbers.
const CODES: [u16; 20] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 4000, 4001, 4003, 4004, 4005, 4006, 4007,
    4009, 4100, 4200, 4201,
];

/// One shard, or all of them together; all but the last field since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections that came.
    pub connected: u64,
    /// Connections that went, by close code; 0 stands for all codes that clients make up.
    pub disconnected: BTreeMap<u16, u64>,
    /// Frames that the kernel took, or the writing task of a connection by TLS or HTTP.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Connections closed since more than `limits.outbox_bytes` waited for them.
    pub slow_consumers: u64,
    /// Unsent bytes of all connections, now.
    pub outbox_bytes: u64,
}

/// What there is in the channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Occupied channels, those of single users left out.
    pub channels: u64,
    /// Subscriptions by the kind of their channel; `Access as usize` is the place.
    subscriptions: [u64; 5],
}

impl Report {
    pub(super) fn count_end(&mut self, code: u16) {
        let code = if CODES.contains(&code) { code } else { 0 };
        *self.disconnected.entry(code).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Report) {
        self.connected += other.connected;
        for (code, count) in &other.disconnected {
            *self.disconnected.entry(*code).or_default() += count;
        }
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.slow_consumers += other.slow_consumers;
        self.outbox_bytes += other.outbox_bytes;
    }
}

impl Census {
    pub(super) fn count(&mut self, access: Access, subscriptions: u32) {
        self.channels += u64::from(access != Access::ServerToUser);
        self.subscriptions[access as usize] += u64::from(subscriptions);
    }

    /// Subscriptions to channels of this kind.
    pub fn subscriptions_of(&self, access: Access) -> u64 {
        self.subscriptions[access as usize]
    }
}
