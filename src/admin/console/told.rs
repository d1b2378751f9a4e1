//! How something that has happened is told to a page, and which of it a page wants to hear.

use gema_protocol::frame::Frame;
use serde::Serialize;

use super::query::Query;
use super::{Console, Refused};
use crate::live::{Entry, What};

/// Bytes of an event's data that are shown; by default no event has more than 10 KiB.
const SHOWN: usize = 16 * 1024;

/// An entry as the page gets it. What does not apply is left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told {
    n: u64,
    /// Milliseconds since 1970.
    t: u64,
    kind: &'static str,
    app: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// Its text, as a client's library gets it before it is parsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// How long the data is, when not all of it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_of: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

/// What a page wants to hear: texts in lower case that have to be somewhere in what is told; empty = anything.
#[derive(Debug, Default)]
pub(super) struct Filter {
    app: Option<u32>,
    channel: String,
    event: String,
    text: String,
}

impl Filter {
    pub(super) fn of(query: &Query, console: &Console) -> Result<Filter, Refused> {
        let app = query.text("app").map(|id| console.app(id)).transpose()?;
        Ok(Filter {
            app: app.map(|app| app.index),
            channel: query.lower("channel"),
            event: query.lower("event"),
            text: query.lower("text"),
        })
    }

    /// The entry as it is told, if it is wanted.
    pub(super) fn tell(&self, entry: &Entry, console: &Console) -> Option<Told> {
        if self.app.is_some_and(|app| app != entry.app) {
            return None;
        }
        if !self.channel.is_empty() && !has(entry.what.channel(), &self.channel) {
            return None;
        }
        let mut told = Told {
            n: entry.number,
            t: entry.unix_ms,
            app: console.app_id(entry.app).to_owned(),
            channel: entry.what.channel().map(str::to_owned),
            ..Told::default()
        };
        told.fill(&entry.what);
        let is_wanted = (self.event.is_empty() || has(told.name(), &self.event))
            && (self.text.is_empty() || told.texts().any(|text| has(Some(text), &self.text)));
        is_wanted.then(|| told.shortened())
    }
}

impl What {
    fn channel(&self) -> Option<&str> {
        match self {
            What::Event { topic, .. }
            | What::Subscribed { topic, .. }
            | What::Unsubscribed { topic, .. } => Some(topic.channel.as_str()),
            _ => None,
        }
    }
}

impl Told {
    fn fill(&mut self, what: &What) {
        let (kind, socket, user) = match what {
            What::Event { frame, source, .. } => {
                self.event = frame.event().map(unescaped);
                self.data = data(frame);
                self.source = Some(source.map_or("cluster", |source| source.label()));
                ("event", None, None)
            }
            What::Connected {
                socket,
                gateway,
                client,
            } => {
                self.gateway = Some(gateway);
                self.client = Some(client.to_string());
                ("connected", Some(socket), None)
            }
            What::SignedIn { socket, user } => ("signed_in", Some(socket), Some(user)),
            What::Subscribed { socket, user, .. } => ("subscribed", Some(socket), user.as_ref()),
            What::Unsubscribed { socket, .. } => ("unsubscribed", Some(socket), None),
            What::Disconnected { socket, code, user } => {
                self.code = Some(*code);
                ("disconnected", Some(socket), user.as_ref())
            }
        };
        self.kind = kind;
        self.socket = socket.map(ToString::to_string);
        self.user = user.map(|user| user.to_string());
    }

    /// What stands for its name: an event's, or what has happened.
    fn name(&self) -> Option<&str> {
        self.event.as_deref().or(Some(self.kind))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let all = [
            &self.data,
            &self.event,
            &self.channel,
            &self.socket,
            &self.user,
            &self.client,
        ];
        all.into_iter().filter_map(|text| text.as_deref())
    }

    fn shortened(mut self) -> Told {
        if let Some(data) = &mut self.data
            && data.len() > SHOWN
        {
            self.cut_of = Some(data.len());
            data.truncate(data.floor_char_boundary(SHOWN));
        }
        self
    }
}

fn has(text: Option<&str>, lower: &str) -> bool {
    text.is_some_and(|text| text.to_lowercase().contains(lower))
}

/// The text of a frame's data: of a string what it says, else the JSON.
pub(super) fn data(frame: &Frame) -> Option<String> {
    let json = frame.data()?;
    Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()))
}

/// What a JSON text between quotes says.
pub(super) fn unescaped(text: &str) -> String {
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.to_owned())
}
