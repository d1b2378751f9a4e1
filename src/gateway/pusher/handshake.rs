//! What a client asks for when it connects, and why it may be refused. A refusal is told after the
//! upgrade, by `pusher:error` and the close code: clients do not see the status of a failed upgrade.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use gema_protocol::code::Code;
use gema_protocol::user::User;

use super::Gateway;
use crate::apps::{App, Missing};
use crate::clock;
use crate::gateway::Kind;
use crate::gateway::admission::{Admitted, Full};
use crate::hub::Farewell;
use crate::metrics::Refused;

/// The oldest and the newest protocol version in use: 5 is what the Java and .NET clients speak.
const PROTOCOLS: std::ops::RangeInclusive<u32> = 4..=7;

const TOO_FAST: &str = "Too many connections at once (limits.handshakes_per_s)";

const UNREAD: &str = "Apps cannot be looked up at the moment (database.apps)";

/// The request for a connection, as its URL and headers have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Handshake {
    /// How it came.
    pub gateway: Kind,
    /// Who asks, behind trusted proxies; for the log.
    pub client: IpAddr,
    /// The app's key, from the path; `None` when the path is not `/app/{key}`.
    pub key: Option<String>,
    /// `protocol` of the query.
    pub protocol: Option<String>,
    /// `token` of the query: a JWT that signs the connection in.
    pub token: Option<String>,
    /// The `Origin` header; only browsers send it.
    pub origin: Option<String>,
}

/// Shows no token.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("gateway", &self.gateway)
            .field("client", &self.client)
            .field("key", &self.key)
            .field("protocol", &self.protocol)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("origin", &self.origin)
            .finish()
    }
}

/// A client that may stay.
#[derive(Debug)]
pub struct Accepted {
    pub(super) client: IpAddr,
    pub(super) app: Arc<App>,
    pub(super) user: Option<User>,
    pub(super) admitted: Admitted,
}

impl Handshake {
    /// Reads the query of the connection URL; parameters it does not know are ignored.
    pub fn new(
        gateway: Kind,
        client: IpAddr,
        key: Option<String>,
        query: &str,
        origin: Option<String>,
    ) -> Handshake {
        let mut handshake = Handshake {
            gateway,
            client,
            key,
            protocol: None,
            token: None,
            origin,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "protocol" => handshake.protocol = Some(value.into_owned()),
                "token" if !value.is_empty() => handshake.token = Some(value.into_owned()),
                _ => {}
            }
        }
        handshake
    }

    /// Decides, or gives the farewell that says why not.
    pub async fn decide(&self, gateway: &Gateway) -> Result<Accepted, Farewell> {
        let judged = self.judge(gateway).await;
        judged.map_err(|(why, farewell)| {
            gateway.metrics.refused(why);
            farewell
        })
    }

    async fn judge(&self, gateway: &Gateway) -> Result<Accepted, (Refused, Farewell)> {
        let admission = &gateway.admission;
        if !admission.take_handshake(clock::now_ms()) {
            let farewell = Farewell::with(Code::OverCapacity, TOO_FAST);
            return Err((Refused::HandshakeRate, farewell));
        }
        let Some(key) = &self.key else {
            return Err((Refused::Path, Farewell::of(Code::PathNotFound)));
        };
        if let Some(protocol) = &self.protocol {
            let code = match protocol.parse::<u32>() {
                Ok(version) if PROTOCOLS.contains(&version) => None,
                Ok(_) => Some(Code::UnsupportedProtocol),
                Err(_) => Some(Code::InvalidVersion),
            };
            if let Some(code) = code {
                return Err((Refused::Protocol, Farewell::of(code)));
            }
        }
        let app = gateway.apps.find_by_key(key).await.map_err(|missing| {
            match missing {
                Missing::Unknown => (Refused::UnknownApp, Farewell::of(Code::AppNotFound)),
                // 4001 would keep the clients of an app away for good that is there and cannot be read.
                Missing::Unread => {
                    let farewell = Farewell::with(Code::OverCapacity, UNREAD);
                    (Refused::UnreadApp, farewell)
                }
            }
        })?;
        if !app.enabled {
            return Err((Refused::DisabledApp, Farewell::of(Code::AppDisabled)));
        }
        if !app.allowed_origins.allows(self.origin.as_deref()) {
            let text = "Origin not allowed (apps.allowed_origins)";
            let farewell = Farewell::with(Code::Unauthorized, text);
            return Err((Refused::Origin, farewell));
        }
        let user = match &self.token {
            Some(token) => Some(signed_in(gateway, token).await?),
            None => None,
        };
        let admitted = admission.admit(&app, self.gateway).map_err(|full| {
            let (why, code) = match full {
                Full::App => (Refused::AppFull, Code::OverQuota),
                Full::Server => (Refused::ServerFull, Code::OverCapacity),
                Full::Closing => (Refused::Draining, Code::Reconnect),
            };
            (why, Farewell::with(code, &full.to_string()))
        })?;
        Ok(Accepted {
            client: self.client,
            app,
            user,
            admitted,
        })
    }
}

async fn signed_in(gateway: &Gateway, token: &str) -> Result<User, (Refused, Farewell)> {
    let identity = gateway
        .authorizer
        .authenticate(token)
        .await
        .map_err(|error| {
            // 4009 would keep clients away for good, which an unreachable key set is no reason for.
            let (why, code) = match error.is_ours() {
                true => (Refused::TokenKeys, Code::OverCapacity),
                false => (Refused::Token, Code::Unauthorized),
            };
            (why, Farewell::with(code, &error.to_string()))
        })?;
    if let Some(chat) = &gateway.chat {
        chat.note(&identity);
    }
    Ok(gateway.authorizer.user(&identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_token() {
        let client = IpAddr::from([127, 0, 0, 1]);
        let handshake = Handshake::new(Kind::Pusher, client, None, "protocol=7&token=hush", None);
        let shown = format!("{handshake:?}");
        assert!(shown.contains("***") && !shown.contains("hush"), "{shown}");
    }
}
