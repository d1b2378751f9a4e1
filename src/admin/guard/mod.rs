//! Who may look and act. With a token, whoever knows it: in the header, or by a session that the console's login began.
//! Without one, callers on this machine, which a page in its browser must not pass for: hence the looks at `Host`, and at
//! where an action comes from.
//!
//! # Layout
//!
//! * [`tries`]: how many wrong tokens an address may send.
//! * [`sessions`]: who has logged in.
//! * [`denied`]: why a request is refused, and its answer.

mod denied;
mod sessions;
mod tries;

use std::net::IpAddr;
use std::sync::Arc;

use gema_protocol::auth::same;
use hyper::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub(super) use self::denied::Denied;
use self::sessions::Sessions;
use self::tries::Tries;
use crate::clock;
use crate::http::{self, Call};

/// What the page sends along with an action, and a form or a link of another site cannot.
const ACTION: HeaderName = HeaderName::from_static("x-gema-console");

/// Where browsers say that a request comes from (Fetch Metadata, section 2.4).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The rules, and who has logged in.
pub(super) struct Guard {
    /// Empty: this machine alone is let in.
    token: Arc<str>,
    tries: Tries,
    sessions: Sessions,
}

/// The headers of a request, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) headers: HeaderMap,
    pub(super) call: Call,
}

/// The headers of a request, and where it comes from, as a filter.
pub(super) fn ask() -> BoxedFilter<(Ask,)> {
    warp::header::headers_cloned()
        .and(warp::ext::get::<Call>())
        .map(|headers, call| Ask { headers, call })
        .boxed()
}

/// Lets a scrape on if it knows the token, by header or in the query.
pub(super) fn scrape(guard: Arc<Guard>) -> BoxedFilter<()> {
    ask()
        .and_then(move |ask: Ask| {
            let good = guard.may_scrape(&ask).map_err(Denied::reject);
            async move { good }
        })
        .untuple_one()
        .boxed()
}

impl Guard {
    pub(super) fn new(token: &str) -> Guard {
        Guard {
            token: token.into(),
            tries: Tries::default(),
            sessions: Sessions::default(),
        }
    }

    /// Whether there is a token to log in with.
    pub(super) fn has_token(&self) -> bool {
        !self.token.is_empty()
    }

    /// Whether the page itself may be shown, which says nothing yet.
    pub(super) fn may_open(&self, ask: &Ask) -> Result<(), Denied> {
        if self.has_token() {
            return Ok(());
        }
        let headers = &ask.headers;
        if !ask.call.client.is_loopback() {
            return Err(Denied::NotLocal);
        }
        if headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED) {
            return Err(Denied::Proxied);
        }
        // A name of another site that leads here (DNS rebinding) is not one of this machine.
        match text(headers, &HOST).is_some_and(is_local) {
            true => Ok(()),
            false => Err(Denied::Host),
        }
    }

    /// Whether the figures may be read.
    fn may_scrape(&self, ask: &Ask) -> Result<(), Denied> {
        self.may_open(ask)?;
        let query = ask.call.uri.query().unwrap_or_default();
        let in_query = form_urlencoded::parse(query.as_bytes())
            .find_map(|(name, given)| (name == "token").then_some(given));
        let in_header = http::bearer(&ask.headers);
        self.knows_token(
            ask,
            in_header.or(in_query.as_deref()),
            Denied::NoMetricsToken,
        )
    }

    /// Whether something may be read.
    pub(super) fn may_read(&self, ask: &Ask) -> Result<(), Denied> {
        self.may_open(ask)?;
        // A page of another site cannot read the answer, but it could keep the places of those who watch.
        if text(&ask.headers, &FETCH_SITE).is_some_and(|site| site.ends_with("-site")) {
            return Err(Denied::CrossSite);
        }
        if self.sessions.has(&ask.headers) {
            return Ok(());
        }
        self.knows_token(ask, http::bearer(&ask.headers), Denied::NoToken)
    }

    /// Whether something may be done.
    pub(super) fn may_act(&self, ask: &Ask) -> Result<(), Denied> {
        self.may_read(ask)?;
        own_page(&ask.headers)
    }

    /// Begins a session for whoever gives the token; gives the header that makes a browser keep it.
    pub(super) fn log_in(&self, ask: &Ask, token: &str) -> Result<HeaderValue, Denied> {
        self.may_open(ask)?;
        own_page(&ask.headers)?;
        if !self.has_token() {
            return Err(Denied::WrongToken);
        }
        self.knows_token(ask, Some(token), Denied::WrongToken)?;
        self.sessions.begin().ok_or(Denied::NoRandom)
    }

    /// Ends the session of this request; gives the header that makes the browser forget it.
    pub(super) fn log_out(&self, ask: &Ask) -> HeaderValue {
        self.sessions.end(&ask.headers)
    }

    /// Whether the token that the request came with is the right one; `none` is the answer where it came with none.
    fn knows_token(&self, ask: &Ask, given: Option<&str>, none: Denied) -> Result<(), Denied> {
        if !self.has_token() {
            return Ok(());
        }
        let given = given.filter(|given| !given.is_empty()).ok_or(none)?;
        let is_right = || same(given, &self.token);
        self.tries.judge(ask.call.client, clock::now_ms(), is_right)
    }
}

