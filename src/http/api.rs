//! What the signed endpoints share: finding the app, checking the signature and the rate, and errors as
//! plain text, which the SDKs pass on to their callers as they are.
//! Rules: <https://pusher.com/docs/channels/library_auth_reference/rest-api/>.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gema_protocol::channel::{ChannelName, ChannelNameError};
use gema_protocol::request::{ApiRequest, RequestError};
use hyper::header::RETRY_AFTER;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use warp::reply::Response;

use super::body::BodyError;
use super::{Call, Context, text};
use crate::apps::{App, Asker, Missing};
use crate::clock;
use crate::hub::Topic;
use crate::limits::RateLimit;
use crate::metrics::Refused;

/// Why a call of the API is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("Unknown app: {0}")]
    UnknownApp(String),
    #[error("Apps cannot be looked up at the moment (database.apps): {0}")]
    UnreadApp(String),
    #[error("Application is disabled: {0}")]
    Disabled(String),
    #[error(transparent)]
    Unsigned(#[from] RequestError),
    #[error("Too many requests for this app (limits.api_requests_per_s)")]
    TooMany { retry_after_s: u64 },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Bad(String),
    #[error("Internal server error")]
    Failed,
    #[error("{error}: '{name}'")]
    Channel {
        name: String,
        error: ChannelNameError,
    },
}

/// A call that the app's own server has signed.
pub(super) struct Signed {
    pub(super) app: Arc<App>,
    pub(super) query: String,
    pub(super) body: Bytes,
    /// When it was found good.
    pub(super) accepted: Instant,
}

impl Signed {
    /// Checks that the app exists, is enabled, has signed this very request lately, and is within its rate.
    pub(super) async fn check(
        context: &Context,
        app_id: &str,
        method: &Method,
        call: &Call,
        body: Bytes,
    ) -> Result<Signed, ApiError> {
        let app = Signed::caller(context, app_id, call).await?;
        let query = call.uri.query().unwrap_or_default();
        let request = ApiRequest {
            method: method.as_str(),
            path: call.uri.path(),
            query,
            body: &body,
        };
        request.verify(&app.key, &app.secret, &context.path_prefix, clock::unix_s())?;
        if !app.enabled {
            return Err(ApiError::Disabled(app_id.to_owned()));
        }
        let per_s = context.limits.api_requests_per_s;
        let rate = || RateLimit::per_second(per_s);
        let rate = context.rates.get_or_init(app.index, rate);
        rate.take(clock::now_ms()).map_err(|wait_ms| {
            context.metrics.refused(Refused::ApiRate);
            ApiError::TooMany {
                retry_after_s: wait_ms.div_ceil(1000).max(1),
            }
        })?;
        let query = query.to_owned();
        let accepted = Instant::now();
        Ok(Signed {
            app,
            query,
            body,
            accepted,
        })
    }

    /// The app, if the call names it by its key: what can be known before the body.
    pub(super) async fn caller(
        context: &Context,
        app_id: &str,
        call: &Call,
    ) -> Result<Arc<App>, ApiError> {
        let found = context.apps.find_by_id(app_id, Asker::Caller).await;
        let app = found.map_err(|missing| match missing {
            Missing::Unknown => ApiError::UnknownApp(app_id.to_owned()),
            Missing::Unread => ApiError::UnreadApp(app_id.to_owned()),
        })?;
        let query = call.uri.query().unwrap_or_default();
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        let key = parameters.find_map(|(name, key)| (name == "auth_key").then_some(key));
        match key {
            None => Err(RequestError::MissingKey.into()),
            Some(key) if key != app.key => Err(RequestError::UnknownKey.into()),
            Some(_) => Ok(app),
        }
    }

    /// One parameter of the query, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query.as_bytes())
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All values of a parameter that may be there several times, decoded.
    pub(super) fn parameters(&self, name: &str) -> Vec<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .filter_map(|(key, value)| (key == name).then(|| value.into_owned()))
            .collect()
    }

    /// Refuses parameters that the endpoint does not have, as Pusher does; those of the signature pass.
    pub(super) fn only_parameters(&self, known: &[&str]) -> Result<(), ApiError> {
        let extra: Vec<_> = form_urlencoded::parse(self.query.as_bytes())
            .map(|(key, _)| key.into_owned())
            .filter(|key| {
                let signing = key.starts_with("auth_") || key == "body_md5";
                !signing && !known.contains(&key.as_str())
            })
            .collect();
        if extra.is_empty() {
            return Ok(());
        }
        let extra = extra.join(", ");
        Err(ApiError::Bad(format!(
            "The following query string parameters are extraneous: {extra}"
        )))
    }

    pub(super) fn topic(&self, context: &Context, name: &str) -> Result<Topic, ApiError> {
        let channel =
            ChannelName::parse(name, context.limits.channel_name_chars).map_err(|error| {
                ApiError::Channel {
                    name: name.to_owned(),
                    error,
                }
            })?;
        Ok(Topic {
            app: self.app.index,
            channel,
        })
    }
}

impl ApiError {
    pub(super) fn response(&self) -> Response {
        let status = match self {
            ApiError::UnknownApp(_) => StatusCode::NOT_FOUND,
            ApiError::UnreadApp(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::Disabled(_) => StatusCode::FORBIDDEN,
            ApiError::Unsigned(_) => StatusCode::UNAUTHORIZED,
            ApiError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            ApiError::Body(BodyError::TooLarge(_)) | ApiError::TooLarge(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            ApiError::Body(BodyError::Broken) | ApiError::Bad(_) | ApiError::Channel { .. } => {
                StatusCode::BAD_REQUEST
            }
        };
        let mut response = text(status, self.to_string());
        if let ApiError::TooMany { retry_after_s } = self {
            response
                .headers_mut()
                .insert(RETRY_AFTER, (*retry_after_s).into());
        }
        response
    }
}

/// A segment of the path, percent-decoded.
pub(super) fn segment(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// Gives an endpoint's outcome as a response.
pub(super) fn answer(result: Result<Response, ApiError>) -> Response {
    result.unwrap_or_else(|error| error.response())
}
