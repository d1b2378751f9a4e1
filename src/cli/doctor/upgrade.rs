//! The WebSocket upgrade through whatever stands before the server, and the app's key.

use std::time::Duration;

use super::{Problem, Verdict};
use crate::cli::client::{Ended, Socket};
use crate::cli::target::Target;

/// What a proxy needs. nginx speaks HTTP/1.0 to what is behind it, without the two headers, unless it is told.
const NGINX: &str = "\
the proxy does not pass the upgrade on; for nginx, in the location of this server:
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection \"upgrade\";
    proxy_set_header Host $http_host;
    proxy_read_timeout 180s;
(Apache: ProxyPass with upgrade=websocket; a CDN has a switch for WebSockets)";

/// Whether the handshake is answered with 101. The greeting is another check's.
pub(super) async fn upgrade(target: &Target, within: Duration) -> Verdict<()> {
    match Socket::upgrade(target, None, within).await {
        Ok(_) => Ok(((), "upgraded".to_owned())),
        Err(ended) => Err(problem(ended)),
    }
}

/// Whether the server greets a client with this key.
pub(super) async fn key(target: &Target, within: Duration) -> Verdict<()> {
    match Socket::connect(target, None, within).await {
        Ok(socket) => {
            let found = format!("\"{}\" is let in, as {}", target.app.key, socket.id);
            socket.close().await;
            Ok(((), found))
        }
        Err(ended) => Err(problem(ended)),
    }
}

/// Why a connection does not stand, and what to do.
pub(super) fn problem(ended: Ended) -> Problem {
    let found = ended.to_string();
    match ended {
        Ended::Dial(error) => error.into(),
        Ended::NotUpgraded {
            status,
            location,
            text,
            ..
        } => not_upgraded(found, status, &location, &text),
        Ended::Closed { code: 4001, .. } => Problem::new(
            found,
            "use the key of an app that the server has (PUSHER_APP_KEY, or key under [[apps]]) in the page, and here \
             with --key or --config",
        ),
        Ended::Closed { .. } => Problem::new(found, ended.cure()),
        Ended::Broken(_) | Ended::Silent(_) => Problem::new(
            found,
            "something between here and gema takes the connection and does not pass it on: see the log of the proxy",
        ),
    }
}

fn not_upgraded(found: String, status: u16, location: &str, text: &str) -> Problem {
    let found = match text {
        "" => found,
        text => format!("{found}: {text}"),
    };
    let cure = match status {
        301 | 302 | 307 | 308 => format!(
            "browsers follow no redirect here: use the address that it leads to ({location}); with https, forceTLS: \
             true in the page"
        ),
        401 | 403 => {
            "what stands before gema asks for a login, or refuses the path; let /app/ through".to_owned()
        }
        429 => "the proxy limits requests (limit_req); leave /app/ out of it".to_owned(),
        502..=504 => {
            "the proxy does not reach gema, or gema is shutting down: start it, and compare the proxy's address with \
             server.host and server.port"
                .to_owned()
        }
        // 426 is gema's own for a request without the headers; 404, 400 and a page are those of other programs, or of
        // a proxy that sends the path elsewhere.
        _ => NGINX.to_owned(),
    };
    Problem::new(found, cure)
}