/// An answer that sets the session's cookie.
pub(super) fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// Whether the request was made by the console's own page, or by no page at all.
fn own_page(headers: &HeaderMap) -> Result<(), Denied> {
    if headers.get(ACTION).is_none_or(|value| value != "1") {
        return Err(Denied::NoActionHeader);
    }
    let of_site = headers.get(FETCH_SITE);
    if of_site.is_some_and(|site| site != "same-origin") {
        return Err(Denied::CrossSite);
    }
    if headers.contains_key(ORIGIN) {
        let origin = text(headers, &ORIGIN).and_then(|origin| origin.split_once("://"));
        let host = text(headers, &HOST);
        if host.is_none() || origin.map(|(_, authority)| authority) != host {
            return Err(Denied::CrossSite);
        }
    }
    Ok(())
}

/// Whether the value of `Host` names this machine, whatever the port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(client: &str, headers: &[(&'static str, &str)]) -> Ask {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Ask {
            headers: map,
            call: Call {
                uri: "/".parse().unwrap(),
                client: client.parse().unwrap(),
            },
        }
    }

    #[test]
    fn without_a_token_this_machine_is_let_in_by_its_own_names() {
        let guard = Guard::new("");
        let host = |host: &str| guard.may_read(&ask("127.0.0.1", &[("host", host)]));
        for good in [
            "localhost:9601",
            "LOCALHOST",
            "127.0.0.1:9601",
            "127.9.9.9",
            "[::1]:9601",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for bad in [
            "evil.example:9601",
            "10.0.0.1",
            "localhost.evil.example",
            "[2001:db8::1]",
            "",
        ] {
            assert_eq!(host(bad), Err(Denied::Host), "{bad}");
        }
        let local = ("host", "localhost:9601");
        assert_eq!(guard.may_read(&ask("::1", &[local])), Ok(()));
        assert_eq!(
            guard.may_read(&ask("10.0.0.1", &[local])),
            Err(Denied::NotLocal)
        );
        let proxied = [local, ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(
            guard.may_read(&ask("127.0.0.1", &proxied)),
            Err(Denied::Proxied)
        );
    }

    #[test]
    fn an_action_comes_from_the_consoles_own_page_or_from_none() {
        let guard = Guard::new("");
        let act = |headers: &[(&'static str, &str)]| {
            let host = [("host", "localhost:9601")];
            guard.may_act(&ask("127.0.0.1", &[&host, headers].concat()))
        };
        let own = ("x-gema-console", "1");
        assert_eq!(act(&[]), Err(Denied::NoActionHeader));
        assert_eq!(act(&[own]), Ok(()));
        let origin = ("origin", "http://localhost:9601");
        assert_eq!(
            act(&[own, origin, ("sec-fetch-site", "same-origin")]),
            Ok(())
        );
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "http://localhost:6001"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(act(&[own, foreign]), Err(Denied::CrossSite), "{foreign:?}");
        }
    }

    #[test]
    fn a_token_opens_a_session_that_ends_with_the_logout() {
        let guard = Guard::new("hush");
        let headers = [("host", "console.example"), ("x-gema-console", "1")];
        let stranger = ask("203.0.113.7", &headers);
        assert_eq!(guard.may_read(&stranger), Err(Denied::NoToken));
        assert_eq!(guard.log_in(&stranger, "hus"), Err(Denied::WrongToken));
        let cookie = guard.log_in(&stranger, "hush").unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!cookie.contains("hush"));
        let (pair, _) = cookie.split_once(';').unwrap();
        let known = ask("203.0.113.7", &[&headers[..], &[("cookie", pair)]].concat());
        assert_eq!(guard.may_act(&known), Ok(()));
        let forged = [&headers[..], &[("cookie", "gema_console=0")]].concat();
        let forged = ask("203.0.113.7", &forged);
        assert_eq!(guard.may_act(&forged), Err(Denied::NoToken));
        guard.log_out(&known);
        assert_eq!(guard.may_act(&known), Err(Denied::NoToken));
        let bearer = [&headers[..], &[("authorization", "Bearer hush")]].concat();
        assert_eq!(guard.may_act(&ask("203.0.113.7", &bearer)), Ok(()));
    }

    #[test]
    fn guessing_the_token_is_slow_by_whatever_way_and_keeps_nobody_else_out() {
        let action = ask("203.0.113.7", &[("x-gema-console", "1")]);
        let wrong = ask("203.0.113.7", &[("authorization", "Bearer x")]);
        let guess = |guard: &Guard, way| match way {
            "login" => guard.log_in(&action, "x").map(drop),
            "read" => guard.may_read(&wrong),
            _ => guard.may_scrape(&wrong),
        };
        for way in ["login", "read", "scrape"] {
            let guard = Guard::new("hush");
            let known = guard.log_in(&action, "hush").unwrap();
            let known = known.to_str().unwrap().to_owned();
            let unheard = (0..50).filter(|_| guess(&guard, way) == Err(Denied::TooManyTries));
            assert!(unheard.count() > 40, "{way}");
            let right = |client| ask(client, &[("authorization", "Bearer hush")]);
            assert_eq!(guard.may_read(&right("198.51.100.1")), Ok(()));
            assert_eq!(guard.may_scrape(&right("198.51.100.1")), Ok(()));
            assert_eq!(
                guard.may_read(&right("203.0.113.7")),
                Err(Denied::TooManyTries)
            );
            let (pair, _) = known.split_once(';').unwrap();
            let logged_in = ask("203.0.113.7", &[("cookie", pair)]);
            assert_eq!(guard.may_read(&logged_in), Ok(()));
        }
    }
}
