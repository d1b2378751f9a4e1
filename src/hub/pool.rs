//! The frames of a shard that wait in outboxes. An outbox holds four-byte numbers, and the counting of
//! references is plain arithmetic: no atomic operation per subscriber and message.

use gema_protocol::frame::Frame;
use slab::Slab;

/// The number of a frame in its pool.
pub(super) type FrameNumber = u32;

#[derive(Debug, Default)]
pub(super) struct Pool {
    frames: Slab<Shared>,
}

#[derive(Debug)]
struct Shared {
    frame: Frame,
    /// How many outboxes hold it, and 1 while its publisher is still handing it out.
    holders: u32,
}

impl Pool {
    /// Takes a frame in, held once by the caller.
    pub(super) fn insert(&mut self, frame: Frame) -> FrameNumber {
        // A slab of 2^32 frames would need 256 GiB; the outboxes are bounded well below.
        self.frames.insert(Shared { frame, holders: 1 }) as FrameNumber
    }

    pub(super) fn bytes(&self, number: FrameNumber) -> &[u8] {
        self.frames[number as usize].frame.bytes()
    }

    pub(super) fn frame(&self, number: FrameNumber) -> &Frame {
        &self.frames[number as usize].frame
    }

    pub(super) fn hold(&mut self, number: FrameNumber) {
        self.frames[number as usize].holders += 1;
    }

    pub(super) fn release(&mut self, number: FrameNumber) {
        let shared = &mut self.frames[number as usize];
        shared.holders -= 1;
        if shared.holders == 0 {
            self.frames.remove(number as usize);
        }
    }

    /// Frames that somebody still holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }
}
