//! What was read and not taken yet, and what waits to be written. Large pieces stay where they are,
//! small ones are gathered, and a connection that is quiet holds nothing: large buffers belong to
//! the thread, which lends them.

use std::cell::Cell;

use bytes::{Buf, BytesMut};

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
    static SPARE: [Cell<Option<BytesMut>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

/// An empty buffer with room for a chunk.
fn borrow() -> BytesMut {
    SPARE.with(|spare| {
        for place in spare {
            let Some(mut chunk) = place.take() else { continue };
            // Unless a piece of it is in use.
            if chunk.capacity() >= CHUNK || chunk.try_reclaim(CHUNK) {
                return chunk;
            }
            place.set(Some(chunk));
        }
        BytesMut::with_capacity(CHUNK)
    })
}

/// Takes so much off the front. What is empty then has as much room as before, which would have to be
/// reclaimed otherwise.
pub(crate) fn take(bytes: &mut BytesMut, len: usize) {
    match len == bytes.len() {
        true => bytes.clear(),
        false => bytes.advance(len),
    }
}

/// Appends a copy of what may have some kilobytes. memcpy moves so much by `rep movsb`, which is slow on
/// Zen 3 where the destination is not aligned, as behind a head it is not (glibc's bug 30994).
pub(crate) fn append(to: &mut BytesMut, from: &[u8]) {
    const AT_ONCE: usize = 1 << 10;
    to.reserve(from.len());
    for part in from.chunks(AT_ONCE) {
        to.extend_from_slice(part);
    }
}

/// Takes a buffer back, unless it has become too large. Pieces of it may still be in use.
fn give_back(mut chunk: BytesMut) {
    chunk.clear();
    if chunk.capacity() > 2 * CHUNK {
        return;
    }
    SPARE.with(|[first, second]| {
        if let Some(before) = first.replace(Some(chunk)) {
            second.set(Some(before));
        }
    });
}
