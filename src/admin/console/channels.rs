//! The list of channels with subscribers on this node, a page at a time, and one channel alone: its members, its last event.

use std::sync::Arc;

use futures_util::future::join_all;
use gema_protocol::channel::{Access, ChannelName};
use serde_json::{Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::query::Query;
use super::told::{data, unescaped};
use super::{Ask, Console, Refused, Shared, answer, reading};
use crate::hub::{Channels, Topic};

/// Members that are named.
const MEMBERS: usize = 1000;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let list = warp::path!("api" / "channels")
        .and(reading(shared.clone()))
        .then(|console: Arc<Console>, ask: Ask| async move { answer(list(&console, &ask).await) });
    let show = warp::path!("api" / "channel")
        .and(reading(shared))
        .then(|console: Arc<Console>, ask: Ask| async move { answer(show(&console, &ask).await) });
    list.or(show).unify().boxed()
}

async fn list(console: &Console, ask: &Ask) -> Result<Value, Refused> {
    let query = Query::of(&ask.call);
    let app = console.app(query.text("app").unwrap_or_default())?.index;
    let limit = query.rows()?;
    let after = match (query.text("after"), query.number("after_count")?) {
        (Some(name), count) => Some((count.unwrap_or(0), parse("after", name)?)),
        (None, _) => None,
    };
    let search = Channels {
        app,
        contains: query.lower("q"),
        busiest: query.text("order") == Some("busiest"),
        after,
        // One more than is shown says whether there are more.
        limit: limit + 1,
    };
    let found = console.context.gateway.hub.search_channels(&search).await;
    let more = found.items.len() > limit;
    let rows = found
        .items
        .into_iter()
        .take(limit)
        .map(|(channel, here)| async move {
            let topic = Topic { app, channel };
            json!({
                "name": topic.channel.as_str(),
                "kind": kind(&topic.channel),
                "here": here,
                "all": all(console, &topic, here).await,
            })
        });
    // Asked at once: a page is one round to Redis, not a hundred.
    let rows = join_all(rows).await;
    Ok(json!({ "total": found.total, "more": more, "items": rows }))
}

async fn show(console: &Console, ask: &Ask) -> Result<Value, Refused> {
    let query = Query::of(&ask.call);
    let app = console.app(query.text("app").unwrap_or_default())?.index;
    let channel = parse("name", query.text("name").unwrap_or_default())?;
    let topic = Topic { app, channel };
    let broker = &console.context.broker;
    let members = match topic.channel.kind().is_presence() {
        true => {
            let ids = broker.users(&topic).await;
            let named: Vec<&str> = ids.iter().take(MEMBERS).map(|id| &**id).collect();
            json!({ "count": ids.len(), "ids": named })
        }
        false => Value::Null,
    };
    let cached = match topic.channel.kind().cache {
        true => broker.cached(&topic).await.map(|cached| {
            json!({
                "event": cached.frame.event().map(unescaped),
                "data": data(&cached.frame),
                "ttl_s": cached.ttl.as_secs(),
            })
        }),
        false => None,
    };
    let here = console.context.gateway.hub.subscription_count(&topic).await;
    Ok(json!({
        "name": topic.channel.as_str(),
        "kind": kind(&topic.channel),
        "is_cache": topic.channel.kind().cache,
        "here": here,
        "all": all(console, &topic, here).await,
        "members": members,
        "cached": cached,
    }))
}

/// Subscriptions on all nodes.
async fn all(console: &Console, topic: &Topic, here: u32) -> u32 {
    match &console.context.bus {
        Some(_) => console.context.broker.subscription_count(topic).await,
        None => here,
    }
}

fn parse(field: &'static str, name: &str) -> Result<ChannelName, Refused> {
    // As long as it may be: what was let in is there.
    ChannelName::parse(name, usize::MAX).map_err(|error| Refused::bad(field, error.to_string()))
}

fn kind(channel: &ChannelName) -> &'static str {
    match channel.kind().access {
        Access::Public => "public",
        Access::Private => "private",
        Access::Encrypted => "encrypted",
        Access::Presence => "presence",
        Access::ServerToUser => "user",
    }
}
