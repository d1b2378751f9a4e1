//! `[[apps.webhooks]]`: receivers that can be reached, events that exist, headers that can be sent.
//! URLs and headers may hold a receiver's secrets; messages here show neither.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::check::Check;
use super::error::{Why, nearest};
use super::raw::RawWebhook;
use crate::apps::{Webhook, WebhookEvent, WebhookEvents};

/// A longer window is a slip: receivers refuse what is older than a few minutes.
const LONGEST_BATCH_MS: u64 = 60_000;

/// Headers that the server sets itself or that belong to the connection.
const RESERVED: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "x-pusher-key",
    "x-pusher-signature",
];

impl Check<'_> {
    /// The webhooks of one app, in the order of the file; `path` is that of the list.
    pub(super) fn webhooks(&mut self, path: &str, raw: &[RawWebhook]) -> Vec<Webhook> {
        let mut webhooks = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let path = |key: &str| format!("{path}[{index}].{key}");
            let url = self.receiver(&path("url"), raw.url.as_deref());
            let events = self.events(&path("events"), raw.events.as_deref());
            let headers = self.headers(&path("headers"), &raw.headers);
            let batch_ms = self.within(&path("batch_ms"), raw.batch_ms, 0, LONGEST_BATCH_MS);
            webhooks.extend(url.map(|url| Webhook {
                url,
                events,
                channel_prefix: raw.channel_prefix.clone(),
                headers,
                batch: Duration::from_millis(batch_ms),
            }));
        }
        webhooks
    }

    fn receiver(&mut self, path: &str, given: Option<&str>) -> Option<Url> {
        let given = self.required(path, given);
        if given.is_empty() {
            return None;
        }
        let url = Url::parse(&given).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            let given = host_alone(&given);
            self.refuse(path, Why::NotAUrl { given });
        }
        url
    }

    /// All events where none are named; a list that is there and empty would make the webhook pointless.
    fn events(&mut self, path: &str, given: Option<&[String]>) -> WebhookEvents {
        let Some(given) = given else {
            return WebhookEvents::from_iter(WebhookEvent::ALL);
        };
        if given.is_empty() {
            self.refuse(path, Why::Empty);
        }
        let events = given.iter().enumerate().filter_map(|(index, name)| {
            let event = WebhookEvent::named(name);
            if event.is_none() {
                let why = Why::NotAWebhookEvent {
                    given: name.clone(),
                    nearest: nearest(WebhookEvent::ALL.map(WebhookEvent::name), |known| {
                        strsim::normalized_damerau_levenshtein(known, name)
                    }),
                };
                self.refuse(format!("{path}[{index}]"), why);
            }
            event
        });
        events.collect()
    }

    fn headers(&mut self, path: &str, given: &BTreeMap<String, String>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let path = format!("{path}.{name}");
            match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                (Ok(name), _) if RESERVED.contains(&name.as_str()) => {
                    self.refuse(path, Why::ReservedHeader);
                }
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                _ => self.refuse(path, Why::NotAHeader),
            }
        }
        headers
    }
}

/// The URL with `***` for the credentials before its host and for its query.
pub(super) fn without_secrets(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, _)) => (address, "?***"),
        None => (url, ""),
    };
    let start = address.find("://").map_or(0, |scheme| scheme + 3);
    let (scheme, rest) = address.split_at(start);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}***{}{query}", &rest[at..]),
        None => format!("{address}{query}"),
    }
}

