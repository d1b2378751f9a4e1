//! A frame on its way from one node to another, with what the receiving node needs to pass it on without parsing it.
//!
//! The layout, all numbers big-endian: version (1 byte), whether a socket is excepted (1), node (8), run and number (4
//! each), the excepted socket's node and number (16, zero without), start and end of event, channel and data in the
//! frame (4 each), frame to the end. A layout that changes gets another version, so that nodes of two releases refuse
//! each other's envelopes instead of misreading them.

use bytes::Bytes;

use crate::frame::{Frame, Span, Spans};
use crate::socket_id::SocketId;

const VERSION: u8 = 1;

/// The bytes before the frame.
const FIXED: usize = 2 + 8 + 8 + 16 + 24;

/// What one node tells the others about a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sending node, which drops its own echo.
    pub node: u64,
    /// The sender counts what it sends to a channel by `number`; it begins anew with the next `run`.
    pub run: u32,
    /// One more than that of the envelope before, within a run.
    pub number: u32,
    /// The connection that must not get it.
    pub except: Option<SocketId>,
    /// The text frame, ready to be written.
    pub frame: Frame,
}

impl Envelope {
    /// The bytes for the other nodes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let frame = self.frame.bytes();
        let mut out = Vec::with_capacity(FIXED + frame.len());
        out.extend_from_slice(&[VERSION, u8::from(self.except.is_some())]);
        out.extend_from_slice(&self.node.to_be_bytes());
        out.extend_from_slice(&self.run.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        let except = self.except.unwrap_or(SocketId { node: 0, number: 0 });
        out.extend_from_slice(&except.node.to_be_bytes());
        out.extend_from_slice(&except.number.to_be_bytes());
        let Spans {
            event,
            channel,
            data,
        } = self.frame.spans();
        for span in [event, channel, data] {
            out.extend_from_slice(&span.start.to_be_bytes());
            out.extend_from_slice(&span.end.to_be_bytes());
        }
        out.extend_from_slice(frame);
        out
    }

    /// Reads what [`Envelope::encode`] wrote. The frame shares the memory of `bytes`.
    ///
    /// # Errors
    /// Says what is wrong; nothing of such an envelope is to be trusted.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
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
        let (run, number) = (reader.number()?, reader.number()?);
        let socket = SocketId {
            node: u64::from_be_bytes(reader.array()?),
            number: u64::from_be_bytes(reader.array()?),
        };
        let except = match excepts {
            0 => None,
            1 => Some(socket),
            _ => return Err(EnvelopeError::Flag),
        };
        let spans = Spans {
            event: reader.span()?,
            channel: reader.span()?,
            data: reader.span()?,
        };
        let frame =
            Frame::from_wire(bytes.slice_ref(reader.rest), spans).ok_or(EnvelopeError::Frame)?;
        Ok(Self {
            node,
            run,
            number,
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
            run: 2,
            number: 5,
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
        assert_eq!(refusal(FIXED, 0x89), EnvelopeError::Frame);
        assert_eq!(
            Envelope::decode(&Bytes::new()),
            Err(EnvelopeError::Truncated)
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            node: u64, run: u32, number: u32, channel in ".{0,20}", event in ".{0,20}", data in ".{0,300}",
            except in proptest::option::of((any::<u64>(), any::<u64>())),
        ) {
            let except = except.map(|(node, number)| SocketId { node, number });
            let frame = server::event(&channel, &event, &data);
            let envelope = Envelope { node, run, number, except, frame };
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
