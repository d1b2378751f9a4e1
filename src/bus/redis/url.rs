//! `redis.url`: what the user wrote, and where Redis is.
//!
//! * `redis://[user:password@]host[:port][/database]`: one server, which may turn out to be a node of a cluster
//! * several of these, separated by commas: nodes of a cluster; user, password and TLS are the first's
//! * `redis+sentinel://[user:password@]host[:port],…/service`: whichever server the sentinels say is the master; with
//!   `?db=`, `?sentinel_user=` and `?sentinel_password=`
//! * `rediss://`, `rediss+sentinel://`: over TLS, by the system's certificates and those of `?ca=file.pem`
//!
//! `?protocol=` is allowed, for other libraries' sake, and means nothing: it is RESP3 always. No error quotes what may be
//! a password.

use std::fmt;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::tls::{Tls, TlsError};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is, and how to get in.
#[derive(Clone, Debug)]
pub struct Servers {
    pub(super) place: Place,
    /// To the servers that hold the data.
    pub(super) access: Access,
}

/// Which of the three kinds.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One server, or one node of a cluster.
    One(Address),
    /// Some nodes of a cluster.
    Cluster(Vec<Address>),
    /// The master of a service.
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
        /// To the sentinels themselves.
        access: Access,
    },
}

/// A server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Address {
    /// Without the brackets of IPv6.
    pub host: String,
    pub port: u16,
}

/// How to get in.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: i64,
    pub tls: Option<Tls>,
}

/// What is wrong with an address of Redis.
#[derive(Debug, Error)]
pub enum UrlError {
    /// It begins with something else.
    #[error(
        "'{0}://' is not a way to Redis; redis://, rediss://, redis+sentinel:// and rediss+sentinel:// are"
    )]
    Scheme(String),
    /// It does not say how to connect.
    #[error("it begins without redis://, rediss://, redis+sentinel:// or rediss+sentinel://")]
    NoScheme,
    /// A path of a socket file.
    #[error("Unix sockets are not supported; Redis must listen on TCP")]
    Unix,
    /// The servers of a list are reached in different ways.
    #[error("server {0} of the list has another scheme than the first")]
    Mixed(usize),
    /// A list with a gap, or no server at all.
    #[error("server {0} of the list has no host")]
    Host(usize),
    /// What follows the last colon.
    #[error(
        "the port of server {0} of the list is not a number from 1 to 65535 (in a password, write @ : / ? , as %40 %3A %2F %3F %2C)"
    )]
    Port(usize),
    /// What follows the slash.
    #[error("the database is not a number")]
    Database,
    /// A cluster has no others.
    #[error("a Redis Cluster has only database 0")]
    ClusterDatabase,
    /// Sentinels watch several.
    #[error("the name of the service is missing: redis+sentinel://host/service")]
    Service,
    /// After the question mark.
    #[error("the parameter '{0}' is unknown here")]
    Parameter(String),
    /// After a question mark with nothing that TLS could use.
    #[error("'ca' is for rediss:// only")]
    CaWithoutTls,
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The parts of the text, as they stand there.
#[derive(Default)]
struct Parts<'a> {
    credentials: Option<&'a str>,
    hosts: Vec<(&'a str, Option<u16>)>,
    path: &'a str,
    parameters: Vec<(String, String)>,
}

impl Servers {
    /// Reads `redis.url`, and the certificates it speaks of.
    pub fn parse(url: &str) -> Result<Servers, UrlError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(UrlError::NoScheme)?;
        let (sentinel, tls) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis+sentinel" => (true, false),
            "rediss+sentinel" => (true, true),
            "unix" | "redis+unix" => return Err(UrlError::Unix),
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let parts = Parts::split(scheme, rest)?;
        let mut access = Access::default();
        if let Some(credentials) = parts.credentials {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            access.user = filled(decode(user));
            access.password = filled(decode(password));
        }
        let mut to_sentinels = Access::default();
        let mut ca = None;
        let path = decode(parts.path);
        let mut database = (!sentinel && !path.is_empty()).then_some(path.clone());
        for (name, value) in parts.parameters {
            match name.as_str() {
                "db" => database = Some(value),
                "ca" if tls => ca = Some(value),
                "ca" => return Err(UrlError::CaWithoutTls),
                "sentinel_user" if sentinel => to_sentinels.user = filled(value),
                "sentinel_password" if sentinel => to_sentinels.password = filled(value),
                "protocol" => {}
                _ => return Err(UrlError::Parameter(name)),
            }
        }
        if let Some(database) = database {
            access.database = database.parse().map_err(|_| UrlError::Database)?;
        }
        if tls {
            let tls = Tls::load(ca.as_deref())?;
            to_sentinels.tls = Some(tls.clone());
            access.tls = Some(tls);
        }
        let default_port = if sentinel { SENTINEL_PORT } else { PORT };
        let address = |(host, port): (&str, Option<u16>)| Address {
            host: host.to_owned(),
            port: port.unwrap_or(default_port),
        };
        let mut addresses: Vec<Address> = parts.hosts.into_iter().map(address).collect();
        let place = if sentinel {
            Place::Sentinel {
                sentinels: addresses,
                service: filled(path).ok_or(UrlError::Service)?,
                access: to_sentinels,
            }
        } else if addresses.len() > 1 {
            if access.database != 0 {
                return Err(UrlError::ClusterDatabase);
            }
            Place::Cluster(addresses)
        } else {
            Place::One(addresses.pop().ok_or(UrlError::Host(1))?)
        };
        Ok(Servers { place, access })
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.access.database
    }
}

