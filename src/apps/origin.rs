//! Which web pages may connect to an app: patterns for the Origin header (RFC 6454) of a request.
//! The check keeps strangers' pages out; it does not stop a program, which can send any Origin it likes.

use std::collections::HashSet;

/// The longest name there is (RFC 1035, section 2.3.4). Nothing longer is compared, so that a header cannot
/// cost more time than a name.
const LONGEST_HOST: usize = 253;

/// A list of origin patterns, of which one has to fit.
///
/// - `*`: every origin.
/// - `example.com`: this host by any scheme and at any port.
/// - `example.com:8443`: at this port only.
/// - `https://example.com`: this scheme, at its usual port.
/// - `http://localhost:*`: at any port.
/// - `*.example.com`: `*` for a part of the name is one part or several, so `a.example.com` and
///   `a.b.example.com` fit and `example.com` does not.
/// - `null`: the origin of sandboxed frames and of pages opened from a file.
///
/// Capitals and small letters are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPatterns(Vec<Pattern>);

impl OriginPatterns {
    /// Reads each pattern; an empty list lets no web page in.
    ///
    /// # Errors
    ///
    /// The first pattern that no origin could fit.
    pub fn parse(patterns: &[String]) -> Result<OriginPatterns, OriginPatternError> {
        let patterns: Result<_, _> = patterns
            .iter()
            .map(|pattern| Pattern::parse(pattern))
            .collect();
        patterns.map(OriginPatterns)
    }

    /// The pages that any of these lets in.
    pub(super) fn any_of<'a>(all: impl Iterator<Item = &'a OriginPatterns>) -> OriginPatterns {
        let distinct: HashSet<&Pattern> = all.flat_map(|patterns| &patterns.0).collect();
        OriginPatterns(match distinct.contains(&Pattern::Any) {
            true => vec![Pattern::Any],
            false => distinct.into_iter().cloned().collect(),
        })
    }

    /// Whether a request with this Origin header may connect. One without the header comes from
    /// something that is no web page, and always may.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let origin = origin.trim().to_ascii_lowercase();
        self.0.iter().any(|pattern| pattern.fits(&origin))
    }
}

/// A pattern that no origin can fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginPatternError {
    /// The empty text, or no host in it.
    #[error("is \"{0}\", which names no host")]
    NoHost(String),
    /// An origin ends before the path.
    #[error("is \"{0}\", which has a path; an origin is scheme, host and port only")]
    HasPath(String),
    /// `*` inside a part of the name.
    #[error("is \"{0}\", where * is not a whole part of the name, as in *.example.com")]
    PartialWildcard(String),
    /// What follows the colon is neither a number nor `*`.
    #[error("is \"{0}\", whose port is neither a number nor *")]
    BadPort(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Pattern {
    Any,
    Null,
    Site {
        scheme: Option<String>,
        host: String,
        port: Port,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Port {
    Any,
    /// The one that goes with the scheme of the origin.
    Usual,
    Is(u16),
}

impl Pattern {
    fn parse(given: &str) -> Result<Pattern, OriginPatternError> {
        let text = given.trim().to_ascii_lowercase();
        match text.as_str() {
            "*" => return Ok(Pattern::Any),
            "null" => return Ok(Pattern::Null),
            _ => {}
        }
        let (scheme, rest) = split_scheme(&text);
        // People copy addresses with the slash at the end; it can mean nothing else.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(OriginPatternError::HasPath(given.to_owned()));
        }
        let (host, port) = split_port(rest);
        if host.is_empty() || host.split('.').any(str::is_empty) {
            return Err(OriginPatternError::NoHost(given.to_owned()));
        }
        if host
            .split('.')
            .any(|part| part.contains('*') && part != "*")
        {
            return Err(OriginPatternError::PartialWildcard(given.to_owned()));
        }
        let port = match port {
            Some("*") => Port::Any,
            Some(port) => port
                .parse()
                .map(Port::Is)
                .map_err(|_| OriginPatternError::BadPort(given.to_owned()))?,
            None if scheme.is_some() => Port::Usual,
            None => Port::Any,
        };
        Ok(Pattern::Site {
            scheme: scheme.map(str::to_owned),
            host: host.to_owned(),
            port,
        })
    }

    /// `origin` in small letters.
    fn fits(&self, origin: &str) -> bool {
        let (scheme, host, port) = match self {
            Pattern::Any => return true,
            Pattern::Null => return origin == "null",
            Pattern::Site { scheme, host, port } => (scheme, host, port),
        };
        let (Some(given_scheme), rest) = split_scheme(origin) else {
            return false;
        };
        let (given_host, given_port) = split_port(rest);
        if given_host.len() > LONGEST_HOST || given_host.contains(['/', '?', '#', '@']) {
            return false;
        }
        let usual = usual_port(given_scheme);
        let given_port = match given_port {
            None => usual,
            Some(digits) => match digits.parse() {
                Ok(port) => Some(port),
                Err(_) => return false,
            },
        };
        scheme
            .as_deref()
            .is_none_or(|scheme| scheme == given_scheme)
            && host_fits(host, given_host)
            && match port {
                Port::Any => true,
                Port::Usual => given_port == usual,
                Port::Is(port) => given_port == Some(*port),
            }
    }
}

fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    }
}

