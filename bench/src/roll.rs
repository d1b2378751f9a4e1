//! Who has been told of whom in a presence channel. Invariant of a server that tells the truth: once all is quiet, who is
//! in knows everybody who came before from its list, and of everybody who came or left later it was told once.

use crate::report::Figure;

/// What one listener knows of one member.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    listed: bool,
    added: u32,
    removed: u32,
}

/// The account of a presence channel. Listeners are members too; members beyond them only visit.
#[derive(Debug)]
pub(crate) struct Roll {
    /// Per listener, while it is in.
    knows: Vec<Option<Vec<Known>>>,
    /// Listeners that were in.
    was_in: Vec<bool>,
    /// Per member: how often it came and went after all listeners were in.
    visits: Vec<u32>,
    members: usize,
    added: u64,
    removed: u64,
    left: u64,
    /// Entries in the lists of those who are in.
    listed: u64,
    pub(crate) cut_off: u64,
}

impl Roll {
    pub(crate) fn new(listeners: usize, members: usize) -> Self {
        Self {
            knows: vec![None; listeners],
            was_in: vec![false; listeners],
            visits: vec![0; members],
            members,
            added: 0,
            removed: 0,
            left: 0,
            listed: 0,
            cut_off: 0,
        }
    }

    /// A listener is in, and its list names these.
    pub(crate) fn join(&mut self, listener: usize, list: &[usize]) {
        let mut known = vec![Known::default(); self.members];
        for &member in list {
            if let Some(known) = known.get_mut(member) {
                known.listed = true;
            }
        }
        self.listed += known.iter().filter(|known| known.listed).count() as u64;
        self.knows[listener] = Some(known);
        self.was_in[listener] = true;
    }

    /// A listener is told that a member has come.
    pub(crate) fn hear_added(&mut self, listener: usize, member: usize) {
        if let Some(known) = self.known(listener, member) {
            known.added += 1;
            self.added += 1;
        }
    }

    /// A listener is told that a member has left.
    pub(crate) fn hear_removed(&mut self, listener: usize, member: usize) {
        if let Some(known) = self.known(listener, member) {
            known.removed += 1;
            self.removed += 1;
        }
    }

    /// A member that does not listen has come and gone.
    pub(crate) fn visited(&mut self, member: usize) {
        self.visits[member] += 1;
    }

    /// A listener has left; what it knew does not matter any more.
    pub(crate) fn leave(&mut self, listener: usize) {
        if let Some(known) = self.knows[listener].take() {
            self.left += 1;
            self.listed -= known.iter().filter(|known| known.listed).count() as u64;
            self.added -= known.iter().map(|k| u64::from(k.added)).sum::<u64>();
            self.removed -= known.iter().map(|k| u64::from(k.removed)).sum::<u64>();
        }
    }

    /// `member_added` that those who are in have heard.
    pub(crate) fn added(&self) -> u64 {
        self.added
    }

    /// `member_removed` that those who are in have heard.
    pub(crate) fn removed(&self) -> u64 {
        self.removed
    }

    /// How many `member_added` those who are in have to hear: of all who were not in their lists.
    pub(crate) fn expected_added(&self) -> u64 {
        let came = self.was_in.iter().filter(|&&was_in| was_in).count() as u64;
        let all = self.listening() * (came + self.visiting());
        all.saturating_sub(self.listed)
    }

    /// How many `member_removed` those who are in have to hear.
    pub(crate) fn expected_removed(&self) -> u64 {
        self.listening() * (self.left + self.visiting())
    }

    fn listening(&self) -> u64 {
        self.knows.iter().flatten().count() as u64
    }

    fn visiting(&self) -> u64 {
        self.visits.iter().map(|&visits| u64::from(visits)).sum()
    }

    fn known(&mut self, listener: usize, member: usize) -> Option<&mut Known> {
        self.knows.get_mut(listener)?.as_mut()?.get_mut(member)
    }

    /// What was told and what must not be, of those who are in.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let (mut lost, mut duplicated) = (0, 0);
        for (listener, known) in self.knows.iter().enumerate() {
            for (member, known) in known.iter().flatten().enumerate() {
                let is_listener = member < self.was_in.len();
                let came = is_listener && self.was_in[member];
                let has_left = is_listener && came && self.knows[member].is_none();
                let of_list = u32::from(came && !known.listed && member != listener);
                let added = of_list + self.visits[member];
                let removed = u32::from(has_left) + self.visits[member];
                lost += u64::from(added.saturating_sub(known.added));
                lost += u64::from(removed.saturating_sub(known.removed));
                // Listed and told of too is told of twice.
                duplicated += u64::from(known.added.saturating_sub(added));
                duplicated += u64::from(known.removed.saturating_sub(removed));
            }
        }
        vec![
            Figure::count("member_added heard", self.added),
            Figure::count("member_removed heard", self.removed),
            Figure::count("lost", lost),
            Figure::count("duplicated", duplicated),
            Figure::count("cut off", self.cut_off),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(roll: &Roll) -> (f64, f64) {
        let figures = roll.figures();
        let value = |name: &str| figures.iter().find(|f| f.name == name).unwrap().value;
        (value("lost"), value("duplicated"))
    }

    fn two() -> Roll {
        let mut roll = Roll::new(2, 3);
        roll.join(0, &[0]);
        roll.join(1, &[0, 1]);
        roll
    }

    #[test]
    fn who_comes_later_is_told_to_who_was_there() {
        let mut roll = two();
        assert_eq!(roll.expected_added(), 1);
        assert_eq!(faults(&roll), (1.0, 0.0));
        roll.hear_added(0, 1);
        assert_eq!(roll.added(), 1);
        assert_eq!(faults(&roll), (0.0, 0.0));
    }

    #[test]
    fn who_is_told_of_somebody_in_its_list_or_twice_has_a_duplicate() {
        let mut roll = two();
        roll.hear_added(0, 1);
        roll.hear_added(0, 1);
        roll.hear_added(1, 0);
        assert_eq!(faults(&roll), (0.0, 2.0));
    }

    #[test]
    fn every_visit_and_every_leave_is_told_to_who_stays() {
        let mut roll = two();
        roll.hear_added(0, 1);
        roll.visited(2);
        assert_eq!((roll.expected_added(), roll.expected_removed()), (3, 2));
        for listener in [0, 1] {
            roll.hear_added(listener, 2);
            roll.hear_removed(listener, 2);
        }
        assert_eq!(faults(&roll), (0.0, 0.0));
        roll.leave(0);
        assert_eq!(roll.expected_removed(), 2);
        assert_eq!(faults(&roll), (1.0, 0.0));
        roll.hear_removed(1, 0);
        assert_eq!((roll.removed(), faults(&roll)), (2, (0.0, 0.0)));
    }
}
