//! Just enough of RFC 6455 for a client that counts: splitting a byte stream into frames
//! without copying them, and making the few masked frames a subscriber sends.

/// The longest message a server may send us, in bytes; longer means we lost the frame boundary.
const LONGEST: u64 = 1 << 20;

/// Kind of a frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// Why the bytes are not frames this reader takes. All are the server's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a server frame is masked")]
    Masked,
    #[error("a frame is fragmented, compressed or of an unknown kind (first byte {0:#04x})")]
    Unsupported(u8),
    #[error("a frame claims {0} bytes")]
    TooLong(u64),
}

/// Splits what a server sends into frames. Holds only the part of a frame that has arrived so far.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    held: Vec<u8>,
}

impl FrameReader {
    /// Takes the next bytes of the stream and hands every frame they complete to `on_frame`, in order.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut on_frame: impl FnMut(Opcode, &[u8]),
    ) -> Result<(), FrameError> {
        if self.held.is_empty() {
            let used = split(bytes, &mut on_frame)?;
            self.held.extend_from_slice(&bytes[used..]);
        } else {
            self.held.extend_from_slice(bytes);
            let used = split(&self.held, &mut on_frame)?;
            self.held.drain(..used);
        }
        Ok(())
    }
}

/// Hands out all complete frames at the start of `bytes`; gives the number of bytes they took.
fn split(bytes: &[u8], on_frame: &mut impl FnMut(Opcode, &[u8])) -> Result<usize, FrameError> {
    let mut used = 0;
    while let Some((opcode, header, payload)) = first(&bytes[used..])? {
        let start = used + header;
        used = start + payload;
        on_frame(opcode, &bytes[start..used]);
    }
    Ok(used)
}

/// The kind, header length and payload length of the first frame, when all of it is there.
fn first(bytes: &[u8]) -> Result<Option<(Opcode, usize, usize)>, FrameError> {
    let &[byte0, byte1, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let opcode = Opcode::from_bits(byte0 & 0x0F)
        .filter(|_| byte0 & 0xF0 == 0x80)
        .ok_or(FrameError::Unsupported(byte0))?;
    if byte1 & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let (header, length) = match (byte1, rest) {
        (126, &[a, b, ..]) => (4, u64::from(u16::from_be_bytes([a, b]))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, u64::from(short)),
    };
    let payload = usize::try_from(length)
        .ok()
        .filter(|_| length <= LONGEST)
        .ok_or(FrameError::TooLong(length))?;
    Ok((bytes.len() >= header + payload).then_some((opcode, header, payload)))
}

/// A complete masked client frame. `payload` must be shorter than 64 KiB; longer ones are cut.
pub(crate) fn client_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    // A fixed mask is enough: there is no proxy on loopback that masking would have to protect.
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let payload = &payload[..payload.len().min(usize::from(u16::MAX))];
    let mut frame = Vec::with_capacity(payload.len() + 8);
    frame.push(0x80 | opcode.bits());
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..126 => frame.push(n as u8),
            n @ 126..65_536 => {
                frame.push(126);
                frame.extend((n as u16).to_be_bytes());
            }
            n => {
                frame.push(127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn collect(reader: &mut FrameReader, bytes: &[u8]) -> Vec<(Opcode, usize)> {
        let mut seen = Vec::new();
        reader
            .feed(bytes, |opcode, payload| seen.push((opcode, payload.len())))
            .unwrap();
        seen
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let lengths = [0, 1, 125, 126, 200, 65_535, 65_536];
        let stream: Vec<u8> = lengths
            .iter()
            .flat_map(|&n| server_frame(0x1, &vec![b'a'; n]))
            .collect();
        let expected: Vec<_> = lengths.iter().map(|&n| (Opcode::Text, n)).collect();
        for chunk in [1, 2, 3, 7, 129, 4_096, stream.len()] {
            let mut reader = FrameReader::default();
            let seen: Vec<_> = stream
                .chunks(chunk)
                .flat_map(|bytes| collect(&mut reader, bytes))
                .collect();
            assert_eq!(seen, expected, "chunks of {chunk}");
            assert!(reader.held.is_empty());
        }
    }

    #[test]
    fn control_frames_between_messages_are_told_apart() {
        let mut stream = server_frame(0x9, b"hi");
        stream.extend(server_frame(0x1, b"{}"));
        stream.extend(server_frame(0x8, &4100_u16.to_be_bytes()));
        assert_eq!(
            collect(&mut FrameReader::default(), &stream),
            [(Opcode::Ping, 2), (Opcode::Text, 2), (Opcode::Close, 2)]
        );
    }

    #[test]
    fn a_lost_frame_boundary_is_an_error_and_not_a_wait() {
        let feed = |bytes: &[u8]| FrameReader::default().feed(bytes, |_, _| {});
        assert_eq!(feed(b"HTTP"), Err(FrameError::Unsupported(b'H')));
        assert_eq!(feed(&[0xC1, 1, b'a']), Err(FrameError::Unsupported(0xC1)));
        assert_eq!(feed(&[0x01, 1, b'a']), Err(FrameError::Unsupported(0x01)));
        assert_eq!(feed(&[0x81, 0x81]), Err(FrameError::Masked));
        let huge = [0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(feed(&huge), Err(FrameError::TooLong(1 << 40)));
    }

    #[test]
    fn a_client_frame_unmasks_to_what_went_in() {
        for length in [0, 5, 125, 126, 300] {
            let payload = vec![b'q'; length];
            let frame = client_frame(Opcode::Text, &payload);
            let header = if length < 126 { 2 } else { 4 };
            assert_eq!(frame[1] & 0x80, 0x80, "masked");
            let (mask, masked) = frame[header..].split_at(4);
            let plain: Vec<u8> = masked
                .iter()
                .zip(mask.iter().cycle())
                .map(|(b, m)| b ^ m)
                .collect();
            assert_eq!(plain, payload);
        }
    }
}
