//! Why a request to the admin listener is not answered, and what it gets instead.

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::Rejection;
use warp::reply::Response;

use crate::http;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::admin) enum Denied {
    #[error("Send the token of admin.token, as 'Authorization: Bearer …' or as ?token=…")]
    NoMetricsToken,
    #[error("Log in with the token of admin.token, or send it as 'Authorization: Bearer …'")]
    NoToken,
    #[error("This is not the token of admin.token")]
    WrongToken,
    #[error("Too many wrong tokens from this address; wait a second")]
    TooManyTries,
    #[error("The system gives no random number for a session; try again")]
    NoRandom,
    #[error("Without admin.token, the console is for this machine alone")]
    NotLocal,
    #[error(
        "Without admin.token, the console is asked for by http://127.0.0.1 or http://localhost"
    )]
    Host,
    #[error("The request came through a proxy: set admin.token, which lets others in")]
    Proxied,
    #[error(
        "The request comes from a page of another site; a proxy in front must pass the header Host on"
    )]
    CrossSite,
    #[error("An action needs the header 'X-Gema-Console: 1'")]
    NoActionHeader,
}

impl warp::reject::Reject for Denied {}

impl Denied {
    pub(in crate::admin) fn reject(self) -> Rejection {
        warp::reject::custom(self)
    }

    pub(in crate::admin) fn response(self) -> Response {
        let (status, header) = match self {
            Denied::NoMetricsToken | Denied::NoToken | Denied::WrongToken => {
                let scheme = HeaderValue::from_static("Bearer");
                (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, scheme)))
            }
            Denied::TooManyTries => {
                let wait_s = HeaderValue::from_static("1");
                (StatusCode::TOO_MANY_REQUESTS, Some((RETRY_AFTER, wait_s)))
            }
            Denied::NoRandom => (StatusCode::SERVICE_UNAVAILABLE, None),
            _ => (StatusCode::FORBIDDEN, None),
        };
        let body = serde_json::json!({ "success": false, "error": self.to_string() });
        let mut response = http::json(status, &body);
        response.headers_mut().extend(header);
        response
    }
}
