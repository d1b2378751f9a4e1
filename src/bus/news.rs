//! What arrives from the other nodes about a place.

use std::sync::Arc;

use bytes::Bytes;
use gema_protocol::envelope::{Envelope, EnvelopeError};

use super::place::NodeName;

/// One message of a place.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// An event of a channel.
    Event(Envelope),
    /// An event of a cache channel, with the version of the place that it makes.
    Cached {
        /// The place's version.
        version: u64,
        /// The event.
        event: Envelope,
    },
    /// On which nodes a member now is.
    Member {
        /// The place's version.
        version: u64,
        /// The member.
        member: Presence,
    },
    /// How many subscriptions a node now has.
    Count {
        /// The place's version.
        version: u64,
        /// The node.
        node: NodeName,
        /// Its subscriptions.
        count: u32,
    },
    /// A back end sends the user away.
    Terminate,
}

/// A member of a channel as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The user's id.
    pub user_id: Arc<str>,
    /// As JSON.
    pub user_info: Option<Arc<str>>,
    /// Where the user is; empty = nowhere any more.
    pub nodes: Vec<NodeName>,
}

/// A message that no node of this release sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewsError {
    /// Not one of the forms there are.
    #[error("message of an unknown form")]
    Form,
    /// An event that cannot be read.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// What a user's being sent away looks like.
pub(super) const TERMINATE: &[u8] = b"t";

impl News {
    /// Reads what `place.lua` or another node has published.
    ///
    /// # Errors
    /// The message is to be dropped.
    pub fn parse(payload: &Bytes) -> Result<News, NewsError> {
        let Some((kind, rest)) = payload.split_first() else {
            return Err(NewsError::Form);
        };
        match kind {
            b'm' => member(rest).ok_or(NewsError::Form),
            b'n' => count(rest).ok_or(NewsError::Form),
            b'e' => {
                let (version, rest) = number(rest).ok_or(NewsError::Form)?;
                let event = Envelope::decode(&payload.slice_ref(rest))?;
                Ok(News::Cached { version, event })
            }
            b't' if rest.is_empty() => Ok(News::Terminate),
            _ => Ok(News::Event(Envelope::decode(payload)?)),
        }
    }
}

impl Presence {
    /// Reads a member's value in the registry: nodes between commas, a line feed, the info.
    pub(super) fn parse(user_id: &[u8], value: &[u8]) -> Option<Presence> {
        let (nodes, info) = std::str::from_utf8(value).ok()?.split_once('\n')?;
        let nodes = nodes.split(',').filter(|node| !node.is_empty());
        let nodes: Result<_, _> = nodes
            .map(|node| node.parse().map(NodeName::of_number))
            .collect();
        Some(Presence {
            user_id: std::str::from_utf8(user_id).ok()?.into(),
            user_info: (!info.is_empty()).then(|| info.into()),
            nodes: nodes.ok()?,
        })
    }
}

/// A space, digits, and the space after them.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let bytes = bytes.strip_prefix(b" ")?;
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(bytes.get(..end)?).ok()?;
    Some((digits.parse().ok()?, bytes.get(end + 1..)?))
}

fn member(bytes: &[u8]) -> Option<News> {
    let (version, rest) = number(bytes)?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let (user_id, value) = rest.get(end + 1..)?.split_at_checked(length)?;
    let member = Presence::parse(user_id, value)?;
    Some(News::Member { version, member })
}

fn count(bytes: &[u8]) -> Option<News> {
    let (version, rest) = number(bytes)?;
    let (node, count) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
    Some(News::Count {
        version,
        node: NodeName::of_number(node.parse().ok()?),
        count: count.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use gema_protocol::server;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_come_with_their_nodes_and_whatever_is_in_their_names() {
        let payload = Bytes::from_static(b"m 12 5 a 1\nb,65536,7,\n{\"n\":\"\n\"}");
        let news = News::parse(&payload).unwrap();
        let member = Presence {
            user_id: "a 1\nb".into(),
            user_info: Some("{\"n\":\"\n\"}".into()),
            nodes: vec![NodeName::first(1), NodeName::of_number(7)],
        };
        assert_eq!(
            news,
            News::Member {
                version: 12,
                member
            }
        );
        let gone = News::parse(&Bytes::from_static(b"m 13 1 a\n")).unwrap();
        let News::Member { member, .. } = gone else {
            panic!("{gone:?}");
        };
        assert!(member.nodes.is_empty() && member.user_info.is_none());
    }

    #[test]
    fn counts_and_events_are_read() {
        let count = News::parse(&Bytes::from_static(b"n 5 7 300")).unwrap();
        let node = NodeName::of_number(7);
        let expected = News::Count {
            version: 5,
            node,
            count: 300,
        };
        assert_eq!(count, expected);
        let event = Envelope {
            node: 1,
            run: 1,
            number: 1,
            except: None,
            frame: server::event("cache-a", "n", "1"),
        };
        let plain = Bytes::from(event.encode());
        assert_eq!(News::parse(&plain), Ok(News::Event(event.clone())));
        let cached = Bytes::from([b"e 9 ", &event.encode()[..]].concat());
        let expected = News::Cached { version: 9, event };
        assert_eq!(News::parse(&cached), Ok(expected));
        assert_eq!(
            News::parse(&Bytes::from_static(TERMINATE)),
            Ok(News::Terminate)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_harm(kind in "[mnet\u{1}]", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = News::parse(&Bytes::from([kind.as_bytes(), b" 1 ", &bytes].concat()));
        }
    }
}
