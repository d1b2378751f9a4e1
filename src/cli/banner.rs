//! What `gema serve` prints once it accepts connections: where, with which key, where the console is, and the page's side of it.
//! The first line is for scripts to wait for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::auth::KeySource;
use crate::config::Config;

/// The banner of a server that listens on `address`, which knows the port where the configuration says 0.
pub(super) fn text(config: &Config, address: SocketAddr) -> String {
    let server = &config.server;
    let tls = server.tls_cert.is_some();
    let (scheme, mark) = if tls {
        ("https", " (TLS)")
    } else {
        ("http", "")
    };
    let version = env!("CARGO_PKG_VERSION");
    let key = config.apps.first().map_or("", |app| app.key.as_str());
    let port = address.port();
    let host = page_host(&server.host, address);
    let mut options = vec![
        "broadcaster: 'pusher'".to_owned(),
        format!("key: '{key}'"),
        "cluster: 'mt1'".to_owned(),
        format!("wsHost: {}", host.literal()),
        format!("wsPort: {port}"),
        format!("wssPort: {port}"),
        format!("forceTLS: {tls}"),
        "enabledTransports: ['ws', 'wss']".to_owned(),
    ];
    let prefix = &server.path_prefix;
    if !prefix.is_empty() {
        options.push(format!("wsPath: '{prefix}'"));
    }
    let auth = &config.auth;
    if !matches!(auth.settings.key, KeySource::None) {
        let path = format!(":{port}{prefix}/api/broadcasting/auth");
        options.push(format!("authEndpoint: {}", host.url(scheme, &path)));
        options.push("bearerToken: token".to_owned());
    }
    let console = console(config);
    let options: String = options
        .iter()
        .map(|option| format!("  {option},\n"))
        .collect();
    format!(
        "gema {version} listening on {address}{mark}\n\
         key: {key}\n\
         {console}\
         \n\
         For the page (npm install laravel-echo pusher-js):\n\
         \n\
         import Echo from 'laravel-echo';\n\
         import Pusher from 'pusher-js';\n\
         \n\
         window.Pusher = Pusher;\n\
         window.Echo = new Echo({{\n\
         {options}\
         }});\n"
    )
}

/// The line with the console's address, for a browser on this machine; nothing when the admin listener is off.
fn console(config: &Config) -> String {
    let Some(admin) = &config.admin else {
        return String::new();
    };
    let host = match admin.host.parse() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => {
            format!("[{}]", Ipv6Addr::LOCALHOST)
        }
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Err(_) => admin.host.clone(),
    };
    let login = match admin.token.is_empty() {
        true => "",
        false => " (log in with admin.token)",
    };
    format!("console: http://{host}:{}/{login}\n", admin.port)
}

/// The host a page connects to.
enum PageHost {
    /// The one we listen on.
    Named(String),
    /// We listen on every address of this machine; the page's own is the best guess.
    OfThePage,
}

fn page_host(configured: &str, address: SocketAddr) -> PageHost {
    match address {
        _ if address.ip().is_unspecified() => PageHost::OfThePage,
        // A name is kept: certificates are made out to it.
        _ if configured.parse::<std::net::IpAddr>().is_err() => {
            PageHost::Named(configured.to_owned())
        }
        SocketAddr::V4(address) => PageHost::Named(address.ip().to_string()),
        SocketAddr::V6(address) => PageHost::Named(format!("[{}]", address.ip())),
    }
}

impl PageHost {
    /// The host in JavaScript.
    fn literal(&self) -> String {
        match self {
            PageHost::Named(host) => format!("'{host}'"),
            PageHost::OfThePage => "window.location.hostname".to_owned(),
        }
    }

