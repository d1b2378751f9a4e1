//! What a client may send, read from a text message: borrowed where it can be, event data left unparsed.
//!
//! Clients differ: auth may be missing, null or empty, a ping may come without data, and some wrap `data` into a
//! string. Keys nobody knows are ignored.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// One message from a client.
#[derive(Clone, Debug)]
pub enum ClientMessage<'a> {
    /// `pusher:ping`, to be answered.
    Ping,
    /// `pusher:pong`, nothing to do.
    Pong,
    /// `pusher:subscribe`.
    Subscribe(Subscribe<'a>),
    /// `pusher:unsubscribe`.
    Unsubscribe {
        /// The name as written; not empty, otherwise unchecked.
        channel: Cow<'a, str>,
    },
    /// `pusher:signin`.
    Signin {
        /// `KEY:signature`; not empty.
        auth: Cow<'a, str>,
        /// The signed text; not empty.
        user_data: Cow<'a, str>,
    },
    /// An event for the other subscribers, whose name starts with `client-`.
    ClientEvent {
        /// The event's name.
        event: Cow<'a, str>,
        /// The name as written; not empty, otherwise unchecked.
        channel: Cow<'a, str>,
        /// Any JSON; `None` when missing or null.
        data: Option<&'a RawValue>,
    },
    /// An event that is not for clients to send.
    Unknown {
        /// The event's name.
        event: Cow<'a, str>,
    },
}

/// The `data` of `pusher:subscribe`.
#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    /// The name as written; not empty, otherwise unchecked.
    pub channel: Cow<'a, str>,
    /// `KEY:signature`; `None` when missing, null or empty.
    pub auth: Option<Cow<'a, str>>,
    /// The signed text about the member; `None` when missing, null or empty.
    pub channel_data: Option<Cow<'a, str>>,
}

impl<'a> ClientMessage<'a> {
    /// Reads one text message.
    ///
    /// # Errors
    /// Says what is missing or of the wrong type, in words fit for a `pusher:error`.
    pub fn parse(text: &'a str) -> Result<Self, MessageError> {
        let message: Outer<'a> = json::object(text).ok_or(MessageError::Malformed)?;
        let event = Field::of(message.event).required("event")?;
        match &*event {
            "pusher:ping" => Ok(Self::Ping),
            "pusher:pong" => Ok(Self::Pong),
            "pusher:subscribe" => {
                let data = Fields::of(message.data)?;
                Ok(Self::Subscribe(Subscribe {
                    channel: data.channel.required("data.channel")?,
                    auth: data.auth.optional("data.auth")?,
                    channel_data: data.channel_data.optional("data.channel_data")?,
                }))
            }
            "pusher:unsubscribe" => {
                let channel = Fields::of(message.data)?.channel.required("data.channel")?;
                Ok(Self::Unsubscribe { channel })
            }
            "pusher:signin" => {
                let data = Fields::of(message.data)?;
                Ok(Self::Signin {
                    auth: data.auth.required("data.auth")?,
                    user_data: data.user_data.required("data.user_data")?,
                })
            }
            name if name.starts_with("client-") => {
                let channel = Field::of(message.channel).required("channel")?;
                Ok(Self::ClientEvent {
                    event,
                    channel,
                    data: message.data,
                })
            }
            _ => Ok(Self::Unknown { event }),
        }
    }
}

/// Why a message was not understood. The fault is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, not an object, or a key of the protocol twice.
    #[error("Invalid message format: not a JSON object")]
    Malformed,
    /// `data` is neither an object nor a string that holds one.
    #[error("Invalid message format: data is not a JSON object")]
    DataNotAnObject,
    /// A parameter is missing, null or empty.
    #[error("Missing parameter: {0}")]
    Missing(&'static str),
    /// A parameter is there, but not a string.
    #[error("Invalid parameter: {0} must be a string")]
    NotAString(&'static str),
}

/// The outside of every message.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    channel: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
}

/// The inside of the messages whose event starts with `pusher:`.
#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    auth: Option<&'a RawValue>,
    channel_data: Option<&'a RawValue>,
    user_data: Option<&'a RawValue>,
}

/// The same, with each value looked at; it borrows nothing when `data` came as a string with escapes in it.
#[derive(Default)]
struct Fields<'a> {
    channel: Field<'a>,
    auth: Field<'a>,
    channel_data: Field<'a>,
    user_data: Field<'a>,
}

impl<'a> Fields<'a> {
    fn of(data: Option<&'a RawValue>) -> Result<Self, MessageError> {
        let Some(data) = data else {
            return Ok(Self::default());
        };
        match json::text(data) {
            None => Self::of_object(data.get()),
            Some(Cow::Borrowed(object)) => Self::of_object(object),
            Some(Cow::Owned(object)) => Ok(Fields::of_object(&object)?.into_owned()),
        }
    }

    fn of_object(object: &'a str) -> Result<Self, MessageError> {
        let data: Inner<'a> = json::object(object).ok_or(MessageError::DataNotAnObject)?;
        Ok(Self {
            channel: Field::of(data.channel),
            auth: Field::of(data.auth),
            channel_data: Field::of(data.channel_data),
            user_data: Field::of(data.user_data),
        })
    }

    fn into_owned(self) -> Fields<'static> {
        Fields {
            channel: self.channel.into_owned(),
            auth: self.auth.into_owned(),
            channel_data: self.channel_data.into_owned(),
            user_data: self.user_data.into_owned(),
        }
    }
}

/// One parameter, which may only matter to some events: its type is judged when it is asked for.
#[derive(Default)]
enum Field<'a> {
    /// Missing, null or the empty string, which clients use for one another.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Other,
}

impl<'a> Field<'a> {
    fn of(value: Option<&'a RawValue>) -> Self {
        match value.map(json::text) {
            None => Self::Absent,
            Some(Some(text)) if text.is_empty() => Self::Absent,
            Some(Some(text)) => Self::Text(text),
            Some(None) => Self::Other,
        }
    }

    fn optional(self, name: &'static str) -> Result<Option<Cow<'a, str>>, MessageError> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Other => Err(MessageError::NotAString(name)),
        }
    }

    fn required(self, name: &'static str) -> Result<Cow<'a, str>, MessageError> {
        self.optional(name)?.ok_or(MessageError::Missing(name))
    }

    fn into_owned(self) -> Field<'static> {
        match self {
            Self::Absent => Field::Absent,
            Self::Text(text) => Field::Text(Cow::Owned(text.into_owned())),
            Self::Other => Field::Other,
        }
    }
}

#[cfg(test)]
mod tests;