/// The URL of a receiver up to its host, which stands for it in the log too: what follows may be all that its caller must
/// know.
pub(super) fn host_alone(url: &str) -> String {
    let shown = without_secrets(url);
    let start = shown.find("://").map_or(0, |scheme| scheme + 3);
    let end = shown[start..].find(['/', '?']).map(|end| start + end);
    match end {
        Some(end) if end + 1 < shown.len() => format!("{}/***", &shown[..end]),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{host_alone, without_secrets};
    use crate::apps::{Webhook, WebhookEvent, WebhookEvents};
    use crate::config::{Config, ConfigError, Sources};

    /// A second app with two webhooks, of which the second has these keys from line 8.
    fn with(keys: &str) -> Result<Vec<Webhook>, ConfigError> {
        let text = format!(
            "[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'c'\n[[apps.webhooks]]\nurl = 'http://one'\n\
             [[apps.webhooks]]\n{keys}"
        );
        Config::from_toml(&text).map(|mut config| config.apps.remove(0).webhooks)
    }

    fn complaint(keys: &str) -> String {
        with(keys).unwrap_err().to_string()
    }

    #[test]
    fn a_webhook_is_read_as_written() {
        let webhooks = with(
            "url = 'https://example.com/hook'\nevents = ['member_added', 'cache_miss']\n\
             channel_prefix = 'presence-'\nbatch_ms = 50\nheaders = { X-Token = 'hush' }",
        );
        let webhook = webhooks.unwrap().remove(1);
        assert_eq!(webhook.url.as_str(), "https://example.com/hook");
        let events = [WebhookEvent::MemberAdded, WebhookEvent::CacheMiss];
        assert_eq!(webhook.events, events.into_iter().collect());
        assert_eq!(webhook.channel_prefix, "presence-");
        assert_eq!(webhook.batch, Duration::from_millis(50));
        assert_eq!(webhook.headers["x-token"], "hush");
    }

    #[test]
    fn a_webhook_with_a_url_alone_is_told_everything() {
        let webhook = with("url = 'http://two'").unwrap().remove(1);
        assert_eq!(webhook.events, WebhookEvents::from_iter(WebhookEvent::ALL));
        assert_eq!(webhook.channel_prefix, "");
        assert_eq!(webhook.batch, Duration::ZERO);
        assert!(webhook.headers.is_empty());
    }

    #[test]
    fn an_app_without_webhooks_has_none() {
        assert!(Config::from_toml("").unwrap().apps[0].webhooks.is_empty());
    }

    #[test]
    fn a_url_that_cannot_be_posted_to_is_refused_without_its_secrets() {
        assert_eq!(
            complaint("url = 'ftp://me:hush@example.com/hook?token=hush'"),
            "config:8:7: apps[0].webhooks[1].url is \"ftp://***@example.com/***\", \
             which is not an http:// or https:// address"
        );
        assert_eq!(
            complaint("batch_ms = 1"),
            "config:7:1: apps[0].webhooks[1].url is missing"
        );
    }

    #[test]
    fn an_unknown_event_is_shown_the_nearest() {
        assert_eq!(
            complaint("url = 'http://two'\nevents = ['cache_miss', 'chanel_occupied']"),
            "config:9:25: apps[0].webhooks[1].events[1] is \"chanel_occupied\", which is no webhook event; \
             the nearest valid name is channel_occupied"
        );
        assert_eq!(
            complaint("url = 'http://two'\nevents = []"),
            "config:9:10: apps[0].webhooks[1].events is empty"
        );
    }

    #[test]
    fn an_unknown_key_is_shown_the_nearest() {
        assert_eq!(
            complaint("urll = 'http://two'"),
            "config:8:1: unknown key apps[0].webhooks[1].urll; the nearest valid name is apps[0].webhooks[1].url"
        );
    }

    #[test]
    fn headers_that_cannot_be_sent_or_are_not_the_users_are_refused() {
        assert_eq!(
            complaint(
                "url = 'http://two'\nheaders = { Content-Type = 'text/plain', X-A = \"a\\nb\" }"
            ),
            "config:9:28: apps[0].webhooks[1].headers.Content-Type is set by gema itself\n\
             config:9:48: apps[0].webhooks[1].headers.X-A cannot be sent as an HTTP header"
        );
    }

    #[test]
    fn a_window_of_hours_is_refused() {
        assert_eq!(
            complaint("url = 'http://two'\nbatch_ms = 3600000"),
            "config:9:12: apps[0].webhooks[1].batch_ms is 3600000; it must be from 0 to 60000"
        );
    }

    #[test]
    fn a_list_of_webhooks_is_no_variable() {
        let sources = Sources {
            env: vec![("GEMA_APPS__0__WEBHOOKS".to_owned(), "x".to_owned())],
            ..Sources::default()
        };
        let said = Config::load(&sources).unwrap_err().to_string();
        assert!(
            said.starts_with("GEMA_APPS__0__WEBHOOKS: unknown"),
            "{said}"
        );
        assert_eq!(
            Config::from_toml("[[apps]]\nwebhooks = 1")
                .unwrap_err()
                .to_string(),
            "config:2:12: apps[0].webhooks must be a list of tables, each under [[apps.webhooks]], found a number"
        );
    }

    #[test]
    fn no_secret_of_a_receiver_is_shown() {
        let webhooks = with("url = 'http://me:hush@two/hush?hush'\nheaders = { X-Token = 'hush' }");
        let shown = format!("{:?}", webhooks.unwrap());
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(without_secrets("http://a.b/@c"), "http://a.b/@c");
        assert_eq!(
            without_secrets("http://u:p@a.b/c?d"),
            "http://***@a.b/c?***"
        );
    }

    #[test]
    fn a_receiver_is_shown_up_to_its_host() {
        for (url, shown) in [
            ("https://a.b", "https://a.b"),
            ("https://a.b/", "https://a.b/"),
            ("https://a.b:1/hush", "https://a.b:1/***"),
            ("https://u:p@a.b/hush/c?d", "https://***@a.b/***"),
            ("https://a.b?hush", "https://a.b/***"),
            ("a.b/hush", "a.b/***"),
        ] {
            assert_eq!(host_alone(url), shown);
        }
    }

    #[test]
    fn the_effective_configuration_can_be_read_again_and_holds_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gema.toml");
        let text = "[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'c'\n[[apps.webhooks]]\n\
                    url = 'http://me:hush@two/hush'\nheaders = { X-Token = 'hush' }\n";
        std::fs::write(&path, text).unwrap();
        let sources = Sources {
            file: Some(path),
            ..Sources::default()
        };
        let shown = Config::explain(&sources).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        let read = Config::from_toml(&shown).unwrap().apps.remove(0);
        assert_eq!(read.webhooks[0].headers["x-token"], "***");
    }
}
