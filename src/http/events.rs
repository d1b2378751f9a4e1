//! `POST /apps/{id}/events`, `/apps/{id}/batch_events`, and what old SDKs call, `/apps/{id}/channels/{name}/events`:
//! a backend publishes.
//! Rules: <https://pusher.com/docs/channels/library_auth_reference/rest-api/#post-event-trigger-an-event>.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use gema_protocol::frame::Frame;
use gema_protocol::server;
use gema_protocol::socket_id::SocketId;
use hyper::{Method, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::api::{ApiError, Signed, answer, segment};
use super::channels::{Attributes, Info};
use super::{Call, Context, Shared, body, json, method};
use crate::hub::Topic;
use crate::metrics::{Metrics, Source};

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let post = method::post()
        .and(warp::ext::get::<Call>())
        .and(warp::body::stream())
        .and(shared);
    let events = warp::path!("apps" / String / "events")
        .and(post.clone())
        .and_then(|app, call, body, context| handle(app, call, body, context, trigger));
    let batch = warp::path!("apps" / String / "batch_events")
        .and(post.clone())
        .and_then(|app, call, body, context| handle(app, call, body, context, trigger_batch));
    let one_channel = warp::path!("apps" / String / "channels" / String / "events")
        .and(post)
        .and_then(|app, channel: String, call, body, context| {
            let channel = segment(&channel);
            handle(app, call, body, context, |context, signed| {
                trigger_one_channel(context, signed, channel)
            })
        });
    let all = events.or(batch).unify().or(one_channel).unify();
    all.boxed()
}

/// The body of `/events`, whose fields may also be parameters of the query.
#[derive(Debug, Default, Deserialize)]
struct Trigger<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    /// A string, or any other JSON value as its text.
    #[serde(borrow, default, deserialize_with = "text_of")]
    data: Option<Cow<'a, str>>,
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

/// An event in one channel, ready to go.
struct Publication {
    topic: Topic,
    frame: Frame,
    except: Option<SocketId>,
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
    trigger: F,
) -> Result<Response, Rejection>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
    F: FnOnce(Arc<Context>, Signed) -> R,
    R: Future<Output = Result<Response, ApiError>>,
{
    let result = async {
        let app = segment(&app);
        // Nobody unknown may have a large body read.
        Signed::caller(&context, &app, &call).await?;
        let body = body::read(stream, context.limits.request_bytes).await?;
        let signed = Signed::check(&context, &app, &Method::POST, &call, body).await?;
        trigger(context, signed).await
    };
    Ok(answer(result.await))
}

async fn trigger(context: Arc<Context>, signed: Signed) -> Result<Response, ApiError> {
    let trigger: Trigger<'_> = match &*signed.body {
        [] => Trigger::default(),
        body => parse(body)?,
    };
    let event = Event::check(trigger.or_query(&signed), &context, &signed)?;
    publish(&context, &signed, std::slice::from_ref(&event)).await?;
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

/// The endpoint from before `/events`: the body is the data as it is, the rest stands in the path and the query.
async fn trigger_one_channel(
    context: Arc<Context>,
    signed: Signed,
    channel: String,
) -> Result<Response, ApiError> {
    let data = std::str::from_utf8(&signed.body)
        .map_err(|_| ApiError::Bad("The body is not UTF-8".into()))?;
    let trigger = Trigger {
        name: signed.parameter("name"),
        data: Some(data.into()),
        channel: Some(channel.into()),
        socket_id: signed.parameter("socket_id"),
        ..Trigger::default()
    };
    let event = Event::check(trigger, &context, &signed)?;
    publish(&context, &signed, std::slice::from_ref(&event)).await?;
    // 202 it has always been here; SDKs of that time take nothing else for success.
    Ok(json(StatusCode::ACCEPTED, &serde_json::Map::new()))
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
        if trigger.channel.is_none() {
            return Err(missing("channel").within(index));
        }
        let event = Event::check(trigger, &context, &signed);
        events.push(event.map_err(|error| error.within(index))?);
    }
    publish(&context, &signed, &events).await?;
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

/// Publishes to every channel or, if the caller hangs up first, to none.
async fn publish(
    context: &Arc<Context>,
    signed: &Signed,
    events: &[Event<'_>],
) -> Result<(), ApiError> {
    let publications: Vec<_> = events.iter().flat_map(Event::publications).collect();
    let (channels, accepted) = (publications.len(), signed.accepted);
    let counted = move |metrics: &Metrics| {
        metrics.published(Source::Api, channels);
        metrics.handed_over(accepted.elapsed());
    };
    if let [
        Publication {
            topic,
            frame,
            except,
        },
    ] = &publications[..]
    {
        // One is never done by half. A task for it would wake another thread: 28 us a request instead of 22.
        let source = Source::Api;
        context.broker.publish(topic, frame, *except, source).await;
        counted(&context.metrics);
        return Ok(());
    }
    let (broker, metrics) = (context.broker.clone(), context.metrics.clone());
    let all = async move {
        for Publication {
            topic,
            frame,
            except,
        } in publications
        {
            broker.publish(&topic, &frame, except, Source::Api).await;
        }
        counted(&metrics);
    };
    tokio::spawn(all).await.map_err(|_| ApiError::Failed)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::Bad(format!("Invalid JSON in the body: {error}")))
}

impl<'a> Trigger<'a> {
    /// Takes from the query what the body does not say.
    fn or_query(mut self, signed: &'a Signed) -> Trigger<'a> {
        self.name = self.name.or_else(|| signed.parameter("name"));
        self.data = self.data.or_else(|| signed.parameter("data"));
        self.socket_id = self.socket_id.or_else(|| signed.parameter("socket_id"));
        self.info = self.info.or_else(|| signed.parameter("info"));
        if self.channel.is_none() && self.channels.is_none() {
            self.channel = signed.parameter("channel");
            let channels = signed.parameters("channels[]");
            self.channels = (!channels.is_empty()).then_some(channels);
        }
        self
    }
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
        let data = trigger.data.ok_or_else(|| missing("data"))?;
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

    /// One for each channel.
    fn publications(&self) -> impl Iterator<Item = Publication> {
        self.topics.iter().map(|topic| Publication {
            frame: server::event(topic.channel.as_str(), &self.name, &self.data),
            topic: topic.clone(),
            except: self.except,
        })
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

fn text_of<'de, D: Deserializer<'de>>(data: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let Some(data) = Option::<&RawValue>::deserialize(data)? else {
        return Ok(None);
    };
    if !data.get().starts_with('"') {
        return Ok(Some(data.get().into()));
    }
    // What fails here is half of a surrogate pair, which no text can hold.
    let text: String = serde_json::from_str(data.get()).map_err(D::Error::custom)?;
    Ok(Some(text.into()))
}
