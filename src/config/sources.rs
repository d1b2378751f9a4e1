//! Where a configuration is read from: the embedded defaults, a file, the environment and flags, laid over each other.

use std::path::PathBuf;

use toml::Value;

use super::error::{ConfigError, Place, Problem};
use super::layers::{Layers, Places, Slot};
use super::raw::Raw;
use super::variables;

/// Where to read a configuration from; the default is nowhere, which gives the embedded defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Names and values of the environment.
    pub env: Vec<(String, String)>,
    /// The flag `--host`.
    pub host: Option<String>,
    /// The flag `--port`.
    pub port: Option<u16>,
}

impl Sources {
    /// Reads them all, and says where each value stands.
    pub(super) fn read(&self) -> Result<(Raw, Places), ConfigError> {
        let mut layers = Layers::defaults()?;
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file).map_err(|error| Problem::Unreadable {
                file: file.display().to_string(),
                reason: error.to_string(),
            })?;
            lay_file(&mut layers, &text, &file.display().to_string())?;
        }
        variables::lay(&mut layers, &self.env)?;
        if let Some(host) = &self.host {
            let host = Value::String(host.clone());
            layers.lay_value(
                &Slot::Section("server", "host"),
                host,
                Place::Flag("--host"),
            );
        }
        if let Some(port) = self.port {
            let port = Value::Integer(port.into());
            layers.lay_value(
                &Slot::Section("server", "port"),
                port,
                Place::Flag("--port"),
            );
        }
        layers.into_raw()
    }
}

/// Lays a file's text over what is there; `name` is the file's in complaints.
pub(super) fn lay_file(layers: &mut Layers, text: &str, name: &str) -> Result<(), ConfigError> {
    layers.lay_document(text, |line, column| Place::File {
        file: name.to_owned(),
        line,
        column,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn sources(file: &str) -> (tempfile::TempDir, Sources) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gema.toml");
        std::fs::write(&path, file).unwrap();
        let sources = Sources {
            file: Some(path),
            ..Sources::default()
        };
        (directory, sources)
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let port = |sources: &Sources| Config::load(sources).unwrap().server.port;
        assert_eq!(port(&Sources::default()), 6001);
        let (_directory, mut sources) = sources("server.port = 6002");
        assert_eq!(port(&sources), 6002);
        sources.env = vec![("GEMA_SERVER__PORT".to_owned(), "6003".to_owned())];
        assert_eq!(port(&sources), 6003);
        sources.port = Some(6004);
        assert_eq!(port(&sources), 6004);
    }

    #[test]
    fn a_file_keeps_the_defaults_it_does_not_name() {
        let config = Config::from_toml("server.port = 1").unwrap();
        assert_eq!(config.server.host, "127.0.0.1");
        assert_eq!(config.limits.event_data_bytes, 10_240);
    }

    #[test]
    fn an_alias_fills_what_an_app_of_the_file_lacks() {
        let (_directory, mut sources) = sources("[[apps]]\nid = '1'\nkey = 'k'");
        assert!(Config::load(&sources).is_err());
        sources.env = vec![("PUSHER_APP_SECRET".to_owned(), "s".to_owned())];
        assert_eq!(Config::load(&sources).unwrap().apps[0].secret, "s");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let sources = Sources {
            file: Some(PathBuf::from("/nowhere/gema.toml")),
            ..Sources::default()
        };
        let said = Config::load(&sources).unwrap_err().to_string();
        assert!(
            said.starts_with("/nowhere/gema.toml: cannot be read: No such file"),
            "{said}"
        );
    }

    #[test]
    fn a_mistake_names_the_file_and_a_flag_its_own_name() {
        let (_directory, mut sources) = sources("[server]\nhots = 'x'");
        let file = sources
            .file
            .as_ref()
            .map(|file| file.display().to_string())
            .unwrap();
        let said = Config::load(&sources).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("{file}:2:1: unknown key server.hots; the nearest valid name is server.host")
        );
        sources.file = None;
        sources.host = Some(String::new());
        let said = Config::load(&sources).unwrap_err().to_string();
        assert_eq!(said, "--host: server.host is empty");
    }

    #[test]
    fn the_effective_configuration_shows_no_secret_and_can_be_read_again() {
        let (_directory, mut sources) = sources("[[auth.guards]]\nchannel = 'admin'");
        sources.port = Some(7000);
        let env = [("JWT_SECRET", "hush"), ("GEMA_ADMIN__TOKEN", "hush, too")];
        sources.env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let shown = Config::explain(&sources).unwrap();
        assert!(
            !shown.contains("app-secret") && !shown.contains("hush"),
            "{shown}"
        );
        assert!(shown.contains("jwt_secret = \"***\""), "{shown}");
        assert!(shown.contains("\ntoken = \"***\""), "{shown}");
        assert!(shown.contains("encryption_master_key = \"\""), "{shown}");
        let again = Config::from_toml(&shown).unwrap();
        assert_eq!(again.server.port, 7000);
        assert_eq!(again.auth.settings.rules.len(), 5);
        assert_eq!(again.auth.settings.guards.len(), 1);
    }
}
