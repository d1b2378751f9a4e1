//! The error and close codes as one table: the number, what it tells, and what a client makes of it.
//!
//! 4000 and above are Pusher's ("Error codes" of the Channels WebSocket protocol), below are those of RFC 6455 section
//! 7.4.1. On a close, pusher-js goes by the range: 4000-4099 it stays away, 4100-4199 it returns after a second,
//! 4200-4299 at once; the others it takes for a broken connection and returns after a second.

/// A code that travels in a close frame, in a `pusher:error` event, or in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Code {
    /// The client itself ended the connection.
    Normal = 1000,
    /// The client broke the WebSocket protocol. pusher-js holds it against the transport and backs off.
    ProtocolError = 1002,
    /// A binary message, which the protocol has no use for. pusher-js holds it against the transport and backs off.
    UnsupportedData = 1003,
    /// A text message that is not UTF-8. The client returns after a second.
    InvalidPayload = 1007,
    /// A message above `limits.message_bytes`. The client returns after a second.
    MessageTooBig = 1009,
    /// A fault of the server. The client returns after a second.
    InternalError = 1011,
    /// The app takes TLS connections only. pusher-js switches to TLS at once.
    SslOnly = 4000,
    /// No app has this key. The client stays away.
    AppNotFound = 4001,
    /// The app is switched off. The client stays away.
    AppDisabled = 4003,
    /// The app or the server has as many connections as it may. The client stays away.
    OverQuota = 4004,
    /// Not the path of an app. The client stays away.
    PathNotFound = 4005,
    /// The `protocol` parameter is not a number. The client stays away.
    InvalidVersion = 4006,
    /// A protocol version this server does not speak. The client stays away.
    UnsupportedProtocol = 4007,
    /// Origin, sign-in or signature refused. As a close the client stays away; as an event it goes on.
    Unauthorized = 4009,
    /// The server sheds load, or the client reads too slowly. The client returns after a second.
    OverCapacity = 4100,
    /// The server goes down for good reasons. The client returns at once, to another node or to the restarted one.
    Reconnect = 4200,
    /// A ping went unanswered. The client returns at once.
    PongTimeout = 4201,
    /// More client events than allowed. Only ever an event: as a close it would keep pusher-js away for good.
    ClientEventRate = 4301,
    /// A watchlist with more users than are watched. Only ever an event, after a sign-in that succeeded.
    WatchlistLimit = 4302,
}

impl Code {
    /// The number on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self as u16
    }

    /// The text to send along when there is nothing more exact to say. At most 123 bytes, so that a close frame holds it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::ProtocolError => "WebSocket protocol error",
            Self::UnsupportedData => "Only text messages are supported",
            Self::InvalidPayload => "The message is not valid UTF-8",
            Self::MessageTooBig => "The message is larger than limits.message_bytes allows",
            Self::InternalError => "Internal server error",
            Self::SslOnly => "This application only accepts TLS connections",
            Self::AppNotFound => "Application does not exist",
            Self::AppDisabled => "Application is disabled",
            Self::OverQuota => "Application is over its connection quota",
            Self::PathNotFound => "Path not found",
            Self::InvalidVersion => "Invalid version string format",
            Self::UnsupportedProtocol => "Unsupported protocol version",
            Self::Unauthorized => "Connection is unauthorized",
            Self::OverCapacity => "Over capacity",
            Self::Reconnect => "Reconnect immediately",
            Self::PongTimeout => "Pong reply not received in time",
            Self::ClientEventRate => "Client event rejected due to rate limit",
            Self::WatchlistLimit => "The watchlist is too long: its first 100 users are watched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_table_and_their_texts_fit_a_close_frame() {
        for (code, number) in [
            (Code::ProtocolError, 1002),
            (Code::UnsupportedData, 1003),
            (Code::InvalidPayload, 1007),
            (Code::MessageTooBig, 1009),
            (Code::InternalError, 1011),
            (Code::SslOnly, 4000),
            (Code::AppNotFound, 4001),
            (Code::AppDisabled, 4003),
            (Code::OverQuota, 4004),
            (Code::PathNotFound, 4005),
            (Code::InvalidVersion, 4006),
            (Code::UnsupportedProtocol, 4007),
            (Code::Unauthorized, 4009),
            (Code::OverCapacity, 4100),
            (Code::Reconnect, 4200),
            (Code::PongTimeout, 4201),
            (Code::ClientEventRate, 4301),
        ] {
            assert_eq!(code.as_u16(), number);
            assert!((1..=123).contains(&code.message().len()), "{code:?}");
        }
    }
}