/// Host and port; the colons of an IPv6 address stand between brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.split_once('.') {
        None if pattern == "*" => !host.is_empty(),
        None => pattern == host,
        Some(("*", rest)) => {
            // One part for the star, then each longer head in turn.
            let mut tail = host;
            while let Some((head, after)) = tail.split_once('.') {
                if head.is_empty() {
                    return false;
                }
                if host_fits(rest, after) {
                    return true;
                }
                tail = after;
            }
            false
        }
        Some((part, rest)) => host
            .split_once('.')
            .is_some_and(|(head, after)| head == part && host_fits(rest, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, origin: &str) -> bool {
        OriginPatterns::parse(&[pattern.to_owned()])
            .unwrap()
            .allows(Some(origin))
    }

    #[test]
    fn a_star_lets_every_page_in() {
        assert!(allows("*", "https://example.com"));
        assert!(allows("*", "null"));
        assert!(allows("*", "not an origin at all"));
    }

    #[test]
    fn no_origin_header_is_always_let_in() {
        assert!(OriginPatterns::parse(&[]).unwrap().allows(None));
        assert!(
            !OriginPatterns::parse(&[])
                .unwrap()
                .allows(Some("https://example.com"))
        );
    }

    #[test]
    fn a_host_alone_fits_by_any_scheme_and_at_any_port() {
        assert!(allows("example.com", "http://example.com"));
        assert!(allows("example.com", "https://example.com:8443"));
        assert!(!allows("example.com", "https://sub.example.com"));
        assert!(!allows("example.com", "https://example.com.evil.org"));
        assert!(!allows("example.com", "https://evil-example.com"));
    }

    #[test]
    fn a_scheme_brings_its_usual_port() {
        assert!(allows("https://example.com", "https://example.com"));
        assert!(allows("https://example.com", "https://example.com:443"));
        assert!(allows("https://example.com:443", "https://example.com"));
        assert!(!allows("https://example.com", "http://example.com"));
        assert!(!allows("https://example.com", "https://example.com:8443"));
    }

    #[test]
    fn a_port_must_be_the_one_named() {
        assert!(allows("http://localhost:3000", "http://localhost:3000"));
        assert!(allows("localhost:3000", "http://localhost:3000"));
        assert!(!allows("localhost:3000", "http://localhost:3001"));
        assert!(!allows("localhost:3000", "http://localhost"));
        assert!(allows("http://localhost:*", "http://localhost:5173"));
    }

    #[test]
    fn a_star_in_the_name_is_one_part_or_several() {
        assert!(allows("https://*.example.com", "https://a.example.com"));
        assert!(allows("https://*.example.com", "https://a.b.example.com"));
        assert!(!allows("https://*.example.com", "https://example.com"));
        assert!(!allows("https://*.example.com", "https://.example.com"));
        assert!(!allows("https://*.example.com", "https://evilexample.com"));
        assert!(!allows(
            "https://*.example.com",
            "https://evil.org/.example.com"
        ));
        assert!(allows("shop.*.example.com", "https://shop.eu.example.com"));
        assert!(allows("https://*", "https://anything.org"));
    }

    #[test]
    fn capitals_do_not_matter() {
        assert!(allows("HTTPS://Example.com", "https://EXAMPLE.com"));
    }

    #[test]
    fn an_ipv6_address_keeps_its_colons() {
        assert!(allows("http://[::1]:3000", "http://[::1]:3000"));
        assert!(allows("[::1]", "http://[::1]:3000"));
        assert!(!allows("http://[::1]:3000", "http://[::2]:3000"));
    }

    #[test]
    fn null_is_an_origin_of_its_own() {
        assert!(allows("null", "null"));
        assert!(!allows("example.com", "null"));
    }

    #[test]
    fn a_slash_at_the_end_is_no_path() {
        assert!(allows("https://example.com/", "https://example.com"));
    }

    #[test]
    fn patterns_that_nothing_could_fit_are_refused_by_name() {
        let refusal = |pattern: &str| OriginPatterns::parse(&[pattern.to_owned()]).unwrap_err();
        let name = |text: &str| text.to_owned();
        assert_eq!(refusal(""), OriginPatternError::NoHost(name("")));
        assert_eq!(
            refusal("https://"),
            OriginPatternError::NoHost(name("https://"))
        );
        assert_eq!(refusal("a..b"), OriginPatternError::NoHost(name("a..b")));
        assert_eq!(refusal("a.b/c"), OriginPatternError::HasPath(name("a.b/c")));
        assert_eq!(
            refusal("*example.com"),
            OriginPatternError::PartialWildcard(name("*example.com"))
        );
        assert_eq!(
            refusal("a.b:http"),
            OriginPatternError::BadPort(name("a.b:http"))
        );
    }
}
