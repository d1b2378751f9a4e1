//! Bytes of a client -> WebSocket messages (RFC 6455, sections 5 and 7), without a buffer of its own: whole frames are
//! read where they lie, and only what has come in part is kept.
//!
//! The invariant: between two calls a decoder holds at most one frame's beginning and the fragments of one message, and
//! neither is larger than the limits; when both are complete it holds no memory at all.

use std::borrow::Cow;

use crate::code::Code;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message, whole.
    Text(Cow<'a, str>),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong; that it came is all there is to it.
    Pong,
    /// The client ends the connection, with this code if it gave one; a close frame with the same code answers it.
    Close(Option<u16>),
}

/// Why the connection cannot go on. The fault is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Section 5.1: a client must mask its frames.
    #[error("Frames of a client must be masked")]
    Unmasked,
    /// Section 5.2: a reserved bit without an extension that gives it a meaning.
    #[error("Reserved bits must be zero: no extension was agreed on")]
    ReservedBits,
    /// Section 5.2: an opcode without a meaning.
    #[error("Unknown opcode {0}")]
    UnknownOpcode(u8),
    /// Section 5.2: a length must be written in as few bytes as it needs.
    #[error("A length written in more bytes than it needs")]
    LongLength,
    /// Section 5.5: a control frame of more than 125 bytes, or in fragments.
    #[error("Control frames must be whole and at most 125 bytes")]
    BadControl,
    /// Section 5.4: a continuation of nothing, or a new message inside another.
    #[error("A fragment out of place")]
    BadFragment,
    /// Section 5.5.1: a close code that must not be sent.
    #[error("Invalid close code")]
    BadClose,
    /// The protocol is JSON text.
    #[error("Binary messages are not supported")]
    Binary,
    /// Section 8.1.
    #[error("Message is not UTF-8")]
    NotUtf8,
    /// The announced length is enough: nobody waits for the rest.
    #[error("Message exceeds limits.message_bytes ({max} bytes)")]
    TooLarge {
        /// The limit.
        max: usize,
    },
}

/// The state between two chunks of bytes.
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a frame whose end has not come.
    part: Vec<u8>,
    /// The payloads of the fragments so far; `None` outside a fragmented message.
    fragments: Option<Vec<u8>>,
    max: u32,
}

/// What the first bytes of a frame say.
struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes before the payload.
    bytes: usize,
    payload: usize,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The longest payload of a control frame.
const CONTROL_BYTES: usize = 125;

impl Decoder {
    /// `message_bytes`: the longest message, whole or in fragments.
    #[must_use]
    pub fn new(message_bytes: u32) -> Self {
        Self {
            part: Vec::new(),
            fragments: None,
            max: message_bytes,
        }
    }

