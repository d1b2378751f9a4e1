//! Leases, and what nodes have where: so dead ones can be cleaned up after, and every node can answer for all.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::names::escape_glob;
use super::redis::Command;
use super::{
    Bus, BusError, Lease, MOST_SUSPECTS, NodeName, NodeState, Place, REAPING_MS, SCAN, Snapshot,
    lock, place, registry,
};

/// Nodes that are shown; no cluster of ours has more.
const MOST_NODES: isize = 200;

impl Bus {
    /// Notes who holds something in the place and has no lease.
    pub fn suspect(&self, place: &Place, snapshot: &Snapshot) {
        let counted = snapshot.counts.iter().map(|(node, _)| *node);
        let present = snapshot.members.iter().flat_map(|member| &member.nodes);
        for node in counted.chain(present.copied()) {
            if !self.is_live(node) {
                let mut suspects = lock(&self.suspects);
                if suspects.len() < MOST_SUSPECTS {
                    suspects
                        .entry((place.clone(), node))
                        .or_insert_with(Instant::now);
                }
            }
        }
    }

    /// Those suspected for longer than a lease, who are forgotten with that.
    pub fn suspects(&self) -> Vec<(Place, NodeName)> {
        let lease = self.settings.lease;
        let mut suspects = lock(&self.suspects);
        let due = suspects.extract_if(|_, since| since.elapsed() > lease);
        due.map(|(suspect, _)| suspect).collect()
    }