impl<'a> Parts<'a> {
    /// Splits what follows the scheme. The path and the parameters may stand behind any server of the list.
    fn split(scheme: &str, rest: &'a str) -> Result<Parts<'a>, UrlError> {
        let mut parts = Parts::default();
        for (index, mut server) in rest.split(',').enumerate() {
            let number = index + 1;
            if let Some((other, rest)) = server.split_once("://") {
                if !other.trim().eq_ignore_ascii_case(scheme) {
                    return Err(UrlError::Mixed(number));
                }
                server = rest;
            }
            let server = server.trim();
            let (server, query) = server.split_once('?').unwrap_or((server, ""));
            let query = form_urlencoded::parse(query.as_bytes()).into_owned();
            parts.parameters.extend(query);
            let (server, path) = server.split_once('/').unwrap_or((server, ""));
            if parts.path.is_empty() {
                parts.path = path;
            }
            let (credentials, server) = match server.rsplit_once('@') {
                Some((credentials, server)) => (Some(credentials), server),
                None => (None, server),
            };
            if index == 0 {
                parts.credentials = credentials;
            }
            parts.hosts.push(host_and_port(server, number)?);
        }
        Ok(parts)
    }
}

fn host_and_port(text: &str, number: usize) -> Result<(&str, Option<u16>), UrlError> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(UrlError::Host(number));
    }
    let port = match port {
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(UrlError::Port(number)),
            Ok(port) => Some(port),
        },
        None => None,
    };
    Ok((host, port))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> (String, Access) {
        let servers = Servers::parse(url).unwrap();
        match servers.place {
            Place::One(address) => (address.to_string(), servers.access),
            other => panic!("not one server: {other:?}"),
        }
    }

    fn complaint(url: &str) -> String {
        Servers::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn one_server_with_and_without_what_may_be_left_out() {
        assert_eq!(one("redis://a").0, "a:6379");
        assert_eq!(one("redis://a:1").0, "a:1");
        assert_eq!(one("redis://[::1]").0, "[::1]:6379");
        assert_eq!(one("redis://[::1]:7").0, "[::1]:7");
        let (address, access) = one("redis://me:p%40ss:w%2C@a:1/3");
        assert_eq!(address, "a:1");
        assert_eq!(access.user.as_deref(), Some("me"));
        assert_eq!(access.password.as_deref(), Some("p@ss:w,"));
        assert_eq!(access.database, 3);
        let (_, access) = one("redis://:secret@a?protocol=resp3&db=2");
        assert_eq!((access.user, access.database), (None, 2));
        assert_eq!(access.password.as_deref(), Some("secret"));
    }

    #[test]
    fn several_servers_are_a_cluster() {
        for url in [
            "redis://u:p@a:1,b,c:3",
            "redis://u:p@a:1,redis://b,redis://c:3",
        ] {
            let servers = Servers::parse(url).unwrap();
            let Place::Cluster(addresses) = servers.place else {
                panic!("not a cluster: {url}");
            };
            let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
            assert_eq!(addresses, ["a:1", "b:6379", "c:3"]);
            assert_eq!(servers.access.password.as_deref(), Some("p"));
        }
    }

    #[test]
    fn sentinels_have_a_service_and_a_password_of_their_own() {
        let url = "redis+sentinel://u:p@a,b:2/mymaster?db=4&sentinel_user=s&sentinel_password=t";
        let servers = Servers::parse(url).unwrap();
        assert_eq!(servers.access.database, 4);
        assert_eq!(servers.access.user.as_deref(), Some("u"));
        let Place::Sentinel {
            sentinels,
            service,
            access,
        } = servers.place
        else {
            panic!("not sentinels");
        };
        assert_eq!(service, "mymaster");
        assert_eq!(sentinels[0].to_string(), "a:26379");
        assert_eq!(sentinels[1].to_string(), "b:2");
        assert_eq!(access.user.as_deref(), Some("s"));
        assert_eq!(access.password.as_deref(), Some("t"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert!(complaint("http://a").starts_with("'http://' is not a way to Redis"));
        assert!(complaint("localhost:6379").starts_with("it begins without redis://"));
        assert_eq!(
            complaint("unix:///run/redis.sock"),
            UrlError::Unix.to_string()
        );
        assert_eq!(complaint("redis://"), "server 1 of the list has no host");
        assert_eq!(
            complaint("redis://a,,c"),
            "server 2 of the list has no host"
        );
        assert_eq!(
            complaint("redis://a?poolsize=3"),
            "the parameter 'poolsize' is unknown here"
        );
        assert_eq!(complaint("redis://a?ca=x"), "'ca' is for rediss:// only");
        assert_eq!(complaint("redis://a/x"), "the database is not a number");
        assert_eq!(
            complaint("redis://a,b/1"),
            "a Redis Cluster has only database 0"
        );
        assert!(complaint("redis+sentinel://a").contains("name of the service"));
        assert!(complaint("redis://a,rediss://b").starts_with("server 2"));
        assert!(complaint("rediss://a?ca=/no/such.pem").contains("/no/such.pem"));
    }

    #[test]
    fn neither_errors_nor_debug_show_a_password() {
        for url in [
            "redis://:hunter2",
            "redis://u:hunter2",
            "redis://:hun,ter2@a",
        ] {
            let text = complaint(url);
            assert!(!text.contains("ter2"), "{text}");
        }
        let url = "redis+sentinel://u:hunter2@a/s?sentinel_password=hunter2";
        let text = format!("{:?}", Servers::parse(url).unwrap());
        assert!(!text.contains("hunter2"), "{text}");
    }
}
