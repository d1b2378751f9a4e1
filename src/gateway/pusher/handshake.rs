//! What a client asks for when it connects, and why it may be refused. A refusal is told after the
//! upgrade, by `pusher:error` and the close code: clients do not see the status of a failed upgrade.

use std::net::IpAddr;
use std::sync::Arc;

use gema_protocol::code::Code;
use gema_protocol::user::User;

use super::Gateway;
use crate::apps::App;
use crate::clock;
use crate::gateway::admission::{Admitted, Full};
use crate::hub::Farewell;

/// The oldest and the newest protocol version in use: 5 is what the Java and .NET clients speak.
const PROTOCOLS: std::ops::RangeInclusive<u32> = 4..=7;

const TOO_FAST: &str = "Too many connections at once (limits.handshakes_per_s)";

/// The request for a connection, as its URL and headers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
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
        client: IpAddr,
        key: Option<String>,
        query: &str,
        origin: Option<String>,
    ) -> Handshake {
        let mut handshake = Handshake {
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
        let admission = &gateway.admission;
        if !admission.take_handshake(clock::now_ms()) {
            return Err(Farewell::with(Code::OverCapacity, TOO_FAST));
        }
        let Some(key) = &self.key else {
            return Err(Farewell::of(Code::PathNotFound));
        };
        if let Some(protocol) = &self.protocol {
            match protocol.parse::<u32>() {
                Ok(version) if PROTOCOLS.contains(&version) => {}
                Ok(_) => return Err(Farewell::of(Code::UnsupportedProtocol)),
                Err(_) => return Err(Farewell::of(Code::InvalidVersion)),
            }
        }
        let Some(app) = gateway.apps.by_key(key) else {
            return Err(Farewell::of(Code::AppNotFound));
        };
        if !app.enabled {
            return Err(Farewell::of(Code::AppDisabled));
        }
        if !app.allowed_origins.allows(self.origin.as_deref()) {
            let text = "Origin not allowed (apps.allowed_origins)";
            return Err(Farewell::with(Code::Unauthorized, text));
        }
        let user = match &self.token {
            Some(token) => Some(signed_in(gateway, token).await?),
            None => None,
        };
        let admitted = admission.admit(app).map_err(|full| {
            let code = match full {
                Full::App => Code::OverQuota,
                Full::Server => Code::OverCapacity,
                Full::Closing => Code::Reconnect,
            };
            Farewell::with(code, &full.to_string())
        })?;
        Ok(Accepted {
            client: self.client,
            app: app.clone(),
            user,
            admitted,
        })
    }
}

async fn signed_in(gateway: &Gateway, token: &str) -> Result<User, Farewell> {
    let identity = gateway
        .authorizer
        .authenticate(token)
        .await
        .map_err(|error| {
            // 4009 would keep clients away for good, which an unreachable key set is no reason for.
            let code = match error.is_ours() {
                true => Code::OverCapacity,
                false => Code::Unauthorized,
            };
            Farewell::with(code, &error.to_string())
        })?;
    Ok(gateway.authorizer.user(&identity))
}
