//! Wrong tokens, counted by the address that sent them: who guesses is soon refused unheard, and nobody at another address is
//! kept out by it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use super::Denied;

/// Wrong tokens in a second from one address: nobody mistypes faster, and guessing takes for ever.
const TRIES_PER_S: u64 = 5;

/// What one wrong token costs. An address may be a second ahead.
const COST_MS: u64 = 1000 / TRIES_PER_S;

/// How far ahead an address may be.
const BURST_MS: u64 = 1000;

/// Addresses that are remembered: each for a second after its last wrong token, so many of them come from a crowd that no
/// number here would stop. 1,024 take less than 100 KiB.
const ADDRESSES: usize = 1024;

/// The addresses that have lately sent a wrong token.
#[derive(Default)]
pub(super) struct Tries {
    /// Until when each address is in debt, in [`crate::clock::now_ms`] time (the generic cell rate algorithm, ITU-T I.371).
    debts: Mutex<HashMap<IpAddr, u64>>,
}

impl Tries {
    /// Looks at a token from `client` at `now_ms`, unless too many wrong ones came from there just now.
    ///
    /// # Errors
    /// [`Denied::WrongToken`], or [`Denied::TooManyTries`] without having looked. A right token costs nothing.
    pub(super) fn judge(
        &self,
        client: IpAddr,
        now_ms: u64,
        is_right: impl FnOnce() -> bool,
    ) -> Result<(), Denied> {
        let client = network(client);
        // Held while the token is compared, which takes a microsecond: guesses side by side are counted one by one.
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        let until_ms = debts
            .get(&client)
            .map_or(now_ms, |until| now_ms.max(*until));
        if until_ms + COST_MS > now_ms + BURST_MS {
            return Err(Denied::TooManyTries);
        }
        if is_right() {
            return Ok(());
        }
        if debts.len() >= ADDRESSES && !debts.contains_key(&client) {
            debts.retain(|_, until| now_ms < *until);
            // All of them within the last second: the one that is nearest to its end makes room.
            if debts.len() >= ADDRESSES
                && let Some(first) = debts.iter().min_by_key(|(_, until)| **until)
            {
                let first = *first.0;
                debts.remove(&first);
            }
        }
        debts.insert(client, until_ms + COST_MS);
        Err(Denied::WrongToken)
    }
}

/// The address as one caller has it: of IPv6 the first 64 bits, for the rest is the caller's to choose (RFC 4291, section 2.5.1).
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_five_wrong_tokens_an_address_is_not_heard_until_time_has_passed() {
        let tries = Tries::default();
        let judge = |now_ms, is_right| tries.judge(address("203.0.113.7"), now_ms, || is_right);
        for _ in 0..5 {
            assert_eq!(judge(7, false), Err(Denied::WrongToken));
        }
        assert_eq!(judge(7, false), Err(Denied::TooManyTries));
        assert_eq!(judge(7, true), Err(Denied::TooManyTries));
        assert_eq!(judge(7 + COST_MS, true), Ok(()));
        assert_eq!(judge(7 + COST_MS, false), Err(Denied::WrongToken));
        assert_eq!(judge(7 + COST_MS, true), Err(Denied::TooManyTries));
        assert_eq!(judge(7 + 2 * COST_MS, true), Ok(()));
    }

    #[test]
    fn who_knows_the_token_is_never_too_fast() {
        let tries = Tries::default();
        for _ in 0..10_000 {
            assert_eq!(tries.judge(address("10.0.0.1"), 0, || true), Ok(()));
        }
    }

    #[test]
    fn whoever_guesses_keeps_nobody_out_at_another_address() {
        let tries = Tries::default();
        let refused = (0..100).filter(|_| {
            tries.judge(address("2001:db8::1"), 0, || false) == Err(Denied::TooManyTries)
        });
        assert_eq!(refused.count(), 95);
        assert_eq!(tries.judge(address("2001:db8:0:1::1"), 0, || true), Ok(()));
        assert_eq!(
            tries.judge(address("2001:db8::ffff:2"), 0, || true),
            Err(Denied::TooManyTries),
            "the same network of 64 bits"
        );
    }

    #[test]
    fn a_crowd_of_addresses_takes_no_more_than_its_room() {
        let tries = Tries::default();
        for number in 0..10_000_u32 {
            let crowd = IpAddr::from(number.to_be_bytes());
            assert_eq!(tries.judge(crowd, 0, || false), Err(Denied::WrongToken));
        }
        assert_eq!(tries.debts.lock().unwrap().len(), ADDRESSES);
    }
}
