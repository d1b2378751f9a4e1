//! The id of a connection, `node.number`, as signatures and `socket_id` exclusions refer to it.
//!
//! Two decimal numbers and a dot: every server SDK checks for exactly that before it signs.

use std::fmt;
use std::str::FromStr;

/// One connection, unique among all nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId {
    /// The node that holds the connection.
    pub node: u64,
    /// The connection's number on that node.
    pub number: u64,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.number)
    }
}

impl FromStr for SocketId {
    type Err = SocketIdError;

    fn from_str(text: &str) -> Result<Self, SocketIdError> {
        let (node, number) = text.split_once('.').ok_or(SocketIdError::Malformed)?;
        Ok(Self {
            node: decimal(node)?,
            number: decimal(number)?,
        })
    }
}

/// Digits only: the standard parser alone would let a leading `+` pass.
fn decimal(digits: &str) -> Result<u64, SocketIdError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SocketIdError::Malformed);
    }
    digits.parse().map_err(|_| SocketIdError::TooLarge)
}

/// Why a text is no socket id. The fault is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketIdError {
    /// Not two decimal numbers with a dot between them.
    #[error("Invalid socket id: not of the form 1234.5678")]
    Malformed,
    /// A number that no node gives out: beyond 64 bits.
    #[error("Invalid socket id: a number is out of range")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_numbers_are_one() {
        let id = SocketId {
            node: 131_160,
            number: 155_806_628,
        };
        assert_eq!(id.to_string(), "131160.155806628");
        assert_eq!("131160.155806628".parse(), Ok(id));
    }

    #[test]
    fn anything_but_two_decimal_numbers_is_refused() {
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "+1.2",
            "1.-2",
            "1 .2",
            "1.2\n",
            "1.x",
            "1,2",
            "\u{661}.1",
            "0x1.1",
        ] {
            assert_eq!(
                text.parse::<SocketId>(),
                Err(SocketIdError::Malformed),
                "{text:?}"
            );
        }
        assert_eq!(
            "18446744073709551616.1".parse::<SocketId>(),
            Err(SocketIdError::TooLarge)
        );
        assert!(
            "18446744073709551615.18446744073709551615"
                .parse::<SocketId>()
                .is_ok()
        );
    }
}
