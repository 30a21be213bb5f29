//! DEFLATE (RFC 1951) a message at a time, and the memory that it takes.
//!
//! A compressor takes 320 KiB, an inflater 40. Where the two ends have agreed that a message does
//! without what went before it, both are borrowed for the length of a message.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What every compressed message ends with, and is sent without (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The largest window, and the smallest one that zlib can do.
pub(super) const WIDEST: u8 = 15;
const NARROWEST: u8 = 9;

/// How many states of each kind a thread keeps for the next message that asks for one.
const SPARE: usize = 2;

thread_local! {
    static COMPRESSORS: RefCell<Vec<(Shape, Compress)>> = const { RefCell::new(Vec::new()) };
    static INFLATERS: RefCell<Vec<Decompress>> = const { RefCell::new(Vec::new()) };
}

/// That of which all compressors are alike.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    level: u8,
    bits: u8,
}

/// Data that is not what DEFLATE gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

/// The compressed messages of one direction, as they are inflated.
pub(super) struct Inflater {
    /// The size of the window, if it outlives a message.
    window: Option<u8>,
    state: Option<Decompress>,
    /// Some of the message was taken, and its last block, if one says that it is, was not the end.
    open: bool,
}

impl Inflater {
    /// With a window of 2^`bits` bytes, which messages refer to beyond themselves if it is kept.
    pub(super) fn new(bits: u8, kept: bool) -> Self {
        // A larger window reads what was written with a smaller one.
        let window = kept.then_some(bits.max(NARROWEST));
        Self { window, state: None, open: false }
    }

    /// Appends what `data` inflates to until `out` has `full` bytes, and returns how much of `data`
    /// was used. If `out` is full, there may be more; otherwise all was used.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub(super) fn inflate(
        &mut self,
        data: &[u8],
        out: &mut Vec<u8>,
        full: usize,
    ) -> Result<usize, Corrupt> {
        let mut used = 0;
        while out.len() < full {
            if out.len() == out.capacity() {
                let more = out.len().max(4 * data.len()).max(256);
                out.reserve_exact(more.min(full - out.len()));
            }
            let window = self.window;
            let state = self.state.get_or_insert_with(|| match window {
                Some(bits) => Decompress::new_with_window_bits(false, bits),
                None => INFLATERS
                    .with_borrow_mut(Vec::pop)
                    .unwrap_or_else(|| Decompress::new_with_window_bits(false, WIDEST)),
            });
            let (taken, given) = (state.total_in(), out.len());
            let status = state
                .decompress_vec(&data[used..], out, FlushDecompress::None)
                .map_err(|_| Corrupt)?;
            let taken = (state.total_in() - taken) as usize;
            used += taken;
            self.open |= taken > 0;
            let still = taken == 0 && out.len() == given;
            if status == Status::StreamEnd {
                // A last block ends no message, and the next one begins anew (section 7.2.3.5).
                if still {
                    return Err(Corrupt);
                }
                state.reset(false);
                self.open = false;
            }
            if used == data.len() && out.len() < out.capacity() {
                break;
            }
            if still {
                return Err(Corrupt);
            }
        }
        Ok(used)
    }

    /// What is still to be inflated when all of a message was: its end, which was not sent.
    pub(super) fn tail(&self) -> &'static [u8] {
        if self.open { &TAIL } else { &[] }
    }

    /// Ends a message.
    pub(super) fn end(&mut self) {
        self.open = false;
        if self.window.is_none()
            && let Some(mut state) = self.state.take()
        {
            state.reset(false);
            INFLATERS.with_borrow_mut(|spare| keep(spare, state));
        }
    }
}

/// The messages of one direction, as they are compressed.
pub(super) struct Compressor {
    shape: Shape,
    /// Whether messages refer to those before them.
    kept: bool,
    state: Option<Compress>,
}

impl Compressor {
    /// With a window of 2^`bits` bytes, which outlives a message if it is kept. zlib cannot do one
    /// of 2^8; there is none for it, and messages go as they are.
    pub(super) fn new(level: u8, bits: u8, kept: bool) -> Option<Self> {
        let shape = Shape { level, bits };
        (bits >= NARROWEST).then_some(Self { shape, kept, state: None })
    }

    /// What a message has to have for it to gain something, in bytes.
    pub(super) fn shortest(&self) -> u64 {
        if self.kept { 64 } else { 256 }
    }

    /// Compresses a part of a message; without the end that all messages have if it is the last.
    pub(super) fn compress(&mut self, data: &[u8], last: bool) -> Vec<u8> {
        if data.is_empty() {
            // After a flush, this and the tail are an empty block (section 7.2.3.6).
            return if last { vec![0] } else { Vec::new() };
        }
        let shape @ Shape { level, bits } = self.shape;
        let state = self.state.get_or_insert_with(|| {
            COMPRESSORS.with_borrow_mut(|spare| take(spare, shape)).unwrap_or_else(|| {
                Compress::new_with_window_bits(Compression::new(level.into()), false, bits)
            })
        });
        let mut out = Vec::with_capacity(data.len() / 2 + 64);
        let mut used = 0;
        // Where output has just filled its space, there may be more of it.
        while used < data.len() || out.len() == out.capacity() {
            // What a flush appends has to fit in at once, or it is appended again.
            if out.capacity() - out.len() < 16 {
                out.reserve(out.len());
            }
            let before = (state.total_in(), out.len());
            state
                .compress_vec(&data[used..], &mut out, FlushCompress::Sync)
                .expect("a compressor fails only where it is used wrongly");
            used += (state.total_in() - before.0) as usize;
            if before == (state.total_in(), out.len()) {
                break;
            }
        }
        assert!(used == data.len() && out.ends_with(&TAIL), "a flush completes a block");
        if last {
            out.truncate(out.len() - TAIL.len());
        }
        out
    }

    /// Ends a message that was sent compressed.
    pub(super) fn end(&mut self) {
        if !self.kept {
            self.forget();
        }
    }

    /// Ends a message that was not sent as it was compressed, so that none may refer to it.
    pub(super) fn forget(&mut self) {
        if let Some(mut state) = self.state.take() {
            state.reset();
            COMPRESSORS.with_borrow_mut(|spare| keep(spare, (self.shape, state)));
        }
    }
}

fn keep<T>(spare: &mut Vec<T>, state: T) {
    if spare.len() < SPARE {
        spare.push(state);
    }
}

fn take(spare: &mut Vec<(Shape, Compress)>, shape: Shape) -> Option<Compress> {
    let at = spare.iter().position(|(it, _)| *it == shape)?;
    Some(spare.swap_remove(at).1)
}
