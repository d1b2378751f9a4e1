//! The page's files, in the binary. They hold nothing of this server, so a browser may have them before it has logged in.

use std::sync::Arc;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::{Ask, Console, Denied, Shared, ask};
use crate::http;

/// All that the page may do: run its own files, and ask this server. Nothing becomes markup that was text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, type, content.
const FILES: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("page/index.html")),
    (
        "/console/console.css",
        CSS,
        include_str!("page/console.css"),
    ),
    ("/console/main.js", JS, include_str!("page/main.js")),
    ("/console/server.js", JS, include_str!("page/server.js")),
    ("/console/dom.js", JS, include_str!("page/dom.js")),
    ("/console/live.js", JS, include_str!("page/live.js")),
    ("/console/lists.js", JS, include_str!("page/lists.js")),
    ("/console/publish.js", JS, include_str!("page/publish.js")),
    ("/console/webhooks.js", JS, include_str!("page/webhooks.js")),
    ("/console/health.js", JS, include_str!("page/health.js")),
];

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .and_then(|path: FullPath| async move {
            let file = FILES.iter().find(|(name, ..)| *name == path.as_str());
            file.ok_or_else(warp::reject::not_found)
        })
        .and(http::method::get_or_head())
        .and(shared)
        .and(ask())
        .and_then(
            |file: &'static (&str, &str, &str), console: Arc<Console>, ask: Ask| async move {
                console.guard.may_open(&ask).map_err(Denied::reject)?;
                Ok::<_, Rejection>(serve(file))
            },
        )
        .boxed()
}

fn serve((_, kind, content): &(&str, &'static str, &'static str)) -> Response {
    let mut response = Response::new((*content).into());
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, *kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // The files change with the binary.
        (CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_else_for_anything_and_makes_no_markup_of_text() {
        for (name, _, content) in FILES {
            // A name and no address: nobody fetches it.
            let content = content.replace("http://www.w3.org/2000/svg", "");
            for forbidden in [
                "http://",
                "https://",
                "innerHTML",
                "insertAdjacentHTML",
                "eval(",
            ] {
                assert!(!content.contains(forbidden), "{name} has {forbidden}");
            }
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        for (name, _, content) in FILES {
            let quoted = content.split(['"', '\'']).skip(1).step_by(2);
            for file in quoted.filter(|text| text.ends_with(".js") || text.ends_with(".css")) {
                let last = file.rsplit('/').next().unwrap();
                let path = format!("/console/{last}");
                assert!(
                    FILES.iter().any(|(name, ..)| *name == path),
                    "{name} names {file}"
                );
            }
        }
    }
}
