//! What an app's back end wants to be told: one URL, the events for it, and how they are sent.
//! A [`Webhook`] is checked when it is made; nothing in it can fail later.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;

/// One receiver of an app's events.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where the requests go: http or https.
    pub url: Url,
    /// The events it is told.
    pub events: WebhookEvents,
    /// It is told only of channels whose name begins so; empty = of all.
    pub channel_prefix: String,
    /// Sent with every request. None of them is one that the server sets itself.
    pub headers: HeaderMap,
    /// How long events are collected for one request; zero = one event a request.
    pub batch: Duration,
}

/// Shows neither the URL's path and query nor the headers' values, where receivers' secrets stand.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.url.host_str())
            .field("events", &self.events)
            .field("channel_prefix", &self.channel_prefix)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("batch", &self.batch)
            .finish()
    }
}

/// What can be told. The names are those of Pusher's webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// A channel has its first subscriber.
    ChannelOccupied,
    /// A channel has lost its last.
    ChannelVacated,
    /// A user has come into a presence channel.
    MemberAdded,
    /// A user has left it with their last connection.
    MemberRemoved,
    /// A client sent an event to the others.
    ClientEvent,
    /// Somebody subscribed to a cache channel that holds nothing.
    CacheMiss,
    /// The number of a channel's subscribers has changed.
    SubscriptionCount,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [WebhookEvent; 7] = [
        WebhookEvent::ChannelOccupied,
        WebhookEvent::ChannelVacated,
        WebhookEvent::MemberAdded,
        WebhookEvent::MemberRemoved,
        WebhookEvent::ClientEvent,
        WebhookEvent::CacheMiss,
        WebhookEvent::SubscriptionCount,
    ];

    /// The name in requests and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            WebhookEvent::ChannelOccupied => "channel_occupied",
            WebhookEvent::ChannelVacated => "channel_vacated",
            WebhookEvent::MemberAdded => "member_added",
            WebhookEvent::MemberRemoved => "member_removed",
            WebhookEvent::ClientEvent => "client_event",
            WebhookEvent::CacheMiss => "cache_miss",
            WebhookEvent::SubscriptionCount => "subscription_count",
        }
    }

    /// The event of this name.
    pub fn named(name: &str) -> Option<WebhookEvent> {
        WebhookEvent::ALL
            .into_iter()
            .find(|event| event.name() == name)
    }
}

/// A set of events; empty by default.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookEvents(u8);

impl WebhookEvents {
    /// Whether the event is one of them.
    pub fn contains(self, event: WebhookEvent) -> bool {
        self.0 & (1 << event as u8) != 0
    }

    /// Those of either set.
    #[must_use]
    pub fn union(self, other: WebhookEvents) -> WebhookEvents {
        WebhookEvents(self.0 | other.0)
    }
}

impl FromIterator<WebhookEvent> for WebhookEvents {
    fn from_iter<I: IntoIterator<Item = WebhookEvent>>(events: I) -> WebhookEvents {
        WebhookEvents(
            events
                .into_iter()
                .fold(0, |set, event| set | 1 << event as u8),
        )
    }
}

impl fmt::Debug for WebhookEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = WebhookEvent::ALL.into_iter();
        let names = events.filter(|event| self.contains(*event));
        f.debug_set()
            .entries(names.map(WebhookEvent::name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_by_its_name() {
        for event in WebhookEvent::ALL {
            assert_eq!(WebhookEvent::named(event.name()), Some(event));
        }
        assert_eq!(WebhookEvent::named("member_gone"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for put_in in WebhookEvent::ALL {
            let set = WebhookEvents::from_iter([put_in]);
            for event in WebhookEvent::ALL {
                assert_eq!(set.contains(event), event == put_in);
            }
        }
        let both: WebhookEvents = [WebhookEvent::CacheMiss].into_iter().collect();
        let both = both.union([WebhookEvent::MemberAdded].into_iter().collect());
        assert_eq!(format!("{both:?}"), r#"{"member_added", "cache_miss"}"#);
    }
}
