//! Which link a name lives on.

use std::sync::Arc;

use super::link::Link;

/// Slots of a Redis Cluster.
pub(super) const SLOTS: usize = 16_384;
/// A slot that no server has.
pub(super) const NOBODY: u16 = u16::MAX;

/// The links there are.
#[derive(Debug)]
pub(super) struct Map {
    /// The one link; in a cluster, where publications wait whose slot no server is known to have.
    pub lobby: Arc<Link>,
    pub sharded: bool,
    /// One for each master of a cluster.
    pub shards: Vec<Arc<Link>>,
    /// Slot -> index in `shards`; empty while that is not known.
    pub slots: Vec<u16>,
}

impl Map {
    /// The link that serves a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Link>> {
        if !self.sharded {
            return Some(&self.lobby);
        }
        let index = *self.slots.get(usize::from(slot))?;
        self.shards.get(usize::from(index))
    }

    /// The link that keeps a slot's publications.
    pub(super) fn keeper(&self, slot: u16) -> &Arc<Link> {
        self.owner(slot).unwrap_or(&self.lobby)
    }

    /// All links that are in use.
    pub(super) fn links(&self) -> &[Arc<Link>] {
        if self.sharded && !self.slots.is_empty() {
            &self.shards
        } else {
            std::slice::from_ref(&self.lobby)
        }
    }
}

/// The slot of a name: CRC16 of what stands between its first braces, or of all of it
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>).
pub(super) fn slot_of(name: &str) -> u16 {
    let tag = name
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(name);
    crc16(tag.as_bytes()) & (SLOTS as u16 - 1)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of("a{foo}b{bar}"), 12_182);
        assert_eq!(slot_of("{}foo"), crc16(b"{}foo") % 16_384);
    }
}
