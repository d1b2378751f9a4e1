//! The last frames of a connection.

use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use gema_protocol::server;

use super::report::NO_CLOSE_FRAME;

/// An error event for clients that read those, then the close frame.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// `pusher:error` with the code, for those that heed the event and not the close frame.
    pub error: Option<Frame>,
    /// The WebSocket close frame.
    pub close: Frame,
}

impl Farewell {
    /// The code's own text as event and close frame.
    pub fn of(code: Code) -> Farewell {
        Farewell::with(code, code.message())
    }

    /// The code of its close frame (RFC 6455, section 5.5.1: the first two bytes of the payload).
    pub(super) fn code(&self) -> u16 {
        let code = self.close.payload().first_chunk();
        code.map_or(NO_CLOSE_FRAME, |code| u16::from_be_bytes(*code))
    }

    /// A code with a text that says more.
    pub fn with(code: Code, message: &str) -> Farewell {
        Farewell {
            error: Some(server::error(Some(code), message)),
            close: Frame::close(code.as_u16(), message),
        }
    }
}
