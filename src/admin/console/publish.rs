//! The event creator: an event in a channel, under the rules and limits that hold for back ends.

use std::sync::Arc;

use bytes::Bytes;
use gema_protocol::channel::Access;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tracing::info;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::query::parse;
use super::{Ask, Console, Refused, Shared, acting, answer};
use crate::metrics::Source;
use crate::outbox::{Event, Row};

/// What was filled in. The data is text, as it goes to clients; it has to be JSON.
#[derive(Deserialize)]
struct Filled {
    app: String,
    channel: String,
    event: String,
    data: String,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path!("api" / "events")
        .and(acting(shared))
        .then(|console: Arc<Console>, ask: Ask, body| async move {
            answer(publish(&console, &ask, body).await)
        })
        .boxed()
}

async fn publish(
    console: &Console,
    ask: &Ask,
    body: Result<Bytes, Refused>,
) -> Result<Value, Refused> {
    let filled: Filled = parse(&body?)?;
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&filled.data) {
        return Err(Refused::bad(
            "data",
            format!("data: it is not JSON: {error}"),
        ));
    }
    let app = console.app(&filled.app)?;
    let row = Row {
        id: 0,
        app: Some(filled.app),
        channel: filled.channel,
        event: filled.event,
        data: filled.data,
        socket_id: None,
    };
    let context = &console.context;
    let event = Event::read(&row, Some(&app), &context.limits).map_err(|bad| {
        let error = bad.to_string();
        Refused::bad(field(&error), error)
    })?;
    if event.topic.channel.kind().access == Access::Encrypted {
        let error = "channel: what is said in encrypted channels is encrypted by the back end, which alone has the key";
        return Err(Refused::bad("channel", error));
    }
    let broker = &context.broker;
    broker
        .publish(&event.topic, &event.frame, None, Source::Console)
        .await;
    context.metrics.published(Source::Console, 1);
    let heard = broker.subscription_count(&event.topic).await;
    let (app, channel) = (
        console.app_id(event.topic.app),
        event.topic.channel.as_str(),
    );
    info!(remote = %ask.call.client, app, channel, event = row.event, "console: published an event");
    Ok(json!({ "success": true, "subscriptions": heard }))
}

/// The part before the colon names what is wrong.
fn field(error: &str) -> &'static str {
    let fields = ["app", "channel", "event", "data"];
    let named = error.split(':').next();
    let found = fields.into_iter().find(|field| Some(*field) == named);
    found.unwrap_or("body")
}
