//! Bytes of a WebSocket client -> messages: tungstenite's state machine, fed from memory.
//! The caller reads into a buffer that connections share, so an idle connection owns only this.

use std::io::{self, Read, Write};

use gema_protocol::code::Code;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Bytes that tungstenite keeps for a frame that has come in part. It zeroes that much at each call.
const PART: usize = 256;

pub(super) struct Decoder {
    context: WebSocketContext,
    message_bytes: usize,
}

/// What a client has sent.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    /// A ping or pong; the answer, if it needs one, is among the replies.
    Control,
    /// The client has begun the closing handshake; the answer is among the replies.
    Closing,
}

/// Why a connection cannot go on, and the close code that says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: Code,
    pub(super) text: String,
}

/// One chunk of bytes from the socket, and the frames that tungstenite answers by itself.
struct Feed<'i, 'r> {
    input: &'i [u8],
    replies: &'r mut Vec<u8>,
}

impl Decoder {
    /// `message_bytes`: the longest message taken, whole or in fragments.
    pub(super) fn new(message_bytes: usize) -> Decoder {
        let config = WebSocketConfig::default()
            .read_buffer_size(PART)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        Decoder {
            context: WebSocketContext::new(Role::Server, Some(config)),
            message_bytes,
        }
    }

    /// Takes the next message out of `input`, which shrinks, or `None` when it holds no complete one.
    /// Frames to send back (pong, close) are appended to `replies`.
    pub(super) fn next(
        &mut self,
        input: &mut &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<Option<Incoming>, Violation> {
        let mut feed = Feed { input, replies };
        let result = self.context.read(&mut feed);
        *input = feed.input;
        match result {
            Ok(Message::Text(text)) => Ok(Some(Incoming::Text(text))),
            Ok(Message::Binary(_)) => Err(Violation {
                code: Code::UnsupportedData,
                text: "Binary messages are not supported".into(),
            }),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                Ok(Some(Incoming::Control))
            }
            // The reply is written by the next call.
            Ok(Message::Close(_)) => Ok(Some(Incoming::Control)),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(Some(Incoming::Closing)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.violation(&error)),
        }
    }

    fn violation(&self, error: &Error) -> Violation {
        let (code, text) = match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => (
                Code::MessageTooBig,
                format!(
                    "Message exceeds limits.message_bytes ({} bytes)",
                    self.message_bytes
                ),
            ),
            Error::Utf8(_) => (Code::InvalidPayload, "Message is not UTF-8".into()),
            Error::Protocol(ProtocolError::UnmaskedFrameFromClient) => (
                Code::ProtocolError,
                "Frames of a client must be masked".into(),
            ),
            error => (Code::ProtocolError, error.to_string()),
        };
        Violation { code, text }
    }
}

impl Read for Feed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Feed<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 1, 200, 9];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long => {
                frame.push(0x80 | 126);
                frame.extend((long as u16).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        frame
    }

    fn decode(bytes: &[u8]) -> (Vec<Result<Option<Incoming>, Violation>>, Vec<u8>) {
        let (mut decoder, mut replies, mut seen) = (Decoder::new(1000), Vec::new(), Vec::new());
        let mut input = bytes;
        loop {
            let next = decoder.next(&mut input, &mut replies);
            let last = !matches!(next, Ok(Some(Incoming::Text(_) | Incoming::Control)));
            seen.push(next);
            if last {
                return (seen, replies);
            }
        }
    }

    fn code(bytes: &[u8]) -> Code {
        match decode(bytes).0.pop() {
            Some(Err(violation)) => violation.code,
            other => panic!("no violation but {other:?}"),
        }
    }

    #[test]
    fn messages_arrive_whole_however_the_bytes_are_cut() {
        let bytes = [
            masked(0x81, b"one"),
            masked(0x01, b"tw"),
            masked(0x80, b"o"),
        ]
        .concat();
        for cut in 0..bytes.len() {
            let (mut decoder, mut replies, mut texts) = (Decoder::new(1000), vec![], vec![]);
            for mut part in [&bytes[..cut], &bytes[cut..]] {
                while let Some(Incoming::Text(text)) =
                    decoder.next(&mut part, &mut replies).unwrap()
                {
                    texts.push(text.to_string());
                }
            }
            assert_eq!(texts, ["one", "two"], "cut at {cut}");
        }
    }

    #[test]
    fn a_ping_is_answered_and_a_close_is_echoed() {
        let (seen, replies) = decode(&[masked(0x89, b"hi"), masked(0x88, &[0x03, 0xe8])].concat());
        assert!(matches!(seen.last(), Some(Ok(Some(Incoming::Closing)))));
        assert_eq!(replies, [0x8a, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
    }

    #[test]
    fn violations_have_the_close_code_of_their_kind() {
        assert_eq!(code(&masked(0x82, b"x")), Code::UnsupportedData);
        assert_eq!(code(&masked(0x81, &[0xff, 0xfe])), Code::InvalidPayload);
        assert_eq!(code(&masked(0x81, &[b'x'; 1001])), Code::MessageTooBig);
        assert_eq!(code(&[0x81, 1, b'x']), Code::ProtocolError);
        assert_eq!(code(&masked(0xc1, b"x")), Code::ProtocolError);
        assert_eq!(code(&masked(0x83, b"x")), Code::ProtocolError);
        let fragments = [masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 600])].concat();
        assert_eq!(code(&fragments), Code::MessageTooBig);
    }
}
