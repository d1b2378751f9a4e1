//! Who may come in: the token of the handshake becomes a [`Guest`], joined to its channels before the client is told that
//! it is connected. A token that is not believed is told as `connect_error`.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use serde::Deserialize;
use socketioxide::adapter::LocalAdapter;
use socketioxide::handler::{ConnectHandler, Value};
use socketioxide::socket::Socket;
use tracing::debug;

use super::session;
use super::wire::Wire;
use crate::apps::SigningApp;
use crate::auth::Identity;
use crate::config::{ChannelTemplate, Config};
use crate::gateway::guest::Guest;
use crate::gateway::pusher::Gateway;
use crate::metrics::Refused;

/// Stands at the namespace `/`.
#[derive(Clone)]
pub(super) struct Porter(Arc<Rules>);

struct Rules {
    gateway: Arc<Gateway>,
    app: SigningApp,
    /// What everybody hears.
    open: Vec<String>,
    /// What those with a token hear besides.
    own: Vec<ChannelTemplate>,
}

/// Why somebody is not let in, for the client.
type Refusal = Box<dyn Display + Send>;

/// What clients send along: `io(url, { auth: { token } })`.
#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    token: Option<String>,
}

impl Porter {
    pub(super) fn new(config: &Config, gateway: Arc<Gateway>, app: SigningApp) -> Porter {
        let open = config.gateways.anonymous_channels.iter();
        Porter(Arc::new(Rules {
            gateway,
            app,
            open: open.map(|channel| channel.as_str().to_owned()).collect(),
            own: config.gateways.user_channels.clone(),
        }))
    }
}

impl Rules {
    async fn let_in(&self, wire: &Wire, auth: Option<&Value>) -> Result<(), Refusal> {
        let Some(admitted) = wire.take_admitted() else {
            return Err(refusal("The connection has had its session"));
        };
        let Some(app) = self.app.get() else {
            return Err(refusal("The app of auth.app is disabled"));
        };
        let identity = self.identity(auth).await?;
        let gateway = self.gateway.clone();
        let link = wire.link.clone();
        let mut guest = Guest::open(gateway, app, wire.client, identity, link, admitted).await;
        let own = guest.identity().map(|identity| {
            let fill = |template: &ChannelTemplate| template.fill(&identity.user_id);
            self.own.iter().map(fill).collect::<Vec<_>>()
        });
        for channel in own.iter().flatten().chain(&self.open) {
            // Nobody has asked for it, so nobody is told: a guard, or a user's id that makes no channel.
            if let Err(why) = guest.join(channel, None).await {
                debug!(socket = %guest.socket(), channel, %why, "not joined");
            }
        }
        wire.put_guest(guest);
        Ok(())
    }

    /// Whom the token speaks for; nobody without one.
    async fn identity(&self, auth: Option<&Value>) -> Result<Option<Identity>, Refusal> {
        let text = auth.and_then(Value::as_str);
        let auth = match text {
            Some(text) => serde_json::from_str::<Option<Auth>>(text)
                .map_err(|_| refusal("auth.token is not a text"))?
                .unwrap_or_default(),
            None => Auth::default(),
        };
        let Some(token) = auth.token.filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let identity = self.gateway.authorizer.authenticate(&token).await;
        identity.map(Some).map_err(|error| {
            self.gateway.metrics.refused(match error.is_ours() {
                true => Refused::TokenKeys,
                false => Refused::Token,
            });
            refusal(error.to_string())
        })
    }
}

impl ConnectHandler<LocalAdapter, Porter> for Porter {
    /// The client is told; from here on it is heard.
    fn call(&self, socket: Arc<Socket>, _: Option<Value>) {
        let let_in = wire(&socket).and_then(|wire| Some((wire.take_guest()?, wire)));
        match let_in {
            Some((guest, wire)) => session::begin(&self.0.gateway, &socket, wire, guest),
            // Only who was let in gets here.
            None => drop(socket.disconnect()),
        }
    }

    fn call_middleware<'a>(
        &'a self,
        socket: Arc<Socket>,
        auth: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>> {
        Box::pin(async move {
            match wire(&socket) {
                Some(wire) => self.0.let_in(&wire, auth.as_ref()).await,
                None => Err(refusal("The connection did not come by gema's door")),
            }
        })
    }
}

fn wire(socket: &Socket) -> Option<Arc<Wire>> {
    socket.req_parts().extensions.get::<Arc<Wire>>().cloned()
}

fn refusal(why: impl Display + Send + 'static) -> Refusal {
    Box::new(why)
}
