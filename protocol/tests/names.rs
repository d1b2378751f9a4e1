//! Which channel names and socket ids are accepted, against the rules written a second time.

use gema_protocol::{ChannelKind, ChannelName, SocketId};
use proptest::prelude::*;

const LEGAL: &str = "-_=@,.;abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

proptest! {
    #[test]
    fn a_name_is_accepted_exactly_when_it_keeps_the_rules(
        name in "[-a-zA-Z0-9_=@,.;]{0,12}|(#|private-|presence-|#server-to-user-)?.{0,12}",
        max in 0..30_usize,
    ) {
        let legal = match name.strip_prefix("#server-to-user-") {
            Some(user) => !user.is_empty() && !user.contains(char::is_control),
            None => !name.is_empty() && name.chars().all(|c| LEGAL.contains(c)),
        };
        let parsed = ChannelName::parse(&name, max);
        prop_assert_eq!(parsed.is_ok(), legal && name.chars().count() <= max);
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed.as_str(), &name);
            prop_assert_eq!(parsed.to_string(), name.clone());
            prop_assert_eq!(parsed.kind(), ChannelKind::of(&name));
        }
    }

    #[test]
    fn an_id_is_read_back_from_its_text(node: u64, number: u64) {
        let id = SocketId { node, number };
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_text_is_an_id_exactly_when_it_is_two_numbers(text in "[0-9]{0,19}\\.[0-9]{0,19}|[0-9.+ -]{0,8}|.{0,8}") {
        let parts: Vec<&str> = text.split('.').collect();
        let numbers = parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
        prop_assert_eq!(text.parse::<SocketId>().is_ok(), parts.len() == 2 && numbers);
    }
}
