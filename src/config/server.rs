//! `[server]`, judged.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Server;
use super::check::{Check, is_url_safe, path};
use super::error::Why;
use super::raw::RawServer;

/// More shards than any machine has cores; a larger number is a slip.
const MOST_SHARDS: u64 = 1024;

impl Check<'_> {
    pub(super) fn server(&mut self, raw: &RawServer) -> Server {
        let (tls_cert, tls_key) = (path(&raw.tls_cert), path(&raw.tls_key));
        match (&tls_cert, &tls_key) {
            (Some(_), None) => {
                self.refuse("server.tls_cert", Why::HalfOfTls { missing: "tls_key" })
            }
            (None, Some(_)) => self.refuse(
                "server.tls_key",
                Why::HalfOfTls {
                    missing: "tls_cert",
                },
            ),
            _ => {}
        }
        Server {
            host: self.host("server.host", &raw.host),
            port: raw.port,
            path_prefix: self.path_prefix(&raw.path_prefix),
            tls_cert,
            tls_key,
            trusted_proxies: self.ranges(&raw.trusted_proxies),
            shutdown_grace_s: self.seconds("server.shutdown_grace_s", raw.shutdown_grace_s),
            shards: self.shards(raw.shards),
        }
    }

    fn path_prefix(&mut self, given: &str) -> String {
        let path = given.trim().trim_matches('/');
        if path.is_empty() {
            return String::new();
        }
        let is_plain = |part: &str| !part.is_empty() && part.chars().all(is_url_safe);
        if !path.split('/').all(is_plain) {
            let given = given.to_owned();
            self.refuse("server.path_prefix", Why::NotAPath { given });
        }
        format!("/{path}")
    }

    fn ranges(&mut self, given: &[String]) -> Vec<IpNet> {
        let mut ranges = Vec::with_capacity(given.len());
        for (index, text) in given.iter().enumerate() {
            let range = text.trim();
            let alone = || range.parse::<IpAddr>().map(IpNet::from);
            match range.parse().or_else(|_| alone()) {
                Ok(range) => ranges.push(range),
                Err(_) => self.refuse(
                    format!("server.trusted_proxies[{index}]"),
                    Why::NotARange {
                        given: text.clone(),
                    },
                ),
            }
        }
        ranges
    }

    fn shards(&mut self, given: usize) -> usize {
        self.within("server.shards", given as u64, 0, MOST_SHARDS);
        given
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn a_path_prefix_begins_with_a_slash_and_does_not_end_with_one() {
        let prefix = |text: &str| {
            Config::from_toml(&format!("server.path_prefix = '{text}'"))
                .map(|config| config.server.path_prefix)
        };
        assert_eq!(prefix("").unwrap(), "");
        assert_eq!(prefix("/").unwrap(), "");
        assert_eq!(prefix("a/b/").unwrap(), "/a/b");
        assert_eq!(prefix("/a").unwrap(), "/a");
        assert_eq!(
            prefix("/a?b").unwrap_err().to_string(),
            "config:1:22: server.path_prefix is \"/a?b\", which is not a path such as /realtime"
        );
    }

    #[test]
    fn proxies_are_address_ranges_or_single_addresses() {
        let config = Config::from_toml("server.trusted_proxies = ['10.0.0.0/8', '::1']").unwrap();
        let ranges: Vec<String> = config
            .server
            .trusted_proxies
            .iter()
            .map(IpNet::to_string)
            .collect();
        assert_eq!(ranges, ["10.0.0.0/8", "::1/128"]);
        assert_eq!(
            complaint("server.trusted_proxies = ['::1', '10.0.0.0/33']"),
            "config:1:34: server.trusted_proxies[1] is \"10.0.0.0/33\", which is not an address range \
             such as 10.0.0.0/8"
        );
    }

    #[test]
    fn tls_needs_certificate_and_key() {
        assert_eq!(
            complaint("[server]\ntls_cert = 'cert.pem'"),
            "config:2:12: server.tls_cert is set and tls_key is not; TLS needs both"
        );
        assert_eq!(
            complaint("[server]\ntls_key = 'key.pem'"),
            "config:2:11: server.tls_key is set and tls_cert is not; TLS needs both"
        );
        let both = Config::from_toml("server = { tls_cert = 'c', tls_key = 'k' }")
            .unwrap()
            .server;
        assert_eq!(both.tls_cert, Some(PathBuf::from("c")));
        assert_eq!(both.tls_key, Some(PathBuf::from("k")));
    }
}
