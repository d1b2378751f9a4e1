//! What a row says: an event in a channel of an app, or why it is none. A bad row is the back end's fault and would be
//! bad the next time, too.

use gema_protocol::channel::{ChannelName, ChannelNameError};
use gema_protocol::frame::Frame;
use gema_protocol::server;
use gema_protocol::socket_id::SocketId;

use super::turn::Row;
use crate::apps::App;
use crate::config::Limits;
use crate::hub::Topic;

/// An event that can be published.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) topic: Topic,
    pub(crate) frame: Frame,
    /// Who does not hear it.
    pub(crate) except: Option<SocketId>,
}

/// Why a row is set aside; it is written into the row.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRow {
    #[error("app: there is none with the id '{0}'")]
    UnknownApp(String),
    #[error("app: '{0}' is disabled")]
    DisabledApp(String),
    #[error("channel: {0}")]
    Channel(ChannelNameError),
    #[error("event: it is empty")]
    NoEvent,
    #[error("event: it is longer than limits.event_name_chars ({0})")]
    LongEvent(usize),
    #[error("event: names may not begin with 'pusher:' or 'pusher_internal:'")]
    ReservedEvent,
    #[error("data: more than limits.event_data_bytes ({0})")]
    LargeData(usize),
    #[error("socket_id: '{0}' is none")]
    SocketId(String),
}

impl Event {
    /// `app` is the row's, if there is one with its id.
    pub(crate) fn read(row: &Row, app: Option<&App>, limits: &Limits) -> Result<Event, BadRow> {
        let app = app.ok_or_else(|| BadRow::UnknownApp(row.app.clone().unwrap_or_default()))?;
        if !app.enabled {
            return Err(BadRow::DisabledApp(app.id.clone()));
        }
        let channel = ChannelName::parse(&row.channel, limits.channel_name_chars);
        let channel = channel.map_err(BadRow::Channel)?;
        if row.event.is_empty() {
            return Err(BadRow::NoEvent);
        }
        if row.event.chars().count() > limits.event_name_chars {
            return Err(BadRow::LongEvent(limits.event_name_chars));
        }
        if row.event.starts_with("pusher:") || row.event.starts_with("pusher_internal:") {
            return Err(BadRow::ReservedEvent);
        }
        if row.data.len() > limits.event_data_bytes {
            return Err(BadRow::LargeData(limits.event_data_bytes));
        }
        let except = row.socket_id.as_deref().filter(|id| !id.is_empty());
        let except = except.map(|id| id.parse().map_err(|_| BadRow::SocketId(id.to_owned())));
        Ok(Event {
            frame: server::event(channel.as_str(), &row.event, &row.data),
            topic: Topic {
                app: app.index,
                channel,
            },
            except: except.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn row(change: impl FnOnce(&mut Row)) -> Result<Event, BadRow> {
        let config = Config::from_toml(
            "limits.event_data_bytes = 5\n[[apps]]\nid = 'a'\nkey = 'a'\nsecret = 'a'\n\
             [[apps]]\nid = 'off'\nkey = 'b'\nsecret = 'b'\nenabled = false",
        )
        .unwrap();
        let mut row = Row {
            id: 1,
            app: None,
            channel: "orders".to_owned(),
            event: "made".to_owned(),
            data: "{}".to_owned(),
            socket_id: None,
        };
        change(&mut row);
        let id = row.app.as_deref().unwrap_or("a");
        let app = config.apps.iter().find(|app| app.id == id);
        Event::read(&row, app, &config.limits)
    }

    #[test]
    fn a_row_is_read_as_written() {
        let event = row(|_| {}).unwrap();
        assert_eq!((event.topic.app, event.except), (0, None));
        assert_eq!(event.topic.channel.as_str(), "orders");
        let event = row(|row| row.socket_id = Some("1.2".to_owned())).unwrap();
        assert_eq!(event.except, "1.2".parse().ok());
        assert!(row(|row| row.app = Some("a".to_owned())).is_ok());
    }

    #[test]
    fn what_cannot_be_published_is_told_by_its_column() {
        let wrong = |change: fn(&mut Row)| row(change).unwrap_err().to_string();
        let unknown = wrong(|row| row.app = Some("z".to_owned()));
        assert_eq!(unknown, "app: there is none with the id 'z'");
        assert_eq!(
            wrong(|row| row.app = Some("off".to_owned())),
            "app: 'off' is disabled"
        );
        assert!(wrong(|row| row.channel = "a b".to_owned()).starts_with("channel: "));
        assert_eq!(wrong(|row| row.event.clear()), "event: it is empty");
        let reserved = wrong(|row| row.event = "pusher:ping".to_owned());
        assert!(reserved.starts_with("event: names may not"), "{reserved}");
        let large = wrong(|row| row.data = "123456".to_owned());
        assert_eq!(large, "data: more than limits.event_data_bytes (5)");
        let socket = wrong(|row| row.socket_id = Some("x".to_owned()));
        assert_eq!(socket, "socket_id: 'x' is none");
    }
}
