//! A frame on its way from one node to another, with what the receiving node needs to pass it on without parsing it.
//!
//! The layout, all numbers big-endian: version (1 byte), whether a socket is excepted (1), node (8), the excepted
//! socket's node and number (16, zero without), the lengths of app and channel (4 each), start and end of event,
//! channel and data in the frame (4 each), app, channel, frame to the end. A layout that changes gets another version,
//! so that nodes of two releases refuse each other's envelopes instead of misreading them.

use bytes::Bytes;

use crate::frame::{Frame, Span, Spans};
use crate::socket_id::SocketId;

const VERSION: u8 = 1;

/// The bytes before the app.
const FIXED: usize = 2 + 8 + 16 + 8 + 24;

/// What one node tells the others about a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The sending node, which drops its own echo.
    pub node: u64,
    /// The id of the app.
    pub app: &'a str,
    /// The channel to whose subscribers the frame goes.
    pub channel: &'a str,
    /// The connection that must not get it.
    pub except: Option<SocketId>,
    /// The text frame, ready to be written.
    pub frame: Frame,
}

impl<'a> Envelope<'a> {
    /// The bytes for the other nodes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (app, channel, frame) = (self.app, self.channel, self.frame.bytes());
        let mut out = Vec::with_capacity(FIXED + app.len() + channel.len() + frame.len());
        out.extend_from_slice(&[VERSION, u8::from(self.except.is_some())]);
        let except = self.except.unwrap_or(SocketId { node: 0, number: 0 });
        for number in [self.node, except.node, except.number] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let Spans {
            event,
            channel: named,
            data,
        } = self.frame.spans();
        // Names are far below 4 GiB: the limits see to that.
        let lengths = [app.len() as u32, channel.len() as u32];
        let spans = [
            event.start,
            event.end,
            named.start,
            named.end,
            data.start,
            data.end,
        ];
        for number in lengths.into_iter().chain(spans) {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(app.as_bytes());
        out.extend_from_slice(channel.as_bytes());
        out.extend_from_slice(frame);
        out
    }

    /// Reads what [`Envelope::encode`] wrote. The frame shares the memory of `bytes`.
    ///
    /// # Errors
    /// Says what is wrong; nothing of such an envelope is to be trusted.
    pub fn decode(bytes: &'a Bytes) -> Result<Self, EnvelopeError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(EnvelopeError::Version { version }),
            None => return Err(EnvelopeError::Truncated),
        }
        let mut reader = Reader {
            rest: bytes.get(1..).unwrap_or_default(),
        };
        let [excepts] = reader.array()?;
        let node = u64::from_be_bytes(reader.array()?);
        let socket = SocketId {
            node: u64::from_be_bytes(reader.array()?),
            number: u64::from_be_bytes(reader.array()?),
        };
        let except = match excepts {
            0 => None,
            1 => Some(socket),
            _ => return Err(EnvelopeError::Flag),
        };
        let (app, channel) = (reader.number()?, reader.number()?);
        let spans = Spans {
            event: reader.span()?,
            channel: reader.span()?,
            data: reader.span()?,
        };
        let (app, channel) = (reader.text(app)?, reader.text(channel)?);
        let frame =
            Frame::from_wire(bytes.slice_ref(reader.rest), spans).ok_or(EnvelopeError::Frame)?;
        Ok(Self {
            node,
            app,
            channel,
            except,
            frame,
        })
    }
}

/// Why bytes are no envelope of ours. The fault is the sending node's, or of who else writes to the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// From another release.
    #[error("envelope of version {version}, this node reads {VERSION}")]
    Version {
        /// Its first byte.
        version: u8,
    },
    /// It ends before its parts do.
    #[error("truncated envelope")]
    Truncated,
    /// The byte that says whether a socket is excepted says something else.
    #[error("envelope with an unknown flag")]
    Flag,
    /// The app or the channel is not UTF-8.
    #[error("envelope with a name that is not UTF-8")]
    Name,
    /// The rest is not exactly one text frame, or its parts are not within it.
    #[error("envelope without a sound frame")]
    Frame,
}

/// Takes parts off the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EnvelopeError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(EnvelopeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u32, EnvelopeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn span(&mut self) -> Result<Span, EnvelopeError> {
        Ok(Span {
            start: self.number()?,
            end: self.number()?,
        })
    }

    fn text(&mut self, len: u32) -> Result<&'a str, EnvelopeError> {
        let (text, rest) = self
            .rest
            .split_at_checked(len as usize)
            .ok_or(EnvelopeError::Truncated)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| EnvelopeError::Name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server;

    fn encoded() -> Vec<u8> {
        let except = Some(SocketId { node: 3, number: 4 });
        let frame = server::event("presence-a", "e", "{}");
        Envelope {
            node: 1,
            app: "app-id",
            channel: "presence-a",
            except,
            frame,
        }
        .encode()
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = encoded();
        for len in 0..whole.len() {
            assert!(
                Envelope::decode(&Bytes::copy_from_slice(&whole[..len])).is_err(),
                "{len}"
            );
        }
    }

    #[test]
    fn the_frame_is_not_copied() {
        let bytes = Bytes::from(encoded());
        let envelope = Envelope::decode(&bytes).unwrap();
        assert!(
            bytes
                .as_ptr_range()
                .contains(&envelope.frame.bytes().as_ptr())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refusal = |place: usize, byte: u8| {
            let mut bytes = encoded();
            bytes[place] = byte;
            Envelope::decode(&bytes.into()).unwrap_err()
        };
        assert_eq!(refusal(0, 2), EnvelopeError::Version { version: 2 });
        assert_eq!(refusal(1, 2), EnvelopeError::Flag);
        assert_eq!(refusal(FIXED, 0xff), EnvelopeError::Name);
        assert_eq!(refusal(FIXED + 16, 0x89), EnvelopeError::Frame);
        assert_eq!(
            Envelope::decode(&Bytes::new()),
            Err(EnvelopeError::Truncated)
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            node: u64, app in ".{0,20}", channel in ".{0,20}", event in ".{0,20}", data in ".{0,300}",
            except in proptest::option::of((any::<u64>(), any::<u64>())),
        ) {
            let except = except.map(|(node, number)| SocketId { node, number });
            let frame = server::event(&channel, &event, &data);
            let envelope = Envelope { node, app: &app, channel: &channel, except, frame };
            let bytes = Bytes::from(envelope.encode());
            prop_assert_eq!(Envelope::decode(&bytes), Ok(envelope));
        }

        #[test]
        fn no_bytes_harm_the_decoder(
            noise in proptest::collection::vec(any::<u8>(), 0..200), place: proptest::sample::Index, byte: u8,
        ) {
            let mut changed = encoded();
            let place = place.index(changed.len());
            changed[place] = byte;
            for bytes in [[&[VERSION], &noise[..]].concat(), noise, changed] {
                let bytes = Bytes::from(bytes);
                if let Ok(envelope) = Envelope::decode(&bytes) {
                    let frame = &envelope.frame;
                    let _ = (frame.event(), frame.channel(), frame.data(), frame.payload());
                    prop_assert_eq!(envelope.encode(), &bytes[..]);
                }
            }
        }
    }
}
