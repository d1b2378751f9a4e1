//! Sessions for browsers: whoever gives the token is let in by a cookie from then on.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::{Ask, Console, Denied, Refused, Shared, acting, answer, ask, query};
use crate::admin::guard::with_cookie;
use crate::http;

/// A login is this and a token.
const LOGIN_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Login<'a> {
    token: &'a str,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let state = warp::path!("api" / "session")
        .and(http::method::get())
        .and(shared.clone())
        .and(ask())
        .and_then(|console: Arc<Console>, ask: Ask| async move {
            console.guard.may_open(&ask).map_err(Denied::reject)?;
            let is_in = console.guard.may_read(&ask).is_ok();
            let state = json!({ "open": is_in, "token": console.guard.has_token() });
            Ok::<_, Rejection>(answer(Ok(state)))
        });
    let login = warp::path!("api" / "login")
        .and(http::method::post())
        .and(shared.clone())
        .and(ask())
        .and(warp::body::stream())
        .then(|console: Arc<Console>, ask: Ask, body| async move {
            let body = match http::read_body(body, LOGIN_BYTES).await {
                Ok(body) => body,
                Err(error) => return answer(Err::<(), _>(Refused::from(error))),
            };
            // Nothing of a body that is not understood is told back: it may hold the token.
            let Ok(Login { token }) = query::parse(&body) else {
                let error = Refused::of(StatusCode::BAD_REQUEST, "The body has no text 'token'");
                return answer(Err::<(), _>(error));
            };
            let remote = ask.call.client;
            match console.guard.log_in(&ask, token) {
                Ok(cookie) => {
                    info!(%remote, "console: logged in");
                    with_cookie(answer(Ok(json!({ "open": true }))), cookie)
                }
                Err(why) => {
                    warn!(%remote, %why, "console: a login was refused");
                    why.response()
                }
            }
        });
    let logout = warp::path!("api" / "logout").and(acting(shared)).map(
        |console: Arc<Console>, ask: Ask, _body| {
            info!(remote = %ask.call.client, "console: logged out");
            let cookie = console.guard.log_out(&ask);
            with_cookie(answer(Ok(json!({ "open": false }))), cookie)
        },
    );
    state.or(login).unify().or(logout).unify().boxed()
}
