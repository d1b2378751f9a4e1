//! The log of webhooks: what an app's receivers were told and what came of it, and telling them once more.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tracing::info;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::query::Query;
use super::{Ask, Console, Refused, Shared, acting, answer, reading};
use crate::webhooks::{Attempt, Outcome};

/// Events of a request that are named in the list.
const NAMED: usize = 3;

/// One row of the log.
#[derive(Serialize)]
struct Row<'a> {
    number: u64,
    /// Milliseconds since 1970.
    t: u64,
    webhook: usize,
    receiver: &'a str,
    /// The names of some of its events, with their channels.
    events: Vec<String>,
    event_count: usize,
    bytes: usize,
    ok: bool,
    status: Option<u16>,
    error: Option<&'a str>,
    ms: u128,
    replay: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// What a request says, as far as the list shows it.
#[derive(Default, Deserialize)]
struct Body {
    events: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    channel: String,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let list = warp::path!("api" / "webhooks")
        .and(reading(shared.clone()))
        .map(|console: Arc<Console>, ask: Ask| answer(list(&console, &ask)));
    let show = warp::path!("api" / "webhooks" / u64)
        .and(reading(shared.clone()))
        .map(|number, console: Arc<Console>, ask: Ask| answer(show(&console, &ask, number)));
    let replay = warp::path!("api" / "webhooks" / u64 / "replay")
        .and(acting(shared))
        .then(
            |number, console: Arc<Console>, ask: Ask, _body| async move {
                answer(replay(&console, &ask, number).await)
            },
        );
    list.or(show).unify().or(replay).unify().boxed()
}

fn list(console: &Console, ask: &Ask) -> Result<Value, Refused> {
    let query = Query::of(&ask.call);
    let app = console.app(query.text("app").unwrap_or_default())?;
    let receivers = app.webhooks.iter().enumerate().map(|(index, webhook)| {
        let receiver = webhook.url.origin().ascii_serialization();
        json!({ "webhook": index, "receiver": receiver, "channel_prefix": webhook.channel_prefix })
    });
    let log = console.context.webhooks.log(app.index);
    let rows: Vec<_> = log.iter().map(|attempt| Row::of(attempt)).collect();
    Ok(json!({ "receivers": receivers.collect::<Vec<_>>(), "items": rows }))
}

fn show(console: &Console, ask: &Ask, number: u64) -> Result<Value, Refused> {
    let query = Query::of(&ask.call);
    let app = console.app(query.text("app").unwrap_or_default())?;
    let log = console.context.webhooks.log(app.index);
    let attempt = log.iter().find(|attempt| attempt.number == number);
    let attempt = attempt.ok_or_else(|| unknown(number))?;
    Ok(json!(Row::whole(attempt)))
}

async fn replay(console: &Console, ask: &Ask, number: u64) -> Result<Value, Refused> {
    let query = Query::of(&ask.call);
    let app = console.app(query.text("app").unwrap_or_default())?;
    let _place = console.replays.try_acquire().map_err(|_| {
        let error = "Other webhooks are being sent again; wait until they are through";
        Refused::of(StatusCode::TOO_MANY_REQUESTS, error)
    })?;
    info!(remote = %ask.call.client, app = app.id, number, "console: sends a webhook again");
    let attempt = console.context.webhooks.replay(app.index, number).await;
    let attempt = attempt.ok_or_else(|| unknown(number))?;
    Ok(json!(Row::of(&attempt)))
}

fn unknown(number: u64) -> Refused {
    let error = format!("The log has no delivery {number} any more");
    Refused::of(StatusCode::NOT_FOUND, error)
}

impl<'a> Row<'a> {
    fn of(attempt: &'a Attempt) -> Row<'a> {
        let body: Body = serde_json::from_slice(&attempt.body).unwrap_or_default();
        let named = body.events.iter().take(NAMED);
        let (status, error) = match &attempt.outcome {
            Outcome::Answered(status) => (Some(status.as_u16()), None),
            Outcome::Failed(reason) => (None, Some(&**reason)),
        };
        Row {
            number: attempt.number,
            t: attempt.unix_ms,
            webhook: attempt.webhook,
            receiver: &attempt.receiver,
            events: named
                .map(|event| format!("{} {}", event.name, event.channel))
                .collect(),
            event_count: body.events.len(),
            bytes: attempt.body.len(),
            ok: status.is_some_and(|status| (200..300).contains(&status)),
            status,
            error,
            ms: attempt.took.as_millis(),
            replay: attempt.is_replay,
            body: None,
        }
    }

    fn whole(attempt: &'a Attempt) -> Row<'a> {
        Row {
            body: serde_json::from_slice(&attempt.body).ok(),
            ..Row::of(attempt)
        }
    }
}
