//! `[outbox]`: how eagerly the table is looked at.

use std::time::Duration;

use super::Outbox;
use super::check::Check;
use super::raw::RawOutbox;

/// The longest pause: events that come a minute late are no events.
const LONGEST_POLL_MS: u64 = 60_000;

/// The most rows at a time: their data is held in memory, and a node that dies leaves so many to be published again.
const LARGEST_BATCH: u64 = 10_000;

impl Check<'_> {
    /// The outbox, or `None` when it is off.
    pub(super) fn outbox(&mut self, raw: &RawOutbox) -> Option<Outbox> {
        let poll_ms = self.within("outbox.poll_ms", raw.poll_ms, 1, LONGEST_POLL_MS);
        let batch = self.within("outbox.batch", raw.batch.into(), 1, LARGEST_BATCH);
        raw.enabled.then(|| Outbox {
            poll: Duration::from_millis(poll_ms),
            batch: batch as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn the_outbox_is_off_unless_it_is_switched_on_and_then_needs_its_table() {
        let config = Config::from_toml("").unwrap();
        assert!(config.outbox.is_none() && !config.database.tables.outbox);
        let config = Config::from_toml("outbox.enabled = true").unwrap();
        assert!(config.outbox.is_some() && config.database.tables.outbox);
    }

    #[test]
    fn a_batch_of_none_and_a_pause_of_none_are_refused() {
        let said = Config::from_toml("[outbox]\npoll_ms = 0\nbatch = 0").unwrap_err();
        assert_eq!(
            said.to_string(),
            "config:2:11: outbox.poll_ms is 0; it must be from 1 to 60000\n\
             config:3:9: outbox.batch is 0; it must be from 1 to 10000"
        );
    }
}
