//! Which connections of a shard have something to be written, and who is next. What is for few (an answer, an event of a small
//! channel) does not wait behind the thousands of a large channel: two lists are served in turns.

use std::collections::VecDeque;

/// How soon a connection is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// It is alone, or one of a few.
    Prompt,
    /// It is one of many that hear the same.
    Bulk,
}

/// In which lists a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    prompt: bool,
    bulk: bool,
}

/// The connections that have something to be written, by index: each at most once in either list. One that has moved up is
/// still in the bulk list, and one that is listed may be gone by its turn.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    prompt: VecDeque<u32>,
    bulk: VecDeque<u32>,
    /// Whose turn was last.
    was_prompt: bool,
}

impl Dirty {
    /// Lists a connection unless its turn comes as soon already.
    pub(super) fn list(&mut self, index: u32, listed: &mut Listed, lane: Lane) {
        if listed.prompt || (lane == Lane::Bulk && listed.bulk) {
            return;
        }
        match lane {
            Lane::Prompt => {
                listed.prompt = true;
                self.prompt.push_back(index);
            }
            Lane::Bulk => {
                listed.bulk = true;
                self.bulk.push_back(index);
            }
        }
    }

    /// Whose turn it is, and in which lane; that connection is to be told by [`Listed::take_turn`].
    pub(super) fn next(&mut self) -> Option<(u32, Lane)> {
        let prefers_prompt =
            !std::mem::replace(&mut self.was_prompt, false) || self.bulk.is_empty();
        if prefers_prompt && let Some(index) = self.prompt.pop_front() {
            self.was_prompt = true;
            return Some((index, Lane::Prompt));
        }
        Some((self.bulk.pop_front()?, Lane::Bulk))
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.bulk.is_empty()
    }
}

impl Listed {
    /// It is not in this list any more.
    pub(super) fn take_turn(&mut self, lane: Lane) {
        match lane {
            Lane::Prompt => self.prompt = false,
            Lane::Bulk => self.bulk = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(dirty: &mut Dirty) -> Vec<u32> {
        std::iter::from_fn(|| dirty.next().map(|(index, _)| index)).collect()
    }

    #[test]
    fn an_answer_overtakes_a_crowd_and_a_crowd_is_not_kept_from_its_turn() {
        let mut dirty = Dirty::default();
        for index in 0..10 {
            dirty.list(index, &mut Listed::default(), Lane::Bulk);
        }
        for index in 20..25 {
            dirty.list(index, &mut Listed::default(), Lane::Prompt);
        }
        let expected = [20, 0, 21, 1, 22, 2, 23, 3, 24, 4, 5, 6, 7, 8, 9];
        assert_eq!(order(&mut dirty), expected);
        assert!(dirty.is_empty());
    }

    #[test]
    fn one_of_a_crowd_moves_up_and_stands_at_most_once_in_each_list() {
        let mut dirty = Dirty::default();
        let mut listed = Listed::default();
        for _ in 0..3 {
            dirty.list(7, &mut listed, Lane::Bulk);
            dirty.list(7, &mut listed, Lane::Prompt);
            dirty.list(7, &mut listed, Lane::Bulk);
        }
        assert_eq!(dirty.next(), Some((7, Lane::Prompt)));
        listed.take_turn(Lane::Prompt);
        dirty.list(7, &mut listed, Lane::Bulk);
        assert_eq!(order(&mut dirty), [7]);
    }
}