    /// A URL on the host in JavaScript; `rest` begins with the port's colon.
    fn url(&self, scheme: &str, rest: &str) -> String {
        match self {
            PageHost::Named(host) => format!("'{scheme}://{host}{rest}'"),
            PageHost::OfThePage => format!("`{scheme}://${{window.location.hostname}}{rest}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(config: &str, address: &str) -> String {
        text(
            &Config::from_toml(config).unwrap(),
            address.parse().unwrap(),
        )
    }

    #[test]
    fn the_defaults_give_a_snippet_that_works_as_it_is() {
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "gema {version} listening on 127.0.0.1:6001
key: app-key
console: http://127.0.0.1:9601/

For the page (npm install laravel-echo pusher-js):

import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

window.Pusher = Pusher;
window.Echo = new Echo({{
  broadcaster: 'pusher',
  key: 'app-key',
  cluster: 'mt1',
  wsHost: '127.0.0.1',
  wsPort: 6001,
  wssPort: 6001,
  forceTLS: false,
  enabledTransports: ['ws', 'wss'],
}});
"
        );
        assert_eq!(banner("", "127.0.0.1:6001"), expected);
    }

    #[test]
    fn the_console_is_where_a_browser_on_this_machine_finds_it() {
        let console = |config: &str| {
            let shown = banner(config, "127.0.0.1:6001");
            let line = shown.lines().find(|line| line.starts_with("console"));
            line.map(str::to_owned)
        };
        assert_eq!(console("admin.port = 0"), None);
        for (config, expected) in [
            ("admin.port = 9700", "http://127.0.0.1:9700/"),
            ("admin.host = 'localhost'", "http://localhost:9601/"),
            ("admin.host = '::1'", "http://[::1]:9601/"),
            (
                "admin = { host = '0.0.0.0', token = 'hush' }",
                "http://127.0.0.1:9601/ (log in with admin.token)",
            ),
            (
                "admin = { host = '::', token = 'hush' }",
                "http://[::1]:9601/ (log in with admin.token)",
            ),
            (
                "admin = { host = '10.0.0.7', token = 'hush' }",
                "http://10.0.0.7:9601/ (log in with admin.token)",
            ),
        ] {
            let expected = format!("console: {expected}");
            assert_eq!(console(config), Some(expected), "{config}");
        }
    }

    #[test]
    fn the_port_is_the_one_the_system_chose() {
        let shown = banner("server.port = 0", "127.0.0.1:43210");
        assert!(shown.contains("listening on 127.0.0.1:43210\n"), "{shown}");
        assert!(shown.contains("wsPort: 43210,"), "{shown}");
    }

    #[test]
    fn tls_prefix_and_tokens_show_in_the_snippet() {
        let shown = banner(
            "server = { host = 'localhost', path_prefix = 'rt', tls_cert = 'c', tls_key = 'k' }\n\
             auth.jwt_secret = 'hush'",
            "127.0.0.1:443",
        );
        assert!(
            shown.contains("listening on 127.0.0.1:443 (TLS)\n"),
            "{shown}"
        );
        assert!(shown.contains("wsHost: 'localhost',"), "{shown}");
        assert!(shown.contains("forceTLS: true,"), "{shown}");
        assert!(shown.contains("wsPath: '/rt',"), "{shown}");
        assert!(
            shown.contains("authEndpoint: 'https://localhost:443/rt/api/broadcasting/auth',"),
            "{shown}"
        );
        assert!(
            !shown.contains("hush") && !shown.contains("app-secret"),
            "{shown}"
        );
    }

    #[test]
    fn a_server_on_every_address_is_where_the_page_came_from() {
        let shown = banner("auth.jwt_secret = 'hush'", "0.0.0.0:6001");
        assert!(
            shown.contains("wsHost: window.location.hostname,"),
            "{shown}"
        );
        assert!(
            shown.contains(
                "authEndpoint: `http://${window.location.hostname}:6001/api/broadcasting/auth`,"
            ),
            "{shown}"
        );
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets() {
        let shown = banner("server.host = '::1'", "[::1]:6001");
        assert!(shown.contains("wsHost: '[::1]',"), "{shown}");
    }
}
