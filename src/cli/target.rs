//! Which server and which app a command means: the configuration's own, unless flags say otherwise.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use super::client::Trust;
use super::{CommandError, sources};
use crate::config::Config;

/// Which app, and whom to believe.
#[derive(Debug, clap::Args)]
pub(super) struct AppArgs {
    /// TOML file that names the server and the app; by default the embedded defaults and the environment do
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Id of the app; by default the configuration's first
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Key of the app, over the configuration's
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Secret of the app, over the configuration's; PUSHER_APP_SECRET in the environment is seen by fewer eyes
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// PEM file of certificates to believe besides the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Which server, and which app of it.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// The server, such as https://realtime.example.com; by default where the configuration listens
    #[arg(long, value_name = "URL", conflicts_with_all = ["host", "port"])]
    url: Option<String>,
    /// Host of the server, over the configuration's
    #[arg(long)]
    host: Option<String>,
    /// Port of the server, over the configuration's
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    app: AppArgs,
}

/// A server, and whom to believe that it is the one.
#[derive(Clone)]
pub(super) struct Target {
    /// http or https, host, port, and the path it is served under.
    pub(super) base: Url,
    pub(super) trust: Trust,
    pub(super) app: App,
    /// What the configuration says, for what else a command needs of it.
    pub(super) config: Config,
}

/// The app's credentials, as far as they are known: an app that is on no list may be named by its key alone.
#[derive(Clone)]
pub(super) struct App {
    pub(super) id: Option<String>,
    pub(super) key: String,
    pub(super) secret: Option<String>,
}

/// What it takes to sign.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) secret: String,
}

impl TargetArgs {
    pub(super) fn resolve(self) -> Result<Target, CommandError> {
        let mut config = Config::load(&sources(self.app.config.clone()))?;
        if let Some(host) = self.host {
            config.server.host = host;
        }
        if let Some(port) = self.port {
            config.server.port = port;
        }
        self.app.resolve(self.url.as_deref(), config)
    }
}

impl AppArgs {
    /// The server at `url`, or where the configuration listens.
    pub(super) fn at(self, url: Option<&str>) -> Result<Target, CommandError> {
        let config = Config::load(&sources(self.config.clone()))?;
        self.resolve(url, config)
    }

    fn resolve(self, url: Option<&str>, config: Config) -> Result<Target, CommandError> {
        let base = match url {
            Some(url) => parse(url)?,
            None => listener(&config)?,
        };
        Ok(Target {
            base,
            trust: Trust::load(self.ca.as_deref()).map_err(CommandError::Usage)?,
            app: app(&config, self.app, self.key, self.secret)?,
            config,
        })
    }
}

impl Target {
    /// A host name or an address, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        let host = self.base.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        self.base.port_or_known_default().unwrap_or(80)
    }

    pub(super) fn tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The URL of a path of the server, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// The URL of a WebSocket.
    pub(super) fn socket_url(&self, path: &str) -> String {
        // http -> ws, https -> wss
        self.url(path).replacen("http", "ws", 1)
    }

    /// # Errors
    /// What is missing for signing.
    pub(super) fn credentials(&self) -> Result<Credentials, CommandError> {
        match self.app.clone() {
            App {
                id: Some(id),
                key,
                secret: Some(secret),
            } => Ok(Credentials { id, key, secret }),
            App { key, .. } => Err(CommandError::Usage(format!(
                "the configuration has no app with the key \"{key}\"; name its --app and its --secret too, or the \
                 --config that has it"
            ))),
        }
    }
}

/// The URL as somebody writes it: with http, https, ws or wss, or without any.
fn parse(given: &str) -> Result<Url, CommandError> {
    let wrong = |why: &str| {
        CommandError::Usage(format!(
            "\"{given}\" is no address of a server ({why}); write it as https://realtime.example.com or \
             http://127.0.0.1:6001"
        ))
    };
    let text = match given.split_once("://") {
        None => format!("http://{given}"),
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(("http" | "https", _)) => given.to_owned(),
        Some(_) => return Err(wrong("it begins with neither http:// nor https://")),
    };
    let mut url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it names no host"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Where a server with this configuration is found from the same machine.
fn listener(config: &Config) -> Result<Url, CommandError> {
    let server = &config.server;
    if server.port == 0 {
        return Err(CommandError::Usage(
            "server.port is 0, so the system has chosen one; name the server with --url".to_owned(),
        ));
    }
    let scheme = if server.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let host = match server.host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => server.host.clone(),
    };
    parse(&format!(
        "{scheme}://{host}:{}{}",
        server.port, server.path_prefix
    ))
}

