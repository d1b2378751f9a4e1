//! `[redis]`, judged.

use super::Redis;
use super::check::Check;
use super::error::Why;
use super::raw::RawRedis;
use crate::bus::redis::Servers;

/// The longest lease of a node: ghosts of an hour are a mistake in any case.
const LONGEST_LEASE_S: u64 = 3600;

impl Check<'_> {
    pub(super) fn redis(&mut self, raw: &RawRedis) -> Option<Redis> {
        let prefix = raw.prefix.trim();
        if prefix.is_empty() {
            self.refuse("redis.prefix", Why::Empty);
        } else if prefix.contains(['{', '}']) {
            // They would decide which server of a cluster has the key.
            let given = raw.prefix.clone();
            self.refuse("redis.prefix", Why::HasBraces { given });
        }
        let node_lease_s = self.within("redis.node_lease_s", raw.node_lease_s, 2, LONGEST_LEASE_S);
        if raw.url.trim().is_empty() {
            return None;
        }
        match Servers::parse(&raw.url) {
            Ok(servers) => Some(Redis {
                servers,
                prefix: prefix.to_owned(),
                node_lease_s,
            }),
            Err(error) => {
                let reason = error.to_string();
                self.refuse("redis.url", Why::NotRedis { reason });
                None
            }
        }
    }
}
