//! `GET /apps/{id}/channels`, one channel, and its users: questions of a backend.
//! Rules: <https://pusher.com/docs/channels/library_auth_reference/rest-api/#channels>.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use gema_protocol::channel::ChannelKind;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::api::{ApiError, Signed, answer, segment};
use super::{Call, Context, Shared, json, method};
use crate::hub::Topic;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let get = method::get().and(warp::ext::get::<Call>()).and(shared);
    let all = warp::path!("apps" / String / "channels")
        .and(get.clone())
        .and_then(
            |app: String, call: Call, context: Arc<Context>| async move {
                let result = async {
                    let signed = check(&context, &app, &call).await?;
                    // 100,000 channels are tens of milliseconds: not on a thread that others wait for.
                    let background = context.background.clone();
                    let list = move || context.background.block_on(list(&context, &signed));
                    let listed = background.spawn_blocking(list).await;
                    listed.map_err(|_| ApiError::Failed)?
                };
                Ok::<_, Rejection>(answer(result.await))
            },
        );
    let one = warp::path!("apps" / String / "channels" / String)
        .and(get.clone())
        .and_then(
            |app: String, name: String, call: Call, context: Arc<Context>| async move {
                let result = async {
                    let signed = check(&context, &app, &call).await?;
                    show(&context, &signed, &segment(&name)).await
                };
                Ok::<_, Rejection>(answer(result.await))
            },
        );
    let users = warp::path!("apps" / String / "channels" / String / "users")
        .and(get)
        .and_then(
            |app: String, name: String, call: Call, context: Arc<Context>| async move {
                let result = async {
                    let signed = check(&context, &app, &call).await?;
                    users(&context, &signed, &segment(&name)).await
                };
                Ok::<_, Rejection>(answer(result.await))
            },
        );
    all.or(one).unify().or(users).unify().boxed()
}

/// What `info` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    user_count: bool,
    subscription_count: bool,
    cache: bool,
}

/// What is known of a channel, as far as it was asked for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    occupied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<u32>,
    /// `null` when nothing would be replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Option<LastEvent>>,
}

/// The last event of a cache channel.
#[derive(Debug, Serialize)]
struct LastEvent {
    data: Box<RawValue>,
    /// Seconds for which it will still be replayed.
    ttl: u64,
}

impl Info {
    /// Reads a comma-separated list.
    pub(super) fn parse(list: &str) -> Result<Info, ApiError> {
        let mut info = Info::default();
        for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" => info.cache = true,
                unknown => {
                    return Err(ApiError::Bad(format!(
                        "Unknown attribute in info: '{unknown}'; known are user_count, subscription_count, cache"
                    )));
                }
            }
        }
        Ok(info)
    }

    pub(super) fn is_empty(self) -> bool {
        self == Info::default()
    }
}

impl Attributes {
    /// Answers `info`; an attribute that the channel does not have is left out.
    pub(super) async fn of(context: &Context, topic: &Topic, info: Info) -> Attributes {
        let mut attributes = Attributes::default();
        if info.user_count && topic.channel.kind().is_presence() {
            attributes.user_count = Some(context.broker.user_count(topic).await);
        }
        if info.subscription_count {
            attributes.subscription_count = Some(context.broker.subscription_count(topic).await);
        }
        if info.cache && topic.channel.kind().cache {
            attributes.cache = Some(LastEvent::of(context, topic).await);
        }
        attributes
    }
}

impl LastEvent {
    async fn of(context: &Context, topic: &Topic) -> Option<LastEvent> {
        let cached = context.broker.cached(topic).await?;
        let data = cached.frame.data()?.to_owned();
        Some(LastEvent {
            data: RawValue::from_string(data).ok()?,
            ttl: cached.ttl.as_secs(),
        })
    }
}

async fn check(context: &Context, app: &str, call: &Call) -> Result<Signed, ApiError> {
    Signed::check(context, &segment(app), &Method::GET, call, Bytes::new()).await
}

async fn list(context: &Context, signed: &Signed) -> Result<Response, ApiError> {
    signed.only_parameters(&["filter_by_prefix", "info"])?;
    let prefix = signed.parameter("filter_by_prefix").unwrap_or_default();
    let info = Info::parse(&signed.parameter("info").unwrap_or_default())?;
    if info.user_count && !ChannelKind::of(&prefix).is_presence() {
        return Err(ApiError::Bad(
            "user_count may only be requested for presence channels - \
             please supply filter_by_prefix beginning with presence-"
                .into(),
        ));
    }
    if info.cache {
        return Err(ApiError::Bad(
            "cache may only be requested for one channel".into(),
        ));
    }
    let mut channels = BTreeMap::new();
    for (channel, subscriptions) in context.broker.channels(signed.app.index, &prefix).await {
        let app = signed.app.index;
        let topic = Topic { app, channel };
        let mut attributes = Attributes::default();
        if info.user_count {
            attributes.user_count = Some(context.broker.user_count(&topic).await);
        }
        if info.subscription_count {
            attributes.subscription_count = Some(subscriptions);
        }
        channels.insert(topic.channel.as_str().to_owned(), attributes);
    }
    let body = serde_json::json!({ "channels": channels });
    Ok(json(StatusCode::OK, &body))
}

async fn show(context: &Context, signed: &Signed, name: &str) -> Result<Response, ApiError> {
    signed.only_parameters(&["info"])?;
    let topic = signed.topic(context, name)?;
    let info = Info::parse(&signed.parameter("info").unwrap_or_default())?;
    if info.user_count && !topic.channel.kind().is_presence() {
        return Err(ApiError::Bad(
            "Cannot retrieve the user count unless the channel is a presence channel".into(),
        ));
    }
    if info.cache && !topic.channel.kind().cache {
        return Err(ApiError::Bad(
            "Cannot retrieve the cache unless the channel is a cache channel".into(),
        ));
    }
    let mut attributes = Attributes::of(context, &topic, info).await;
    attributes.occupied = Some(context.broker.subscription_count(&topic).await > 0);
    Ok(json(StatusCode::OK, &attributes))
}

async fn users(context: &Context, signed: &Signed, name: &str) -> Result<Response, ApiError> {
    signed.only_parameters(&[])?;
    let topic = signed.topic(context, name)?;
    if !topic.channel.kind().is_presence() {
        return Err(ApiError::Bad(
            "Cannot retrieve the users unless the channel is a presence channel".into(),
        ));
    }
    let users: Vec<_> = context
        .broker
        .users(&topic)
        .await
        .iter()
        .map(|id| serde_json::json!({ "id": &**id }))
        .collect();
    let body = serde_json::json!({ "users": users });
    Ok(json(StatusCode::OK, &body))
}