    /// Decodes all that is complete and hands it to `take`, in order, until that returns false. What is left over is
    /// kept for the next chunk. `chunk` is unmasked in place.
    ///
    /// # Errors
    /// The first violation; everything before it has been taken. The decoder must not be used any more.
    pub fn feed(
        &mut self,
        chunk: &mut [u8],
        mut take: impl FnMut(Incoming<'_>) -> bool,
    ) -> Result<(), Violation> {
        if self.part.is_empty() {
            let used = self.frames(chunk, &mut take)?;
            self.part = chunk[used..].to_vec();
            return Ok(());
        }
        let mut part = std::mem::take(&mut self.part);
        part.extend_from_slice(chunk);
        match self.frames(&mut part, &mut take)? {
            0 => self.part = part,
            used => self.part = part[used..].to_vec(),
        }
        Ok(())
    }

    /// Decodes whole frames from the front of `bytes`; gives how many bytes they were.
    fn frames(
        &mut self,
        bytes: &mut [u8],
        take: &mut impl FnMut(Incoming<'_>) -> bool,
    ) -> Result<usize, Violation> {
        let mut used = 0;
        while let Some(header) = self.header(&bytes[used..])? {
            let begin = used + header.bytes;
            let end = begin + header.payload;
            if end > bytes.len() {
                break;
            }
            let payload = &mut bytes[begin..end];
            unmask(payload, header.mask);
            used = end;
            if !self.frame(&header, payload, take)? {
                return Ok(bytes.len());
            }
        }
        Ok(used)
    }

    /// Reads and judges a header; `None` when it is not complete.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        // The longer forms say that the payload has so many bytes at least, and that may be too many already.
        let (least, extra) = match second & 0x7f {
            126 => (126, 2),
            127 => (1 << 16, 8),
            length => (u64::from(length), 0),
        };
        self.judge(fin, opcode, least)?;
        let mut length = least;
        if extra > 0 {
            let Some(bytes) = rest.get(..extra) else {
                return Ok(None);
            };
            length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            if length < least {
                return Err(Violation::LongLength);
            }
            self.judge(fin, opcode, length)?;
        }
        let Some(mask) = rest.get(extra..).and_then(<[u8]>::first_chunk::<4>) else {
            return Ok(None);
        };
        Ok(Some(Header {
            fin,
            opcode,
            mask: *mask,
            bytes: 2 + extra + 4,
            // At most `max`, a u32, as judged.
            payload: length as usize,
        }))
    }

    fn judge(&self, fin: bool, opcode: u8, length: u64) -> Result<(), Violation> {
        let too_large = |length: u64| length > u64::from(self.max);
        match opcode {
            CLOSE | PING | PONG if !fin || length > CONTROL_BYTES as u64 => {
                Err(Violation::BadControl)
            }
            CLOSE | PING | PONG => Ok(()),
            BINARY => Err(Violation::Binary),
            TEXT | CONTINUATION => {
                let before = self.fragments.as_ref().map(Vec::len);
                if before.is_some() != (opcode == CONTINUATION) {
                    return Err(Violation::BadFragment);
                }
                if too_large(length.saturating_add(before.unwrap_or(0) as u64)) {
                    let max = self.max as usize;
                    return Err(Violation::TooLarge { max });
                }
                Ok(())
            }
            opcode => Err(Violation::UnknownOpcode(opcode)),
        }
    }

    /// Acts on one whole frame; false when `take` wants no more.
    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        take: &mut impl FnMut(Incoming<'_>) -> bool,
    ) -> Result<bool, Violation> {
        match header.opcode {
            PING => Ok(take(Incoming::Ping(payload))),
            PONG => Ok(take(Incoming::Pong)),
            CLOSE => Ok(take(Incoming::Close(close_code(payload)?))),
            _ => match (self.fragments.take(), header.fin) {
                (None, true) => Ok(take(Incoming::Text(Cow::Borrowed(text(payload)?)))),
                (fragments, fin) => {
                    let mut whole = fragments.unwrap_or_default();
                    whole.extend_from_slice(payload);
                    if !fin {
                        self.fragments = Some(whole);
                        return Ok(true);
                    }
                    let whole = String::from_utf8(whole).map_err(|_| Violation::NotUtf8)?;
                    Ok(take(Incoming::Text(Cow::Owned(whole))))
                }
            },
        }
    }
}

impl Violation {
    /// The close code of its kind (section 7.4.1).
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Binary => Code::UnsupportedData,
            Self::NotUtf8 => Code::InvalidPayload,
            Self::TooLarge { .. } => Code::MessageTooBig,
            _ => Code::ProtocolError,
        }
    }
}

fn text(payload: &[u8]) -> Result<&str, Violation> {
    std::str::from_utf8(payload).map_err(|_| Violation::NotUtf8)
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let [high, low, reason @ ..] = payload else {
        // One byte is half a code.
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::BadClose)
        };
    };
    text(reason)?;
    let code = u16::from_be_bytes([*high, *low]);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some(code)),
        _ => Err(Violation::BadClose),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Eight bytes at a time: the mask repeats after four.
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (index, byte) in rest.iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
}

#[cfg(test)]
mod tests;
