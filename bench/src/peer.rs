//! A peer's server that runs in the same rounds, from the environment: GEMA_BENCH_PEER is the command that starts it,
//! GEMA_BENCH_PEER_PORT where it then listens, GEMA_BENCH_PEER_ID, _KEY and _SECRET its app.

use std::{env, net::SocketAddrV4};

use crate::{child::Launch, error::BenchError, target::App};

/// The peer, if there is one. CPU and memory are those of the process that the command becomes.
pub(crate) fn from_environment() -> Result<Option<Launch>, BenchError> {
    from(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Launch>, BenchError> {
    let Some(line) = variable("GEMA_BENCH_PEER") else {
        return Ok(None);
    };
    let port = variable("GEMA_BENCH_PEER_PORT").unwrap_or_else(|| "6001".to_owned());
    let port: u16 = port.parse().map_err(|_| BenchError::Setting {
        name: "GEMA_BENCH_PEER_PORT",
        why: format!("{port:?} is not a port; give the one that the peer listens on"),
    })?;
    let mut app = App::embedded(SocketAddrV4::new([127, 0, 0, 1].into(), port));
    for (part, name) in [
        (&mut app.id, "GEMA_BENCH_PEER_ID"),
        (&mut app.key, "GEMA_BENCH_PEER_KEY"),
        (&mut app.secret, "GEMA_BENCH_PEER_SECRET"),
    ] {
        if let Some(value) = variable(name) {
            *part = value;
        }
    }
    Ok(Some(Launch::Command { line, app }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Option<Launch>, BenchError> {
        from(|name| {
            let (_, value) = pairs.iter().find(|(key, _)| *key == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn a_peer_is_its_command_port_and_app() {
        assert!(with(&[("GEMA_BENCH_PEER_PORT", "1")]).unwrap().is_none());
        let peer = with(&[
            ("GEMA_BENCH_PEER", "serve it"),
            ("GEMA_BENCH_PEER_PORT", "8080"),
            ("GEMA_BENCH_PEER_KEY", "k"),
        ]);
        let Some(Launch::Command { line, app }) = peer.unwrap() else {
            panic!("no command");
        };
        assert_eq!((&*line, app.address.port()), ("serve it", 8080));
        assert_eq!((&*app.id, &*app.key), ("app-id", "k"));
        assert!(with(&[("GEMA_BENCH_PEER", "x"), ("GEMA_BENCH_PEER_PORT", "no")]).is_err());
    }
}
