//! The stamp in every published payload: who numbered it, as which number, and when.
//! Fixed-width ASCII, so that a receiver finds and reads it without parsing JSON.

const MARK: &[u8] = b"gema-bench:";
const SOURCE_DIGITS: usize = 6;
const SEQUENCE_DIGITS: usize = 10;
const TIME_DIGITS: usize = 16;

/// The shortest payload that holds a stamp, in bytes.
pub(crate) const SHORTEST: usize =
    MARK.len() + SOURCE_DIGITS + 1 + SEQUENCE_DIGITS + 1 + TIME_DIGITS + 1;

/// One publish, as its receivers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Who numbers: a publisher, a channel, or a member that sends client events. Order is defined within one.
    pub(crate) source: u32,
    /// Counts up from 0 within a source.
    pub(crate) sequence: u64,
    /// When the publish was due, in nanoseconds on the bench's own clock.
    pub(crate) due_ns: u64,
}

impl Stamp {
    /// A payload of `size` bytes (at least [`SHORTEST`]) that carries this stamp and needs no JSON escaping.
    pub(crate) fn payload(&self, size: usize) -> String {
        let mut text = format!(
            "gema-bench:{:0SOURCE_DIGITS$}:{:0SEQUENCE_DIGITS$}:{:0TIME_DIGITS$}:",
            self.source, self.sequence, self.due_ns
        );
        while text.len() < size {
            text.push('x');
        }
        text
    }

    /// Finds the stamp in a received message.
    ///
    /// `hint` is where the last one stood: all frames of a channel have it in the same place, which
    /// makes the search a comparison. It is updated when the stamp stands elsewhere.
    pub(crate) fn find(message: &[u8], hint: &mut usize) -> Option<Self> {
        if !message.get(*hint..)?.starts_with(MARK) {
            *hint = message.windows(MARK.len()).position(|w| w == MARK)?;
        }
        let fields = message.get(*hint + MARK.len()..)?;
        let (source, fields) = number(fields, SOURCE_DIGITS)?;
        let (sequence, fields) = number(fields, SEQUENCE_DIGITS)?;
        let (due_ns, _) = number(fields, TIME_DIGITS)?;
        Some(Self {
            source: u32::try_from(source).ok()?,
            sequence,
            due_ns,
        })
    }
}

/// Reads `digits` decimal digits and the colon behind them; gives the rest too.
fn number(bytes: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (text, rest) = bytes.split_at_checked(digits)?;
    let value = text.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + u64::from(byte - b'0'))
    })?;
    Some((value, rest.strip_prefix(b":")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        source: 15,
        sequence: 4_999,
        due_ns: 12_345_678_901,
    };

    #[test]
    fn a_stamp_is_found_wherever_the_server_puts_the_data() {
        for head in [
            r#"{"event":"e","channel":"c","data":""#,
            r#"{"data":""#,
            "xgema-benc",
        ] {
            let message = format!("{head}{}\"}}", STAMP.payload(200));
            let mut hint = 7;
            assert_eq!(Stamp::find(message.as_bytes(), &mut hint), Some(STAMP));
            assert_eq!(hint, head.len());
            assert_eq!(Stamp::find(message.as_bytes(), &mut hint), Some(STAMP));
        }
    }

    #[test]
    fn a_payload_has_the_size_asked_for() {
        assert_eq!(STAMP.payload(200).len(), 200);
        assert_eq!(STAMP.payload(0).len(), SHORTEST);
    }

    #[test]
    fn other_messages_and_cut_stamps_are_not_stamps() {
        let whole = STAMP.payload(SHORTEST);
        for message in ["", "{}", "gema-bench:", &whole[..SHORTEST - 1]] {
            assert_eq!(Stamp::find(message.as_bytes(), &mut 0), None, "{message}");
        }
        assert_eq!(
            Stamp::find(whole.replace("4999", "49a9").as_bytes(), &mut 0),
            None
        );
        assert_eq!(Stamp::find(b"{}", &mut 99), None);
    }
}
