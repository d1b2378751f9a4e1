//! Why a connection ended, as the client has seen it.

use std::fmt;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Of the close frame, where there was one.
    pub(crate) code: Option<u16>,
    why: String,
}

impl Ended {
    pub(crate) fn by_frame(payload: &[u8]) -> Self {
        match payload {
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                let reason = String::from_utf8_lossy(reason);
                Self {
                    code: Some(code),
                    why: format!("closed with {code} {reason}"),
                }
            }
            _ => Self::without_code(),
        }
    }

    pub(crate) fn without_code() -> Self {
        Self::with("closed without a code".to_owned())
    }

    pub(crate) fn with(why: String) -> Self {
        Self { code: None, why }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_told_with_its_code() {
        let mut payload = 4100_u16.to_be_bytes().to_vec();
        payload.extend(b"slow");
        let ended = Ended::by_frame(&payload);
        assert_eq!(ended.code, Some(4100));
        assert_eq!(ended.to_string(), "closed with 4100 slow");
        assert_eq!(Ended::by_frame(&[]).code, None);
    }
}
