//! State of each app, made when it is first asked for: apps come and go while the server runs, and nobody keeps a list
//! of them in step.

use std::sync::OnceLock;

/// So many blocks hold every number that a `u32` can be: each is twice as large as the one before.
const BLOCKS: usize = 33;

/// A value for each app, by its [`App::index`](super::App::index). Reading takes no lock, and what is there stays where
/// it is: an index belongs to one id for the life of the process, so nothing is ever taken out.
#[derive(Debug)]
pub struct PerApp<T> {
    blocks: [OnceLock<Box<[OnceLock<T>]>>; BLOCKS],
}

impl<T> PerApp<T> {
    /// What has been made for this app, if anything.
    pub fn get(&self, app: u32) -> Option<&T> {
        let (block, place) = seat(app);
        self.blocks.get(block)?.get()?.get(place)?.get()
    }

    /// What there is for this app; made now if there is nothing yet.
    pub fn get_or_init(&self, app: u32, make: impl FnOnce() -> T) -> &T {
        let (block, place) = seat(app);
        // Both are within bounds for every number: see `seat`.
        let block = self.blocks[block].get_or_init(|| {
            let empty = std::iter::repeat_with(OnceLock::new);
            empty.take(1 << block).collect()
        });
        block[place].get_or_init(make)
    }

    /// All that has been made, in the order of the apps' indexes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let blocks = self.blocks.iter().enumerate();
        let blocks = blocks.filter_map(|(number, block)| Some((number, block.get()?)));
        blocks.flat_map(|(number, block)| {
            let first = (1_u64 << number) - 1;
            let places = (first..).zip(block);
            places.filter_map(|(app, place)| Some((app as u32, place.get()?)))
        })
    }
}

impl<T> Default for PerApp<T> {
    fn default() -> PerApp<T> {
        PerApp {
            blocks: std::array::from_fn(|_| OnceLock::new()),
        }
    }
}

/// The block an app is in, and its place there: block `n` has the `2^n` apps from `2^n - 1` on.
fn seat(app: u32) -> (usize, usize) {
    let number = u64::from(app) + 1;
    let block = number.ilog2();
    (block as usize, (number - (1 << block)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_app_has_a_place_of_its_own() {
        let states = PerApp::default();
        for app in [0, 1, 2, 3, 6, 7, 1000] {
            assert!(states.get(app).is_none());
            assert_eq!(*states.get_or_init(app, || app * 10), app * 10);
            assert_eq!(*states.get_or_init(app, || 1), app * 10);
        }
        let all: Vec<_> = states.iter().collect();
        assert_eq!(all[4..], [(6, &60), (7, &70), (1000, &10_000)]);
        assert!(states.get(5).is_none() && states.get(u32::MAX).is_none());
    }

    #[test]
    fn the_last_number_is_within_the_last_block() {
        assert_eq!(seat(0), (0, 0));
        assert_eq!(seat(u32::MAX - 1), (31, (1 << 31) - 1));
        assert_eq!(seat(u32::MAX), (32, 0));
    }
}
