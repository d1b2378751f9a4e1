//! What a client is told of what it may not do.

use super::Action;
use crate::auth::AuthError;
use crate::channel::ChannelNameError;
use crate::client::Subscribe;
use crate::code::Code;
use crate::presence::MemberError;
use crate::server;

/// An error event.
pub(super) fn refuse(code: Option<Code>, why: &str) -> Action {
    Action::Reply(server::error(code, why))
}

/// Why a subscription is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubscribeError {
    #[error("Existing subscription")]
    Existing,
    #[error("{0}")]
    Name(#[from] ChannelNameError),
    #[error("The connection has as many channels as limits.channels_per_connection allows: {max}")]
    TooMany { max: usize },
    #[error("Missing parameter: data.auth, without which this channel cannot be joined")]
    NoAuth,
    #[error("{0}")]
    Auth(#[from] AuthError),
    #[error(
        "Missing parameter: data.channel_data with a user_id, unless the connection has signed in"
    )]
    NoMember,
    #[error("{0}")]
    Member(#[from] MemberError),
    #[error("The connection has not signed in as the user of this channel")]
    NotThisUser,
}

impl SubscribeError {
    /// The answer; types and status numbers follow what servers with this event already send.
    pub(super) fn reply(&self, request: &Subscribe<'_>) -> Action {
        let channel = &*request.channel;
        let (kind, status) = match self {
            Self::Existing => {
                return refuse(None, &format!("Existing subscription to channel {channel}"));
            }
            Self::Name(ChannelNameError::TooLong { .. }) => ("LimitReached", 4009),
            Self::Name(_) => ("InvalidName", 400),
            Self::TooMany { .. } => ("LimitReached", Code::OverCapacity.as_u16()),
            Self::Member(MemberError::InfoTooLarge { .. } | MemberError::UserIdTooLong) => {
                ("LimitReached", 4301)
            }
            Self::NoAuth | Self::Auth(_) | Self::NoMember | Self::Member(_) | Self::NotThisUser => {
                ("AuthError", 401)
            }
        };
        Action::Reply(server::subscription_error(
            channel,
            kind,
            &self.to_string(),
            status,
        ))
    }
}

/// Why a client event goes nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientEventError {
    #[error("To send client events, enable them for the application: apps.client_events")]
    Off,
    #[error("{}: limits.client_events_per_s is {max}", Code::ClientEventRate.message())]
    TooMany { max: u32 },
    #[error(
        "Client event rejected - its name has {chars} characters, limits.event_name_chars allows {max}"
    )]
    NameTooLong { chars: usize, max: usize },
    #[error("Client event rejected - only supported on private and presence channels")]
    OpenChannel,
    #[error("Client event rejected - no current subscription to channel {channel}")]
    NotSubscribed { channel: String },
    #[error(
        "Client event rejected - its data has {bytes} bytes, limits.event_data_bytes allows {max}"
    )]
    DataTooLarge { bytes: usize, max: usize },
}

impl ClientEventError {
    pub(super) fn reply(&self) -> Action {
        let code = match self {
            Self::TooMany { .. } => Some(Code::ClientEventRate),
            _ => None,
        };
        refuse(code, &self.to_string())
    }
}
