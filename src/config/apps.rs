//! `[[apps]]`: credentials that can work, are unique, and are not known to the whole world.
//! Secrets are never part of a message here.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::check::{Check, is_url_safe};
use super::error::Why;
use super::layers::Slot;
use super::raw::RawApp;
use super::variables;
use crate::apps::{App, OriginPatterns};

/// The secret of the embedded app, which the whole world knows.
pub const DEVELOPMENT_SECRET: &str = "app-secret";

impl Check<'_> {
    /// All apps, in the order of the file.
    pub(super) fn apps(&mut self, raw: &[RawApp]) -> Vec<App> {
        if raw.is_empty() {
            self.refuse("apps", Why::Empty);
        }
        self.unique(raw, "id", |app| app.id.as_deref());
        self.unique(raw, "key", |app| app.key.as_deref());
        let indices = 0u32..;
        indices
            .zip(raw)
            .map(|(index, app)| self.app(index, app))
            .collect()
    }

    pub(super) fn app(&mut self, index: u32, raw: &RawApp) -> App {
        let path = |key: &str| format!("apps[{index}].{key}");
        App {
            index,
            id: self.url_safe(&path("id"), raw.id.as_deref()),
            key: self.url_safe(&path("key"), raw.key.as_deref()),
            secret: self.required(&path("secret"), raw.secret.as_deref()),
            enabled: raw.enabled,
            client_events: raw.client_events,
            subscription_count: raw.subscription_count,
            watchlist: raw.watchlist,
            allowed_origins: self.origins(path("allowed_origins"), &raw.allowed_origins),
            max_connections: raw.max_connections,
            authorized_only_s: self.seconds(&path("authorized_only_s"), raw.authorized_only_s),
            encryption_master_key: self
                .master_key(path("encryption_master_key"), &raw.encryption_master_key),
            webhooks: self.webhooks(&path("webhooks"), &raw.webhooks),
        }
    }

    fn unique(&mut self, apps: &[RawApp], key: &str, of: impl Fn(&RawApp) -> Option<&str>) {
        for (index, app) in apps.iter().enumerate() {
            let Some(given) = of(app) else { continue };
            if let Some(other) = apps[..index].iter().position(|app| of(app) == Some(given)) {
                self.refuse(
                    format!("apps[{index}].{key}"),
                    Why::Taken {
                        given: given.to_owned(),
                        other: format!("apps[{other}].{key}"),
                    },
                );
            }
        }
    }

    /// Ids and keys stand in paths, and a key before the colon of a signature.
    fn url_safe(&mut self, path: &str, value: Option<&str>) -> String {
        let value = self.required(path, value);
        if !value.chars().all(is_url_safe) {
            let given = value.clone();
            self.refuse(path, Why::NotUrlSafe { given });
        }
        value
    }

    fn origins(&mut self, path: String, given: &[String]) -> OriginPatterns {
        OriginPatterns::parse(given).unwrap_or_else(|error| {
            self.refuse(path, error);
            OriginPatterns::default()
        })
    }

    fn master_key(&mut self, path: String, given: &str) -> Option<[u8; 32]> {
        if given.is_empty() {
            return None;
        }
        let key = STANDARD
            .decode(given.trim())
            .ok()
            .and_then(|key| key.try_into().ok());
        if key.is_none() {
            self.refuse(path, Why::NotAMasterKey);
        }
        key
    }

    /// Off loopback anybody who read the documentation could sign for an app with the embedded secret.
    pub(super) fn development_secret(&mut self, apps: &[App], host: &str) {
        if host.is_empty() || is_loopback(host) {
            return;
        }
        for (index, app) in apps.iter().enumerate() {
            if app.secret == DEVELOPMENT_SECRET {
                let path = format!("apps[{index}].secret");
                let variable = match index {
                    0 => "PUSHER_APP_SECRET".to_owned(),
                    _ => variables::variable(&Slot::App(index, "secret")),
                };
                let host = host.to_owned();
                self.refuse(path.clone(), Why::DevelopmentSecret { host, variable });
            }
        }
    }
}

