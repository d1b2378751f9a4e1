//! What gema did that it should not have done: counted by kind, the first of each kept in full.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Of one kind so many are kept in words; the others are only counted.
const IN_WORDS: usize = 10;

/// Grows by what is found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kinds: RefCell<BTreeMap<&'static str, Kind>>,
}

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    words: Vec<String>,
}

impl Findings {
    /// Adds one. `words` say what happened and where; they are also printed.
    pub(crate) fn add(&self, kind: &'static str, words: impl Into<String>) {
        let mut kinds = self.kinds.borrow_mut();
        let found = kinds.entry(kind).or_default();
        found.count += 1;
        if found.words.len() < IN_WORDS {
            let words = words.into();
            eprintln!("FOUND {kind}: {words}");
            found.words.push(words);
        }
    }

    /// How many of all kinds.
    pub(crate) fn count(&self) -> u64 {
        self.kinds.borrow().values().map(|kind| kind.count).sum()
    }

    /// By kind: how many, and the first in words.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64, Vec<String>)> {
        let kinds = self.kinds.borrow();
        let all = kinds.iter();
        all.map(|(kind, found)| (*kind, found.count, found.words.clone()))
            .collect()
    }
}
