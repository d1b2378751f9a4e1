//! `[auth]`, judged. Its lists are the business of `rules`.

use super::check::{Check, path, text};
use super::error::Why;
use super::raw::{RawApp, RawAuth};
use super::webhooks::without_secrets;
use super::{Auth, rules};
use crate::auth::{AuthSettings, KeySource};

impl Check<'_> {
    pub(super) fn auth(&mut self, raw: &RawAuth, apps: &[RawApp]) -> Auth {
        let keys = [
            ("jwt_secret", &raw.jwt_secret),
            ("jwt_public_key", &raw.jwt_public_key),
            ("jwks_url", &raw.jwks_url),
        ];
        let mut set = keys.iter().filter(|(_, value)| !value.is_empty());
        if let (Some((other, _)), Some((second, _))) = (set.next(), set.next()) {
            self.refuse(format!("auth.{second}"), Why::SecondTokenKey { other });
        }
        let settings = AuthSettings {
            key: self.token_key(raw),
            issuer: text(&raw.jwt_issuer),
            audience: text(&raw.jwt_audience),
            claim_user: self.required("auth.claim_user", Some(&raw.claim_user)),
            claim_name: self.required("auth.claim_name", Some(&raw.claim_name)),
            claim_roles: self.required("auth.claim_roles", Some(&raw.claim_roles)),
            user_info: raw.user_info.clone(),
            rules: rules::rules(self, &raw.channels),
            guards: rules::guards(self, &raw.guards),
        };
        Auth {
            settings,
            app: self.signing_app(&raw.app, apps),
        }
    }

    /// What tokens are checked with: the one setting of three that is there.
    fn token_key(&mut self, raw: &RawAuth) -> KeySource {
        if let Some(secret) = text(&raw.jwt_secret) {
            return KeySource::Secret(secret);
        }
        if let Some(path) = path(&raw.jwt_public_key) {
            let pem = std::fs::read(&path).unwrap_or_else(|error| {
                let reason = error.to_string();
                self.refuse("auth.jwt_public_key", Why::Unreadable { reason });
                Vec::new()
            });
            return KeySource::PublicKeyPem { path, pem };
        }
        self.url("auth.jwks_url", &raw.jwks_url)
            .map_or(KeySource::None, KeySource::Jwks)
    }

    fn url(&mut self, path: &str, given: &str) -> Option<String> {
        let given = text(given)?;
        let host = given
            .strip_prefix("https://")
            .or_else(|| given.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) {
            let given = without_secrets(&given);
            self.refuse(path, Why::NotAUrl { given });
        }
        Some(given)
    }

    fn signing_app(&mut self, given: &str, apps: &[RawApp]) -> String {
        let mut ids = apps.iter().filter_map(|app| app.id.as_deref());
        if given.is_empty() {
            return ids.next().unwrap_or_default().to_owned();
        }
        if !ids.any(|id| id == given) {
            let given = given.to_owned();
            self.refuse("auth.app", Why::NoSuchApp { given });
        }
        given.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn tokens_are_checked_with_one_key_only() {
        assert_eq!(
            complaint("[auth]\njwks_url = 'https://a.b/keys'\njwt_secret = 'c'"),
            "config:2:12: auth.jwks_url is set, and jwt_secret is too; tokens are checked with one of \
             jwt_secret, jwt_public_key and jwks_url"
        );
        assert_eq!(
            complaint("auth.jwt_public_key = '/no/such.pem'"),
            "config:1:23: auth.jwt_public_key cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(
            complaint("auth.jwks_url = 'login.example.com'"),
            "config:1:17: auth.jwks_url is \"login.example.com\", which is not an http:// or https:// address"
        );
    }

    #[test]
    fn the_app_that_signs_must_exist() {
        assert_eq!(
            complaint("auth.app = 'other'"),
            "config:1:12: auth.app is \"other\", which is not the id of an app"
        );
    }

    #[test]
    fn a_claim_needs_a_name() {
        assert_eq!(
            complaint("auth.claim_user = ''"),
            "config:1:19: auth.claim_user is empty"
        );
    }
}
