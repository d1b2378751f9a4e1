//! `[admin]`: the second listener, which needs a token as soon as others reach it.

use super::Admin;
use super::apps::is_loopback;
use super::check::Check;
use super::error::Why;
use super::raw::RawAdmin;

impl Check<'_> {
    /// The listener, or `None` when its port is 0.
    pub(super) fn admin(&mut self, raw: &RawAdmin) -> Option<Admin> {
        let host = self.host("admin.host", &raw.host);
        if raw.port == 0 {
            return None;
        }
        if raw.token.is_empty() && !host.is_empty() && !is_loopback(&host) {
            self.refuse("admin.host", Why::OpenAdmin { host: host.clone() });
        }
        Some(Admin {
            host,
            port: raw.port,
            token: raw.token.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn the_admin_listener_needs_a_token_where_others_reach_it() {
        let admin = |text: &str| Config::from_toml(text).map(|config| config.admin);
        let local = admin("").unwrap().unwrap();
        assert_eq!((local.host.as_str(), local.port), ("127.0.0.1", 9601));
        assert!(admin("admin.port = 0").unwrap().is_none());
        assert!(
            admin("admin = { host = '0.0.0.0', port = 0 }")
                .unwrap()
                .is_none()
        );
        let open = admin("admin = { host = '0.0.0.0', token = 'hush' }").unwrap();
        assert!(open.is_some_and(|admin| admin.token == "hush"));
        assert_eq!(
            complaint("admin.host = '::'"),
            "config:1:14: admin.host is ::, where others reach it, and admin.token is empty; set token under \
             [admin] in a file or GEMA_ADMIN__TOKEN in the environment, or switch the listener off with \
             admin.port = 0"
        );
        assert_eq!(
            complaint("admin.host = ''"),
            "config:1:14: admin.host is empty"
        );
    }
}
