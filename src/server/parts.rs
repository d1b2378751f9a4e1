//! What a server consists of, beside its listener: every part made in the order in which they need one another.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::ServerError;
use crate::apps::{Apps, PerApp, SigningApp};
use crate::auth::Authorizer;
use crate::broker::Broker;
use crate::bus::{self, Bus};
use crate::chat::Chat;
use crate::cluster::Cluster;
use crate::config::{self, AppRows, Config};
use crate::gateway::admission::Admission;
use crate::gateway::fallback::Sessions;
use crate::gateway::plain::Plain;
use crate::gateway::policies::Policies;
use crate::gateway::pusher::Gateway;
use crate::gateway::socketio;
use crate::http::{self, Context};
use crate::hub::Hub;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::outbox::{self, Lag, Outbox};
use crate::roster::{AppTable, Roster};
use crate::store::Store;
use crate::users::Users;
use crate::webhooks::{self, Delivery, Webhooks};

/// Absences on their way to being claimed at Redis, which takes a millisecond; what finds no room is held for longer.
const CLAIMS: usize = 1024;

/// What a server consists of, beside its listener.
pub(super) struct Parts {
    pub(super) context: Arc<Context>,
    /// Says when the last connection has gone.
    pub(super) empty: mpsc::Receiver<()>,
    pub(super) delivery: Delivery,
    /// With other nodes.
    pub(super) cluster: Option<Cluster>,
    /// With a table of events to publish.
    pub(super) outbox: Option<Outbox>,
    /// The apps in force.
    pub(super) roster: Arc<Roster>,
    /// With a table of apps; dropped, it is read no more.
    pub(super) app_table: Option<AppTable>,
}

impl Parts {
    /// Makes them all and starts those that have tasks of their own. `node` is the first half of this node's socket ids.
    pub(super) fn new(config: &Config, hub: &Arc<Hub>, node: u64) -> Result<Parts, ServerError> {
        let limits = &config.limits;
        let apps = Arc::new(Apps::new(config.apps.clone()));
        let (bus, inbox) = config
            .redis
            .as_ref()
            .map(|redis| Bus::start(bus_settings(redis), node, &apps))
            .unzip();
        let (claims, lasted) = mpsc::channel(CLAIMS);
        let claims = bus.is_some().then_some(&claims);
        let (webhooks, delivery) = Webhooks::start(&apps, &webhooks::Settings::default(), claims)?;
        let live = Arc::new(Live::default());
        let max_members = limits.presence_members;
        let broker = Broker::start(
            hub.clone(),
            webhooks.clone(),
            live.clone(),
            bus.clone(),
            apps.clone(),
            max_members,
        );
        let users = Users::new(hub.clone(), bus.clone(), apps.clone());
        let metrics = Arc::new(Metrics::new(&http::ROUTES));
        let store = config
            .needs_database()
            .then(|| Store::start(&config.database));
        let authorizer = Authorizer::new(config.auth.settings.clone())?;
        let authorizer = Arc::new(authorizer.asking(store.clone()));
        let (admission, empty) = Admission::new(limits, &apps.all());
        let chat = config.chat.as_ref().zip(store.as_ref());
        let chat = chat.map(|(settings, store)| {
            // The one whose channels its users' tokens open.
            let app = apps.by_id(&config.auth.app).map_or(0, |app| app.index);
            let (broker, metrics) = (broker.clone(), metrics.clone());
            Chat::start(settings.content_chars, store.clone(), broker, metrics, app)
        });
        let gateway = Arc::new(Gateway {
            hub: hub.clone(),
            broker: broker.clone(),
            users: users.clone(),
            admission,
            policies: Policies::new(limits.clone()),
            apps: apps.clone(),
            authorizer: authorizer.clone(),
            metrics: metrics.clone(),
            chat,
            live,
            activity_timeout_s: limits.activity_timeout_s as u32,
            message_bytes: limits.message_bytes,
        });
        let cluster = bus.clone().zip(inbox).map(|(bus, inbox)| {
            Cluster::start(bus, inbox, gateway.clone(), webhooks.clone(), lasted)
        });
        let fallback = config
            .gateways
            .http_fallback
            .then(|| Sessions::new(gateway.clone(), limits.max_connections));
        let (outbox, outbox_lag) = store
            .clone()
            .zip(config.outbox.clone())
            .map(|(store, settings)| {
                let means = outbox::Means {
                    store,
                    broker: broker.clone(),
                    bus: bus.clone(),
                    apps: apps.clone(),
                    first_app: config
                        .apps
                        .first()
                        .map_or_else(String::new, |app| app.id.clone()),
                    limits: limits.clone(),
                    metrics: metrics.clone(),
                };
                let lag = Arc::new(Lag::default());
                (Outbox::start(means, settings, lag.clone()), lag)
            })
            .unzip();
        let roster = Roster::new(gateway.clone(), webhooks.clone(), config.apps.clone());
        let app_table = match (&store, &config.database.apps) {
            (Some(store), Some(table)) => {
                let judge = AppRows::new(&config.server.host)?;
                let (store, table) = (store.clone(), table.clone());
                Some(AppTable::start(store, roster.clone(), table, judge))
            }
            _ => None,
        };
        let signing_app = SigningApp::new(apps.clone(), &config.auth.app);
        let socketio = socketio::Door::new(config, gateway.clone(), signing_app.clone());
        let plain = config.gateways.plain_path.clone().map(|path| {
            Arc::new(Plain {
                gateway: gateway.clone(),
                app: signing_app.clone(),
                path,
                user_channels: config.gateways.user_channels.clone(),
            })
        });
        let context = Context {
            socketio,
            gateways: config.gateways.clone(),
            fallback,
            plain,
            rates: PerApp::default(),
            signing_app,
            limits: limits.clone(),
            path_prefix: config.server.path_prefix.clone(),
            background: Handle::current(),
            draining: false.into(),
            ready_asked_ms: 0.into(),
            bus,
            webhooks,
            store,
            outbox_lag,
            metrics,
            apps,
            broker,
            users,
            gateway,
            authorizer,
        };
        Ok(Parts {
            context: Arc::new(context),
            empty,
            delivery,
            cluster,
            outbox,
            roster,
            app_table,
        })
    }
}

fn bus_settings(redis: &config::Redis) -> bus::Settings {
    bus::Settings {
        servers: redis.servers.clone(),
        prefix: redis.prefix.clone(),
        lease: Duration::from_secs(redis.node_lease_s),
    }
}
