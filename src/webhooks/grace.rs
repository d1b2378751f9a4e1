//! Who left may come right back: a page that is loaded anew leaves and returns within a second.
//! So leaving is told only once it has lasted, and a return before that makes both unsaid.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gema_protocol::channel::ChannelName;

use super::event::Event;

/// Absences held at a time, of one app. Only a mass departure makes more within the grace; of those the oldest are
/// told early, which does less harm than memory without a bound.
const MOST_HELD: usize = 65_536;

/// Somebody or everybody is gone from a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Absence {
    pub(super) channel: ChannelName,
    /// The user who is gone; `None` = the channel is empty.
    pub(super) user_id: Option<Arc<str>>,
}

impl Absence {
    /// The absence that this event begins.
    pub(super) fn begun_by(event: &Event) -> Option<Absence> {
        let (channel, user_id) = match event {
            Event::ChannelVacated { channel } => (channel, None),
            Event::MemberRemoved { channel, user_id } => (channel, Some(user_id.clone())),
            _ => return None,
        };
        let channel = channel.clone();
        Some(Absence { channel, user_id })
    }

    /// The absence that this event ends.
    pub(super) fn ended_by(event: &Event) -> Option<Absence> {
        let (channel, user_id) = match event {
            Event::ChannelOccupied { channel } => (channel, None),
            Event::MemberAdded { channel, user_id } => (channel, Some(user_id.clone())),
            _ => return None,
        };
        let channel = channel.clone();
        Some(Absence { channel, user_id })
    }

    /// What is told when it has lasted.
    pub(super) fn into_event(self) -> Event {
        let channel = self.channel;
        match self.user_id {
            None => Event::ChannelVacated { channel },
            Some(user_id) => Event::MemberRemoved { channel, user_id },
        }
    }
}

/// The absences of one app that have not lasted yet.
pub(super) struct Grace {
    /// How long one must last; zero once the server ends.
    length: Duration,
    most: usize,
    /// By which entry of `line` each absence is held.
    held: HashMap<Absence, u64>,
    /// In the order they began, with those that a return has ended.
    line: VecDeque<(Instant, u64, Absence)>,
    next_entry: u64,
}

impl Grace {
    pub(super) fn new(length: Duration) -> Grace {
        Grace {
            length,
            most: MOST_HELD,
            held: HashMap::new(),
            line: VecDeque::new(),
            next_entry: 0,
        }
    }

    /// Holds an absence that begins now.
    pub(super) fn hold(&mut self, absence: Absence, now: Instant) {
        self.held.insert(absence.clone(), self.next_entry);
        self.line
            .push_back((now + self.length, self.next_entry, absence));
        self.next_entry += 1;
    }

    /// A return: whether the absence was still held, so that neither it nor the return is to be told.
    pub(super) fn cancel(&mut self, absence: &Absence) -> bool {
        self.held.remove(absence).is_some()
    }

    /// The oldest absence that has lasted, or for which there is no more room; it is held no longer.
    pub(super) fn release(&mut self, now: Instant) -> Option<Absence> {
        loop {
            let (due, ..) = self.line.front()?;
            if *due > now && self.line.len() <= self.most && !self.length.is_zero() {
                return None;
            }
            let (_, entry, absence) = self.line.pop_front()?;
            if self.held.get(&absence) == Some(&entry) {
                self.held.remove(&absence);
                return Some(absence);
            }
        }
    }

    /// When to look for the next one that has lasted.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.line.front().map(|(due, ..)| *due)
    }

    /// Whether [`Grace::end`] has been called.
    pub(super) fn is_ending(&self) -> bool {
        self.length.is_zero()
    }

    /// From now on nothing is held: [`Grace::release`] gives all there is, at once.
    pub(super) fn end(&mut self) {
        self.length = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(3);

    fn absence(channel: &str, user_id: Option<&str>) -> Absence {
        Absence {
            channel: ChannelName::parse(channel, 200).unwrap(),
            user_id: user_id.map(Arc::from),
        }
    }

    #[test]
    fn an_absence_is_told_when_it_has_lasted_and_not_before() {
        let (mut grace, start) = (Grace::new(GRACE), Instant::now());
        grace.hold(absence("a", None), start);
        assert_eq!(grace.next_due(), Some(start + GRACE));
        assert_eq!(
            grace.release(start + GRACE - Duration::from_millis(1)),
            None
        );
        assert_eq!(grace.release(start + GRACE), Some(absence("a", None)));
        assert_eq!(grace.release(start + GRACE), None);
        assert!(!grace.cancel(&absence("a", None)));
    }

    #[test]
    fn a_return_makes_the_absence_unsaid_and_that_of_nobody_else() {
        let (mut grace, start) = (Grace::new(GRACE), Instant::now());
        for user in ["7", "8"] {
            grace.hold(absence("presence-a", Some(user)), start);
        }
        assert!(grace.cancel(&absence("presence-a", Some("7"))));
        assert!(!grace.cancel(&absence("presence-b", Some("8"))));
        assert_eq!(
            grace.release(start + GRACE),
            Some(absence("presence-a", Some("8")))
        );
        assert_eq!(grace.release(start + GRACE), None);
    }

    #[test]
    fn who_leaves_again_gets_a_whole_grace_again() {
        let (mut grace, start) = (Grace::new(GRACE), Instant::now());
        let second = start + Duration::from_secs(2);
        grace.hold(absence("a", None), start);
        assert!(grace.cancel(&absence("a", None)));
        grace.hold(absence("a", None), second);
        assert_eq!(grace.release(start + GRACE), None);
        assert_eq!(grace.release(second + GRACE), Some(absence("a", None)));
    }

    #[test]
    fn the_end_of_the_server_ends_all_graces_in_their_order() {
        let (mut grace, start) = (Grace::new(GRACE), Instant::now());
        grace.hold(absence("presence-a", Some("7")), start);
        grace.hold(absence("presence-a", None), start);
        grace.end();
        assert_eq!(grace.release(start), Some(absence("presence-a", Some("7"))));
        assert_eq!(grace.release(start), Some(absence("presence-a", None)));
        grace.hold(absence("b", None), start);
        assert_eq!(grace.release(start), Some(absence("b", None)));
    }

    #[test]
    fn a_mass_departure_is_told_early_rather_than_held_without_bound() {
        let (mut grace, start) = (Grace::new(GRACE), Instant::now());
        grace.most = 2;
        for channel in ["a", "b", "c"] {
            grace.hold(absence(channel, None), start);
        }
        assert_eq!(grace.release(start), Some(absence("a", None)));
        assert_eq!(grace.release(start), None);
    }
}
