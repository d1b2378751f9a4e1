//! Who may look and act. With a token, whoever knows it: in the header, or by a session that the console's login began.
//! Without one, callers on this machine, which a page in its browser must not pass for: hence the looks at `Host`, and at
//! where an action comes from.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gema_protocol::auth::same;
use hyper::StatusCode;
use hyper::header::{COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::header::{SET_COOKIE, WWW_AUTHENTICATE};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::clock;
use crate::http::{self, Call};
use crate::limits::RateLimit;

/// What the page sends along with an action, and a form or a link of another site cannot.
const ACTION: HeaderName = HeaderName::from_static("x-gema-console");

/// Where browsers say that a request comes from (Fetch Metadata, section 2.4).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The cookie with the session's id.
const SESSION: &str = "gema_console";

/// How long a session lasts: a working day.
const SESSION_S: u64 = 12 * 3600;

/// Sessions at a time; the oldest ends when there is one more.
const SESSIONS: usize = 64;

/// Tries to log in a second, of all callers together: nobody types faster, and guessing takes for ever.
const TRIES_PER_S: u32 = 5;

/// The rules, and who has logged in.
pub(super) struct Guard {
    /// Empty: this machine alone is let in.
    token: Arc<str>,
    tries: RateLimit,
    /// Ids, and until when they count in [`clock::now_ms`] time; the oldest first.
    sessions: Mutex<VecDeque<(String, u64)>>,
}

/// The headers of a request, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) headers: HeaderMap,
    pub(super) call: Call,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("Send the token of admin.token, as 'Authorization: Bearer …' or as ?token=…")]
    NoMetricsToken,
    #[error("Log in with the token of admin.token, or send it as 'Authorization: Bearer …'")]
    NoToken,
    #[error("This is not the token of admin.token")]
    WrongToken,
    #[error("Too many tries to log in; wait a second")]
    TooManyTries,
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
            tries: RateLimit::per_second(TRIES_PER_S),
            sessions: Mutex::default(),
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
        match self.knows_token(ask) || self.token_in_query(ask) {
            true => Ok(()),
            false => Err(Denied::NoMetricsToken),
        }
    }

    /// Whether something may be read.
    pub(super) fn may_read(&self, ask: &Ask) -> Result<(), Denied> {
        self.may_open(ask)?;
        // A page of another site cannot read the answer, but it could keep the places of those who watch.
        if text(&ask.headers, &FETCH_SITE).is_some_and(|site| site.ends_with("-site")) {
            return Err(Denied::CrossSite);
        }
        match self.knows_token(ask) || self.has_session(ask) {
            true => Ok(()),
            false => Err(Denied::NoToken),
        }
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
        let now_ms = clock::now_ms();
        let tried = self.tries.take(now_ms);
        tried.map_err(|_| Denied::TooManyTries)?;
        if !self.has_token() || !same(token, &self.token) {
            return Err(Denied::WrongToken);
        }
        let random = [(); 2].map(|()| getrandom::u64());
        let [Ok(high), Ok(low)] = random else {
            return Err(Denied::TooManyTries);
        };
        let id = format!("{high:016x}{low:016x}");
        let cookie = cookie(&id, SESSION_S);
        let mut sessions = self.sessions();
        if sessions.len() >= SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back((id, now_ms + SESSION_S * 1000));
        Ok(cookie)
    }

    /// Ends the session of this request; gives the header that makes the browser forget it.
    pub(super) fn log_out(&self, ask: &Ask) -> HeaderValue {
        if let Some(id) = session(&ask.headers) {
            self.sessions().retain(|(known, _)| !same(known, id));
        }
        cookie("", 0)
    }

    fn knows_token(&self, ask: &Ask) -> bool {
        let given = http::bearer(&ask.headers);
        self.token.is_empty() || given.is_some_and(|given| same(given, &self.token))
    }

    fn token_in_query(&self, ask: &Ask) -> bool {
        let query = ask.call.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .any(|(name, given)| name == "token" && same(&given, &self.token))
    }

    fn has_session(&self, ask: &Ask) -> bool {
        let Some(id) = session(&ask.headers) else {
            return false;
        };
        let now_ms = clock::now_ms();
        let mut sessions = self.sessions();
        sessions.retain(|(_, until_ms)| now_ms < *until_ms);
        sessions.iter().any(|(known, _)| same(known, id))
    }

    fn sessions(&self) -> MutexGuard<'_, VecDeque<(String, u64)>> {
        // Nothing inside the lock can panic half-way.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denied {
    pub(super) fn reject(self) -> Rejection {
        warp::reject::custom(self)
    }

    pub(super) fn response(self) -> Response {
        let status = match self {
            Denied::NoMetricsToken | Denied::NoToken | Denied::WrongToken => {
                StatusCode::UNAUTHORIZED
            }
            Denied::TooManyTries => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::FORBIDDEN,
        };
        let body = serde_json::json!({ "success": false, "error": self.to_string() });
        let mut response = http::json(status, &body);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
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

/// HTTP has no `Secure` here: behind TLS it is the proxy's to add.
fn cookie(id: &str, life_s: u64) -> HeaderValue {
    let text = format!("{SESSION}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life_s}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name.trim() == SESSION).then(|| value.trim())
        })
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
    fn guessing_the_token_is_slow() {
        let guard = Guard::new("hush");
        let stranger = ask("203.0.113.7", &[("x-gema-console", "1")]);
        let tries: Vec<_> = (0..50).map(|_| guard.log_in(&stranger, "x")).collect();
        assert!(tries.contains(&Err(Denied::TooManyTries)));
    }
}
