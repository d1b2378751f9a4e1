//! `[limits]`, judged.

use super::Limits;
use super::check::{Check, LONGEST_S};
use super::raw::RawLimits;

/// What `limits.channels_per_connection = 0` stands for. A subscription to a channel of one's own takes 430 bytes with a name
/// of 8 characters and 620 with one of 200, so without a number one connection could fill the memory.
const MANY_CHANNELS: usize = 10_000;

impl Check<'_> {
    pub(super) fn limits(&mut self, raw: &RawLimits) -> Limits {
        Limits {
            max_connections: raw.max_connections,
            event_data_bytes: self.at_least_one("limits.event_data_bytes", raw.event_data_bytes),
            request_bytes: self.at_least_one("limits.request_bytes", raw.request_bytes),
            message_bytes: self.at_least_one("limits.message_bytes", raw.message_bytes),
            channels_per_event: self
                .at_least_one("limits.channels_per_event", raw.channels_per_event),
            events_per_batch: self.at_least_one("limits.events_per_batch", raw.events_per_batch),
            channel_name_chars: self
                .at_least_one("limits.channel_name_chars", raw.channel_name_chars),
            event_name_chars: self.at_least_one("limits.event_name_chars", raw.event_name_chars),
            channels_per_connection: match raw.channels_per_connection {
                0 => MANY_CHANNELS,
                given => given,
            },
            client_events_per_s: raw.client_events_per_s,
            presence_members: self.at_least_one("limits.presence_members", raw.presence_members),
            presence_info_bytes: self
                .at_least_one("limits.presence_info_bytes", raw.presence_info_bytes),
            outbox_bytes: self.at_least_one("limits.outbox_bytes", raw.outbox_bytes),
            activity_timeout_s: self.within(
                "limits.activity_timeout_s",
                raw.activity_timeout_s,
                1,
                LONGEST_S,
            ),
            pong_timeout_s: self.within("limits.pong_timeout_s", raw.pong_timeout_s, 1, LONGEST_S),
            handshakes_per_s: raw.handshakes_per_s,
            api_requests_per_s: raw.api_requests_per_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn limits_that_would_let_nothing_through_are_refused() {
        assert_eq!(
            complaint("[limits]\nmessage_bytes = 0\npong_timeout_s = 0"),
            "config:2:17: limits.message_bytes is 0; it must be at least 1\n\
             config:3:18: limits.pong_timeout_s is 0; it must be from 1 to 86400"
        );
        assert!(Config::from_toml("limits.client_events_per_s = 0").is_ok());
    }
}
