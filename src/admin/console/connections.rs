//! The connection inspector: this node's connections a page at a time, one alone, and sending a client away.

use std::sync::Arc;

use bytes::Bytes;
use gema_protocol::channel::ChannelName;
use gema_protocol::code::Code;
use gema_protocol::socket_id::SocketId;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::query::{Query, parse};
use super::{Ask, Console, Refused, Shared, acting, answer, reading};
use crate::clock;
use crate::gateway::Kind;
use crate::hub::{Farewell, Search, Seen, Topic};

/// Tells the client why, with a code after which pusher-js stays away, as after `terminate_connections`.
const STAY_AWAY: &str = "Disconnected by an operator";

/// With a code after which it comes back at once.
const COME_BACK: &str = "An operator asked this connection to be made anew";

/// One row of the list.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    app: String,
    gateway: &'static str,
    client: String,
    user: Option<String>,
    age_s: u64,
    silent_s: u64,
    outbox_bytes: usize,
    channel_count: usize,
    /// Some of them.
    channels: Vec<String>,
    /// The code with which it is about to end.
    closing: Option<u16>,
}

#[derive(Deserialize)]
struct Disconnect {
    code: u16,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let list = warp::path!("api" / "connections")
        .and(reading(shared.clone()))
        .then(|console: Arc<Console>, ask: Ask| async move { answer(list(&console, &ask).await) });
    let show = warp::path!("api" / "connections" / String)
        .and(reading(shared.clone()))
        .then(|id: String, console: Arc<Console>, _: Ask| async move {
            let (socket, seen) = match find(&console, &id).await {
                Ok(found) => found,
                Err(refused) => return answer(Err::<(), _>(refused)),
            };
            answer(Ok(Row::of(&console, socket, seen)))
        });
    let disconnect = warp::path!("api" / "connections" / String / "disconnect")
        .and(acting(shared))
        .then(
            |id: String, console: Arc<Console>, ask: Ask, body| async move {
                answer(disconnect(&console, &ask, &id, body).await)
            },
        );
    list.or(show).unify().or(disconnect).unify().boxed()
}

async fn list(console: &Console, ask: &Ask) -> Result<Value, Refused> {
    let query = Query::of(&ask.call);
    let app = query.text("app").map(|id| console.app(id)).transpose()?;
    let channel = match (query.text("channel"), &app) {
        (None, _) => None,
        (Some(_), None) => return Err(Refused::bad("app", "Say of which app the channel is")),
        (Some(name), Some(app)) => {
            let channel = ChannelName::parse(name, usize::MAX);
            let channel = channel.map_err(|error| Refused::bad("channel", error.to_string()))?;
            let app = app.index;
            Some(Topic { app, channel })
        }
    };
    let (app, wanted) = (app.map(|app| app.index), query.lower("q"));
    let node = console.context.gateway.hub.node();
    let limit = query.rows()?;
    let search = Search {
        before: query.number("before")?,
        // One more than is shown says whether there are more.
        limit: limit + 1,
        channel,
        filter: Box::new(move |seen| {
            app.is_none_or(|app| app == seen.origin.app)
                && (wanted.is_empty() || matches(seen, node, &wanted))
        }),
    };
    let found = console.context.gateway.hub.search(search).await;
    let more = found.items.len() > limit;
    let hub = &console.context.gateway.hub;
    let rows = found.items.into_iter().take(limit);
    let rows = rows.map(|seen| Row::of(console, hub.socket_of(seen.id), seen));
    Ok(json!({ "total": found.total, "more": more, "items": rows.collect::<Vec<_>>() }))
}

/// Whether any text of it holds what is searched for. The shards call this, a few thousand times in a row.
fn matches(seen: &Seen, node: u64, wanted: &str) -> bool {
    let id = SocketId {
        node,
        number: seen.id.number(),
    };
    gateway(seen).contains(wanted)
        || id.to_string().contains(wanted)
        || seen.origin.client.to_string().contains(wanted)
        || seen
            .user
            .as_ref()
            .is_some_and(|user| user.to_lowercase().contains(wanted))
}

fn gateway(seen: &Seen) -> &'static str {
    let kind = Kind::ALL.get(usize::from(seen.origin.gateway));
    kind.map_or("", |kind| kind.label())
}

async fn find(console: &Console, id: &str) -> Result<(SocketId, Seen), Refused> {
    let socket: SocketId = id
        .parse()
        .map_err(|_| Refused::bad("id", format!("'{id}' is not a socket id")))?;
    let hub = &console.context.gateway.hub;
    if hub.connection(socket).is_none() {
        let error = format!("{id} is a connection of another node; ask that node's console");
        return Err(Refused::of(StatusCode::NOT_FOUND, error));
    }
    let seen = hub.show(socket).await;
    let seen = seen.ok_or_else(|| {
        Refused::of(
            StatusCode::NOT_FOUND,
            format!("{id} is not connected any more"),
        )
    })?;
    Ok((socket, seen))
}

async fn disconnect(
    console: &Console,
    ask: &Ask,
    id: &str,
    body: Result<Bytes, Refused>,
) -> Result<Value, Refused> {
    let Disconnect { code } = parse(&body?)?;
    let farewell = match code {
        4009 => Farewell::with(Code::Unauthorized, STAY_AWAY),
        4200 => Farewell::with(Code::Reconnect, COME_BACK),
        _ => {
            let error = "The code is 4009, after which the client stays away, or 4200, after which it comes back";
            return Err(Refused::bad("code", error));
        }
    };
    let (_, seen) = find(console, id).await?;
    console.context.gateway.hub.close(seen.id, farewell).await;
    info!(remote = %ask.call.client, socket = id, code, "console: disconnected a client");
    Ok(json!({ "success": true }))
}

impl Row {
    fn of(console: &Console, socket: SocketId, seen: Seen) -> Row {
        let now_s = clock::now_ms() / 1000;
        Row {
            id: socket.to_string(),
            app: console.app_id(seen.origin.app).to_owned(),
            gateway: gateway(&seen),
            client: seen.origin.client.to_string(),
            user: seen.user.map(|user| user.to_string()),
            age_s: now_s.saturating_sub(u64::from(seen.origin.since_s)),
            silent_s: seen.silent_ms / 1000,
            outbox_bytes: seen.outbox_bytes,
            channel_count: seen.channel_count,
            channels: seen.channels.iter().map(ToString::to_string).collect(),
            closing: seen.closing,
        }
    }
}