fn app(
    config: &Config,
    id: Option<String>,
    key: Option<String>,
    secret: Option<String>,
) -> Result<App, CommandError> {
    let known = match (&id, &key) {
        (Some(id), _) => config.apps.iter().find(|app| app.id == *id),
        (None, Some(key)) => config.apps.iter().find(|app| app.key == *key),
        (None, None) => config.apps.first(),
    };
    let Some(key) = key.or_else(|| known.map(|app| app.key.clone())) else {
        let id = id.unwrap_or_default();
        return Err(CommandError::Usage(format!(
            "the configuration has no app \"{id}\"; name its --key and its --secret too, or the --config that has it"
        )));
    };
    Ok(App {
        id: id.or_else(|| known.map(|app| app.id.clone())),
        key,
        secret: secret.or_else(|| known.map(|app| app.secret.clone())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(toml: &str) -> String {
        listener(&Config::from_toml(toml).unwrap())
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_server_is_where_the_configuration_listens() {
        assert_eq!(found(""), "http://127.0.0.1:6001/");
        let own = "[[apps]]\nid = 'a'\nkey = 'k'\nsecret = 's'\n[server]\n";
        assert_eq!(
            found(&format!("{own}host = '0.0.0.0'\npath_prefix = 'rt'")),
            "http://127.0.0.1:6001/rt"
        );
        assert_eq!(
            found(&format!("{own}host = '::'\nport = 7")),
            "http://[::1]:7/"
        );
        let tls = "host = 'rt.example.com'\ntls_cert = 'c'\ntls_key = 'k'\nport = 443";
        assert_eq!(found(&format!("{own}{tls}")), "https://rt.example.com/");
    }

    #[test]
    fn a_port_that_the_system_chose_has_to_be_named() {
        let config = Config::from_toml("server.port = 0").unwrap();
        let said = listener(&config).unwrap_err().to_string();
        assert!(said.contains("--url"), "{said}");
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (given, url) in [
            ("example.com", "http://example.com/"),
            ("ws://example.com:6001", "http://example.com:6001/"),
            ("wss://example.com/rt/", "https://example.com/rt/"),
            ("https://example.com/?a#b", "https://example.com/"),
        ] {
            assert_eq!(parse(given).unwrap().as_str(), url);
        }
        for given in ["ftp://example.com", "http://", "http://a b"] {
            let said = parse(given).unwrap_err().to_string();
            assert!(said.contains(given), "{said}");
        }
    }

    #[test]
    fn flags_win_over_the_configured_app() {
        let config = Config::from_toml(
            "[[apps]]\nid = '1'\nkey = 'one'\nsecret = 'a'\n[[apps]]\nid = '2'\nkey = 'two'\nsecret = 'b'",
        )
        .unwrap();
        let choose = |id: Option<&str>, key: Option<&str>, secret: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            app(&config, owned(id), owned(key), owned(secret))
        };
        let of = |chosen: App| (chosen.id, chosen.key, chosen.secret);
        let full = |id: &str, key: &str, secret: &str| {
            (Some(id.to_owned()), key.to_owned(), Some(secret.to_owned()))
        };
        assert_eq!(of(choose(None, None, None).unwrap()), full("1", "one", "a"));
        assert_eq!(
            of(choose(Some("2"), None, None).unwrap()),
            full("2", "two", "b")
        );
        assert_eq!(
            of(choose(None, Some("two"), None).unwrap()),
            full("2", "two", "b")
        );
        assert_eq!(
            of(choose(None, None, Some("c")).unwrap()),
            full("1", "one", "c")
        );
        assert_eq!(
            of(choose(None, Some("x"), None).unwrap()),
            (None, "x".to_owned(), None)
        );
        assert!(choose(Some("3"), None, None).is_err());
    }
}
