//! What browsers on other origins are told (Fetch standard, CORS protocol): pages of an app's allowed
//! origins may call this server with the headers that pusher-js, Echo and axios send.

use std::sync::Arc;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, StatusCode};
use warp::reply::Response;

use super::text;
use crate::apps::Apps;

/// Decides by the allowed origins of all apps: a call's app is not always known from its path.
#[derive(Clone, Debug)]
pub struct Cors {
    apps: Arc<Apps>,
}

impl Cors {
    /// For pages of the origins that any enabled app allows.
    pub fn new(apps: Arc<Apps>) -> Cors {
        Cors { apps }
    }

    /// The answer to a preflight, or `None` when the request is not one.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let preflight =
            method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !preflight {
            return None;
        }
        let Some(origin) = self.allowed(headers) else {
            let message = "Origin not allowed (apps.allowed_origins)";
            return Some(text(StatusCode::FORBIDDEN, message));
        };
        let mut response = text(StatusCode::NO_CONTENT, "");
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(VARY, HeaderValue::from_static("origin"));
        let methods = HeaderValue::from_static("GET, POST, PATCH, OPTIONS");
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        Some(response)
    }

    /// The origin to name in the answer to this request, if its page may read it.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let name = origin.to_str().ok()?;
        self.apps.allow_origin(name).then(|| origin.clone())
    }

    /// Lets the page of this origin read the response. Without one, caches must still know that it depends.
    pub fn open(response: &mut Response, origin: Option<HeaderValue>) {
        let headers = response.headers_mut();
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}
