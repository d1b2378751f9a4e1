//! `POST /apps/{id}/events` and `/apps/{id}/batch_events`: a backend publishes.
//! Rules: <https://pusher.com/docs/channels/library_auth_reference/rest-api/#post-event-trigger-an-event>.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use gema_protocol::server;
use gema_protocol::socket_id::SocketId;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::api::{ApiError, Signed, answer, segment};
use super::channels::{Attributes, Info};
use super::{Call, Context, Shared, body, json};
use crate::hub::Topic;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let post = warp::post()
        .and(warp::ext::get::<Call>())
        .and(warp::body::stream())
        .and(shared);
    let events = warp::path!("apps" / String / "events")
        .and(post.clone())
        .and_then(|app, call, body, context| handle(app, call, body, context, trigger));
    let batch = warp::path!("apps" / String / "batch_events")
        .and(post)
        .and_then(|app, call, body, context| handle(app, call, body, context, trigger_batch));
    events.or(batch).unify().boxed()
}

/// The body of `/events`.
#[derive(Debug, Deserialize)]
struct Trigger<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    channels: Option<Vec<String>>,
    #[serde(borrow)]
    socket_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    info: Option<Cow<'a, str>>,
}

/// The body of `/batch_events`.
#[derive(Debug, Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<Trigger<'a>>,
}

/// An event that has passed every check.
struct Event<'a> {
    name: Cow<'a, str>,
    data: Cow<'a, str>,
    topics: Vec<Topic>,
    except: Option<SocketId>,
    info: Info,
}

#[derive(Serialize)]
struct Channels<'a> {
    channels: BTreeMap<&'a str, Attributes>,
}

async fn handle<S, B, F, R>(
    app: String,
    call: Call,
    stream: S,
    context: Arc<Context>,
    publish: F,
) -> Result<Response, Rejection>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
    F: FnOnce(Arc<Context>, Signed) -> R,
    R: Future<Output = Result<Response, ApiError>>,
{
    let result = async {
        let body = body::read(stream, context.limits.request_bytes).await?;
        let signed = Signed::check(&context, &segment(&app), &Method::POST, &call, body)?;
        publish(context, signed).await
    };
    Ok(answer(result.await))
}

async fn trigger(context: Arc<Context>, signed: Signed) -> Result<Response, ApiError> {
    let trigger: Trigger<'_> = parse(&signed.body)?;
    let event = Event::check(trigger, &context, &signed)?;
    event.publish(&context).await;
    if event.info.is_empty() {
        return Ok(json(StatusCode::OK, &serde_json::Map::new()));
    }
    let mut channels = BTreeMap::new();
    for topic in &event.topics {
        let attributes = Attributes::of(&context, topic, event.info).await;
        channels.insert(topic.channel.as_str(), attributes);
    }
    Ok(json(StatusCode::OK, &Channels { channels }))
}

async fn trigger_batch(context: Arc<Context>, signed: Signed) -> Result<Response, ApiError> {
    let Batch { batch } = parse(&signed.body)?;
    let max = context.limits.events_per_batch;
    if batch.len() > max {
        let count = batch.len();
        return Err(ApiError::Bad(format!(
            "Batch too large: {count} events, limits.events_per_batch is {max}"
        )));
    }
    let mut events = Vec::with_capacity(batch.len());
    for (index, trigger) in batch.into_iter().enumerate() {
        if trigger.channels.is_some() {
            let message = format!("batch[{index}]: 'channels' is not supported, use 'channel'");
            return Err(ApiError::Bad(message));
        }
        let event = Event::check(trigger, &context, &signed);
        events.push(event.map_err(|error| error.within(index))?);
    }
    for event in &events {
        event.publish(&context).await;
    }
    if events.iter().all(|event| event.info.is_empty()) {
        return Ok(json(StatusCode::OK, &serde_json::Map::new()));
    }
    let mut batch = Vec::with_capacity(events.len());
    for event in &events {
        for topic in &event.topics {
            batch.push(Attributes::of(&context, topic, event.info).await);
        }
    }
    Ok(json(StatusCode::OK, &serde_json::json!({ "batch": batch })))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::Bad(format!("Invalid JSON in the body: {error}")))
}

impl<'a> Event<'a> {
    fn check(
        trigger: Trigger<'a>,
        context: &Context,
        signed: &Signed,
    ) -> Result<Event<'a>, ApiError> {
        let limits = &context.limits;
        let name = trigger
            .name
            .filter(|name| !name.is_empty())
            .ok_or_else(|| missing("name"))?;
        if name.chars().count() > limits.event_name_chars {
            let max = limits.event_name_chars;
            return Err(ApiError::Bad(format!(
                "Event name is longer than limits.event_name_chars ({max})"
            )));
        }
        if name.starts_with("pusher:") || name.starts_with("pusher_internal:") {
            return Err(ApiError::Bad(format!(
                "Event name '{name}' is reserved: names may not begin with 'pusher:' or 'pusher_internal:'"
            )));
        }
        let data = text_of(trigger.data.ok_or_else(|| missing("data"))?);
        if data.len() > limits.event_data_bytes {
            let max = limits.event_data_bytes;
            return Err(ApiError::TooLarge(format!(
                "The data content of this event exceeds the allowed maximum ({max} bytes). \
                 See limits.event_data_bytes for more info"
            )));
        }
        let names = match (trigger.channels, trigger.channel) {
            (Some(channels), _) => channels,
            (None, Some(channel)) => vec![channel.into_owned()],
            (None, None) => return Err(missing("channels")),
        };
        if names.is_empty() {
            return Err(missing("channels"));
        }
        if names.len() > limits.channels_per_event {
            let max = limits.channels_per_event;
            return Err(ApiError::Bad(format!(
                "Too many channels: {}, limits.channels_per_event is {max}",
                names.len()
            )));
        }
        let mut seen = HashSet::new();
        let mut topics = Vec::with_capacity(names.len());
        for name in names.iter().filter(|name| seen.insert(name.as_str())) {
            topics.push(signed.topic(context, name)?);
        }
        let except = match trigger.socket_id.as_deref() {
            None | Some("") => None,
            Some(id) => Some(
                id.parse()
                    .map_err(|_| ApiError::Bad(format!("Invalid socket_id: '{id}'")))?,
            ),
        };
        let info = Info::parse(trigger.info.as_deref().unwrap_or_default())?;
        Ok(Event {
            name,
            data,
            topics,
            except,
            info,
        })
    }

    async fn publish(&self, context: &Context) {
        for topic in &self.topics {
            let frame = server::event(topic.channel.as_str(), &self.name, &self.data);
            context.broker.publish(topic, &frame, self.except).await;
        }
    }
}

impl ApiError {
    /// Names the event of a batch that is wrong.
    fn within(self, index: usize) -> ApiError {
        match self {
            ApiError::Bad(message) => ApiError::Bad(format!("batch[{index}]: {message}")),
            ApiError::TooLarge(message) => ApiError::TooLarge(format!("batch[{index}]: {message}")),
            other => other,
        }
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::Bad(format!("Missing required parameter: {name}"))
}

/// The string that `data` is, or for any other JSON value its text.
fn text_of(data: &RawValue) -> Cow<'_, str> {
    match serde_json::from_str::<Cow<'_, str>>(data.get()) {
        Ok(text) => Cow::Owned(text.into_owned()),
        Err(_) => Cow::Borrowed(data.get()),
    }
}