/// Whether only this machine reaches what listens there.
pub(super) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    const APP: &str = "[[apps]]\nid = 'a'\nkey = 'b'\nsecret = 'c'\n";

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn an_app_of_a_file_needs_its_own_credentials() {
        assert_eq!(
            complaint("[[apps]]\nkey = 'b'\nsecret = ''\n"),
            "config:1:1: apps[0].id is missing\nconfig:3:10: apps[0].secret is empty"
        );
    }

    #[test]
    fn an_app_of_a_file_takes_the_other_keys_from_the_defaults() {
        let config = Config::from_toml(&format!("{APP}client_events = false")).unwrap();
        let [app] = &config.apps[..] else {
            panic!("{:?}", config.apps)
        };
        assert_eq!(
            (app.id.as_str(), app.key.as_str(), app.secret.as_str()),
            ("a", "b", "c")
        );
        assert!(app.enabled);
        assert!(!app.client_events);
        assert!(app.allowed_origins.allows(Some("https://example.com")));
        assert_eq!(app.encryption_master_key, None);
    }

    #[test]
    fn a_configuration_without_apps_is_refused() {
        assert_eq!(complaint("apps = []"), "config:1:8: apps is empty");
    }

    #[test]
    fn two_apps_cannot_share_an_id_or_a_key() {
        let text = format!("{APP}{}", APP.replace("'c'", "'d'"));
        assert_eq!(
            complaint(&text),
            "config:6:6: apps[1].id is \"a\", and so is apps[0].id; every app needs its own\n\
             config:7:7: apps[1].key is \"b\", and so is apps[0].key; every app needs its own"
        );
    }

    #[test]
    fn a_key_that_would_break_a_path_or_a_signature_is_refused() {
        assert_eq!(
            complaint(&APP.replace("'b'", "'b:c/d'")),
            "config:3:7: apps[0].key is \"b:c/d\"; use letters, digits, and the characters - . _ ~"
        );
    }

    #[test]
    fn an_origin_pattern_nothing_could_fit_is_refused() {
        assert_eq!(
            complaint(&format!("{APP}allowed_origins = ['*', 'https://a.b/c']")),
            "config:5:19: apps[0].allowed_origins is \"https://a.b/c\", which has a path; \
             an origin is scheme, host and port only"
        );
    }

    #[test]
    fn a_master_key_is_base64_of_32_bytes() {
        let key = |text: &str| format!("{APP}encryption_master_key = '{text}'");
        let good = Config::from_toml(&key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")).unwrap();
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(good.apps[0].encryption_master_key.unwrap()[..], bytes[..]);
        let complaint_about = "config:5:25: apps[0].encryption_master_key is not base64 of 32 bytes; \
                               `openssl rand -base64 32` makes such a key";
        assert_eq!(complaint(&key("AAECAw==")), complaint_about);
        assert_eq!(complaint(&key("not base64")), complaint_about);
    }

    #[test]
    fn the_development_secret_stays_on_loopback() {
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "localhost",
        ] {
            assert!(
                Config::from_toml(&format!("server.host = '{host}'")).is_ok(),
                "{host}"
            );
        }
        let all = |port| Sources {
            host: Some("0.0.0.0".to_owned()),
            port,
            ..Sources::default()
        };
        let refused = Config::load(&all(None)).unwrap_err().to_string();
        assert!(
            refused.ends_with(
                "apps[0].secret is still the development secret \"app-secret\", with which gema listens on \
                 loopback only and not on 0.0.0.0; set secret under [[apps]] in a file or PUSHER_APP_SECRET \
                 in the environment"
            ),
            "{refused}"
        );
        let mut mended = all(Some(7000));
        mended.env = vec![("PUSHER_APP_SECRET".to_owned(), "hush".to_owned())];
        assert!(Config::load(&mended).is_ok());
    }

    #[test]
    fn a_second_app_with_the_development_secret_is_no_safer() {
        let second = "[[apps]]\nid = 'x'\nkey = 'y'\nsecret = 'app-secret'\n";
        let refused = complaint(&format!("server.host = '::'\n{APP}{second}"));
        assert!(
            refused.starts_with("config:9:10: apps[1].secret is still the development"),
            "{refused}"
        );
        assert!(
            refused.ends_with("or GEMA_APPS__1__SECRET in the environment"),
            "{refused}"
        );
    }
}