    /// The channels of an app whose names begin with `prefix`, with their subscriptions on all other nodes.
    pub async fn channels_elsewhere(
        &self,
        app: u32,
        prefix: &str,
    ) -> Result<HashMap<String, u32>, BusError> {
        let head = place::entry('c', self.app_id(app), "");
        let pattern = format!(
            "{}*",
            escape_glob(&place::entry('c', self.app_id(app), prefix))
        );
        let (live, own) = (lock(&self.live).clone(), self.name());
        let mut found = HashMap::new();
        for node in live.into_iter().filter(|node| !node.same_node(own)) {
            let mut cursor = 0_u64;
            loop {
                let (next, entries) = self.scan(node, cursor, Some(&pattern)).await?;
                for (entry, count) in entries {
                    if let Some(name) = entry.strip_prefix(&head)
                        && count > 0
                    {
                        *found.entry(name.to_owned()).or_default() += count;
                    }
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Renews this node's lease, and sees who else has one. A length of zero gives it up. A node that has lost its lease
    /// gets none: it has to take another name.
    pub async fn lease(&self, length: Duration) -> Result<Lease, BusError> {
        let key = self.nodes_key();
        let had = self.has_lease.load(Ordering::Acquire);
        let is_unsettled = self.unsettled.load(Ordering::Acquire) > 0;
        let length_ms = length.as_millis() as u64;
        let command = registry::lease(&key, self.name(), length_ms, had, is_unsettled);
        let mut lease = Lease::read(self.redis.ask(&key, command).await?)?;
        // Only another name ends it: whoever asks again after a loss is told again.
        self.has_lease.store(true, Ordering::Release);
        lease.kept |= !had;
        *lock(&self.live) = lease.live.iter().copied().collect();
        // An index that nobody is left to clean up goes by itself, a day later.
        let key = self.index_key(self.name());
        self.index(::redis::Cmd::expire(key, 86_400));
        Ok(lease)
    }

    /// Tells the others how many connections each app has here; for as long as a lease.
    pub fn report_connections(&self, connections: impl Iterator<Item = (u32, usize)>) {
        let key = self.connections_key(self.name());
        // All in one command: there may be thousands.
        let mut command = ::redis::cmd("HSET");
        command.arg(&key);
        let mut apps = 0;
        for (app, count) in connections {
            command.arg(self.app_id(app)).arg(count);
            apps += 1;
        }
        if apps == 0 {
            return;
        }
        drop(self.redis.ask(&key, Command::Plain(command)));
        let life_s = self.settings.lease.as_secs() as i64;
        let command = ::redis::Cmd::expire(&key, life_s);
        drop(self.redis.ask(&key, Command::Plain(command)));
    }

    /// How many connections an app has on the other nodes, as they last said.
    pub async fn connections_elsewhere(&self, app: u32) -> Result<usize, BusError> {
        let (live, own) = (lock(&self.live).clone(), self.name());
        let mut sum = 0;
        for node in live.into_iter().filter(|node| !node.same_node(own)) {
            let key = self.connections_key(node);
            let command = ::redis::Cmd::hget(&key, self.app_id(app));
            let count = self.redis.ask(&key, Command::Plain(command)).await?;
            sum += registry::read::<Option<usize>>(count)?.unwrap_or(0);
        }
        Ok(sum)
    }

    /// Every node that Redis knows, by name, with what it last said of itself.
    ///
    /// # Errors
    /// Redis is away, or something else writes to our keys.
    pub async fn nodes(&self) -> Result<Vec<NodeState>, BusError> {
        let key = self.nodes_key();
        // Leases end by the clock of Redis.
        let now = Command::Plain(::redis::cmd("TIME"));
        let leases = Command::Plain(::redis::Cmd::zrange_withscores(&key, 0, MOST_NODES - 1));
        let (now, leases) = (self.redis.ask(&key, now), self.redis.ask(&key, leases));
        let (seconds, micros) = registry::read::<(i64, i64)>(now.await?)?;
        let now_ms = seconds * 1000 + micros / 1000;
        let leases: Vec<(u64, f64)> = registry::read(leases.await?)?;
        let mut nodes = Vec::with_capacity(leases.len());
        for (number, end_ms) in leases {
            let name = NodeName::of_number(number);
            let key = self.connections_key(name);
            let command = Command::Plain(::redis::Cmd::hvals(&key));
            let counts: Vec<u64> = registry::read(self.redis.ask(&key, command).await?)?;
            nodes.push(NodeState {
                name,
                is_self: name.same_node(self.name()),
                lease_left_ms: end_ms as i64 - now_ms,
                connections: counts.iter().sum(),
            });
        }
        nodes.sort_unstable_by_key(|node| node.name);
        Ok(nodes)
    }

    /// Whether a node had a lease when it was last looked.
    pub fn is_live(&self, node: NodeName) -> bool {
        node == self.name() || lock(&self.live).contains(&node)
    }

    /// Whether a node has no lease, by Redis itself.
    pub async fn is_gone(&self, node: NodeName) -> Result<bool, BusError> {
        let key = self.nodes_key();
        let command = Command::Plain(::redis::Cmd::zscore(&key, node.number()));
        let score: Option<f64> = registry::read(self.redis.ask(&key, command).await?)?;
        Ok(score.is_none())
    }

    /// The length of a lease.
    pub fn lease_length(&self) -> Duration {
        self.settings.lease
    }

    /// Whether it is this node that cleans up after a dead one.
    pub async fn lock_dead(&self, node: NodeName) -> Result<bool, BusError> {
        let key = self.reaping_key(node);
        let mut command = ::redis::cmd("SET");
        command
            .arg(&key)
            .arg(self.name().number())
            .arg("NX")
            .arg("PX")
            .arg(REAPING_MS);
        let answer = self.redis.ask(&key, Command::Plain(command)).await?;
        Ok(registry::read::<Option<String>>(answer)?.is_some())
    }

    /// Goes on cleaning up after a dead node for as long again.
    pub fn prolong_lock(&self, node: NodeName) {
        let key = self.reaping_key(node);
        let command = ::redis::Cmd::pexpire(&key, REAPING_MS as i64);
        drop(self.redis.ask(&key, Command::Plain(command)));
    }

    /// Some of the places in a node's index, from a cursor on, and the next cursor; 0 is the first and the last.
    pub async fn places_of(
        &self,
        node: NodeName,
        cursor: u64,
    ) -> Result<(u64, Vec<Place>), BusError> {
        let (next, entries) = self.scan(node, cursor, None).await?;
        let places = entries
            .iter()
            .filter_map(|(entry, _)| Place::parse(entry, |id| self.apps.index_of(id)));
        Ok((next, places.collect()))
    }

    /// Forgets a dead node, whose places have all been seen to.
    pub async fn forget(&self, node: NodeName) -> Result<(), BusError> {
        let key = self.index_key(node);
        let deleted = self
            .redis
            .ask(&key, Command::Plain(::redis::Cmd::unlink(&key)));
        deleted.await?;
        let key = self.nodes_key();
        let command = Command::Plain(::redis::Cmd::zrem(&key, node.number()));
        self.redis.ask(&key, command).await?;
        let key = self.reaping_key(node);
        let unlocked = Command::Plain(::redis::Cmd::del(&key));
        self.redis.ask(&key, unlocked).await?;
        Ok(())
    }

    async fn scan(
        &self,
        node: NodeName,
        cursor: u64,
        pattern: Option<&str>,
    ) -> Result<(u64, Vec<(String, u32)>), BusError> {
        let key = self.index_key(node);
        let mut command = ::redis::cmd("HSCAN");
        command.arg(&key).arg(cursor);
        if let Some(pattern) = pattern {
            command.arg("MATCH").arg(pattern);
        }
        command.arg("COUNT").arg(SCAN);
        let answer = self.redis.ask(&key, Command::Plain(command)).await?;
        let (cursor, flat): (u64, Vec<Vec<u8>>) = registry::read(answer)?;
        let entries = flat.chunks_exact(2).filter_map(|pair| {
            let entry = String::from_utf8(pair[0].clone()).ok()?;
            let count = std::str::from_utf8(&pair[1]).ok()?.parse().ok()?;
            Some((entry, count))
        });
        Ok((cursor, entries.collect()))
    }
}
