//! The methods that a path has. As warp's own filters, but what they refuse says what would have been right, which an answer
//! with 405 has to name (RFC 9110, section 15.5.6).

use hyper::header::{ALLOW, HeaderValue};
use warp::reply::Response;
use warp::{Filter, Rejection};

/// The path is there, and has these methods only, as `Allow` lists them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Only(&'static str);

impl warp::reject::Reject for Only {}

impl Only {
    /// Names the methods in the answer.
    pub(super) fn tell(self, response: &mut Response) {
        let methods = HeaderValue::from_static(self.0);
        response.headers_mut().insert(ALLOW, methods);
    }
}

/// `GET` alone.
pub(crate) fn get() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::get().or_else(|_| refused("GET"))
}

/// `GET`, and `HEAD` for the same without the body.
pub(crate) fn get_or_head() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    let either = warp::get().or(warp::head()).unify();
    either.or_else(|_| refused("GET, HEAD"))
}

/// `POST` alone.
pub(crate) fn post() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::post().or_else(|_| refused("POST"))
}

/// `PATCH` alone.
pub(crate) fn patch() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::patch().or_else(|_| refused("PATCH"))
}

async fn refused(methods: &'static str) -> Result<(), Rejection> {
    Err(warp::reject::custom(Only(methods)))
}
