//! What was read and not taken yet, and what waits to be written. Large pieces stay where they are,
//! small ones are gathered, and a connection that is quiet holds nothing: large buffers belong to
//! the thread, which lends them.

use std::cell::RefCell;
use std::mem::take;

use bytes::BytesMut;

mod intake;
mod outbox;

pub(crate) use intake::Intake;
pub(crate) use outbox::Outbox;

/// What one read takes at the most, in bytes. Most of what a read or a write costs is the same however
/// much it moves: of bulk on the loopback, 64 KiB at a time cost twice the CPU time.
pub(crate) const CHUNK: usize = 256 << 10;

/// A piece that is not smaller is worth more than a copy of it, in bytes. It keeps a whole chunk in
/// memory for as long as it lives.
pub(crate) const LARGE: usize = CHUNK / 4;

/// A backlog that is written before more is made: with another large piece it fits into a chunk.
pub(crate) const BATCH: usize = CHUNK - LARGE;

thread_local! {
    /// Mostly what was read is written before anything else is polled, and the last of it while the
    /// next is read: that takes two.
    static SPARE: RefCell<[BytesMut; 2]> = RefCell::default();
}

/// An empty buffer with room for a chunk.
fn borrow() -> BytesMut {
    SPARE.with_borrow_mut(|spare| {
        let free = spare.iter_mut().find_map(|it| it.try_reclaim(CHUNK).then(|| take(it)));
        free.unwrap_or_else(|| BytesMut::with_capacity(CHUNK))
    })
}

/// Takes a buffer back, unless it has become too large. Pieces of it may still be in use.
fn give_back(mut chunk: BytesMut) {
    chunk.clear();
    if chunk.capacity() > 2 * CHUNK {
        return;
    }
    SPARE.with_borrow_mut(|spare| {
        let at = usize::from(spare[0].capacity() > 0);
        spare[at] = chunk;
    });
}
