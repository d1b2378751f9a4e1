//! Who may come in. Unlike a Pusher client, a client of this door is told before the upgrade, by the status of the
//! answer: that is what its libraries show.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Plain;
use crate::apps::App;
use crate::auth::{Identity, TokenError};
use crate::clock;
use crate::gateway::Kind;
use crate::gateway::admission::{Admitted, Full};
use crate::metrics::Refused;

/// The request for a connection, as its URL and headers have it.
#[derive(Clone, Copy)]
pub struct Handshake<'a> {
    /// Who asks, behind trusted proxies; for the log.
    pub client: IpAddr,
    /// The JWT: `token` of the query, else of the header `Authorization`.
    pub token: Option<&'a str>,
    /// The `Origin` header; only browsers send it.
    pub origin: Option<&'a str>,
}

/// Shows no token.
impl fmt::Debug for Handshake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("client", &self.client)
            .field("token", &self.token.map(|_| "***"))
            .field("origin", &self.origin)
            .finish()
    }
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it means")]
pub enum Refusal {
    #[error("Too many connections at once (limits.handshakes_per_s)")]
    TooFast,
    #[error("Origin not allowed (apps.allowed_origins)")]
    Origin,
    #[error("The app of auth.app is disabled")]
    NoApp,
    #[error("Send the user's token: ?token=… or the header 'Authorization: Bearer …'")]
    NoToken,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Full(#[from] Full),
}

/// A client that may stay.
#[derive(Debug)]
pub struct Accepted {
    pub(super) client: IpAddr,
    pub(super) app: Arc<App>,
    pub(super) identity: Arc<Identity>,
    pub(super) admitted: Admitted,
}

impl Handshake<'_> {
    /// Who it is.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn identify(&self, plain: &Plain) -> Result<Identity, Refusal> {
        let judged = self.judge(plain).await;
        judged.inspect_err(|refusal| plain.gateway.metrics.refused(refusal.counts_as()))
    }

    /// Lets it in.
    ///
    /// # Errors
    /// There is no room.
    pub fn admit(&self, plain: &Plain, identity: Identity) -> Result<Accepted, Refusal> {
        let app = plain.app.get().ok_or(Refusal::NoApp);
        let admitted = app.and_then(|app| {
            let admitted = plain.gateway.admission.admit(&app, Kind::Plain)?;
            Ok((app, admitted))
        });
        let (app, admitted) =
            admitted.inspect_err(|refusal| plain.gateway.metrics.refused(refusal.counts_as()))?;
        Ok(Accepted {
            client: self.client,
            app,
            identity: Arc::new(identity),
            admitted,
        })
    }

    async fn judge(&self, plain: &Plain) -> Result<Identity, Refusal> {
        if !plain.gateway.admission.take_handshake(clock::now_ms()) {
            return Err(Refusal::TooFast);
        }
        let app = plain.app.get().ok_or(Refusal::NoApp)?;
        if !app.allowed_origins.allows(self.origin) {
            return Err(Refusal::Origin);
        }
        let token = self.token.ok_or(Refusal::NoToken)?;
        Ok(plain.gateway.authorizer.authenticate(token).await?)
    }
}

impl Refusal {
    fn counts_as(&self) -> Refused {
        match self {
            Refusal::TooFast => Refused::HandshakeRate,
            Refusal::Origin => Refused::Origin,
            Refusal::NoApp => Refused::DisabledApp,
            Refusal::Token(error) if error.is_ours() => Refused::TokenKeys,
            Refusal::NoToken | Refusal::Token(_) => Refused::Token,
            Refusal::Full(Full::Server) => Refused::ServerFull,
            Refusal::Full(Full::App) => Refused::AppFull,
            Refusal::Full(Full::Closing) => Refused::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_token() {
        let handshake = Handshake {
            client: IpAddr::from([127, 0, 0, 1]),
            token: Some("hush"),
            origin: None,
        };
        let shown = format!("{handshake:?}");
        assert!(shown.contains("***") && !shown.contains("hush"), "{shown}");
    }
}
