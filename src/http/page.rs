//! `GET /websocket-test.html`: a page that connects by any of the protocols, shows events as they come, and publishes while
//! the server has the development secret. It asks no other server for anything.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::{Context, Shared, method};
use crate::apps::App;
use crate::config::{DEVELOPMENT_SECRET, Gateways};

const PAGE: &str = include_str!("websocket-test.html");

/// Where the page has what it must know of this server.
const SERVER: &str = "\"SERVER\"";

/// All that the page may do: run what is in it, and connect to this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let get = method::get_or_head();
    warp::path!("websocket-test.html")
        .and(get)
        .and(shared)
        .map(|context: Arc<Context>| {
            // Looked up each time, since the app may change.
            let app = context.signing_app.get();
            let page = render(&context.gateways, app.as_deref());
            let mut response = Response::new(page.into());
            let headers = response.headers_mut();
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            headers.insert(CONTENT_TYPE, html);
            let policy = HeaderValue::from_static(POLICY);
            headers.insert(CONTENT_SECURITY_POLICY, policy);
            response
        })
        .boxed()
}

/// The page for this server. A secret is in it only when the whole world knows it anyway, and then this server listens
/// on loopback alone.
fn render(gateways: &Gateways, app: Option<&App>) -> Bytes {
    let secret = app.map(|app| &*app.secret);
    let server = serde_json::json!({
        "app": app.map(|app| &*app.id),
        "key": app.map(|app| &*app.key),
        "secret": secret.filter(|secret| *secret == DEVELOPMENT_SECRET),
        "socketio": gateways.socketio_path,
        "plain": gateways.plain_path,
        "channels": gateways.anonymous_channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>(),
    });
    // Inside <script>, where "</" would end it.
    let server = server.to_string().replace('<', "\\u003c");
    PAGE.replacen(SERVER, &server, 1).into()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::*;

    fn page(text: &str) -> String {
        let config = Config::from_toml(text).unwrap();
        let page = render(&config.gateways, config.apps.first());
        String::from_utf8(page.into()).unwrap()
    }

    #[test]
    fn the_page_knows_the_development_secret_and_no_other() {
        assert!(page("").contains(r#""secret":"app-secret""#));
        let page = page("apps = [{ id = 'a', key = 'b', secret = 'hush' }]");
        assert!(page.contains(r#""secret":null"#) && !page.contains("hush"));
    }

    #[test]
    fn the_page_asks_nobody_else_for_anything() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("src="));
    }
}
