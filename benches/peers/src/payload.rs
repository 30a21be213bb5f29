//! What is sent, the same for everybody, and the check of what has come.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::{Result, say};

/// The size of one piece of [`Payload::bytes`]: what websocat, too, reads and sends at once.
pub(crate) const CHUNK: usize = 64 << 10;

/// How many bytes at the beginning of a piece are another number each time.
pub(crate) const STAMP: usize = 8;

/// The size of one line of [`Payload::lines`], with its newline.
const LINE: usize = 64;

/// Pieces of a payload, without end in memory: each is made when it is asked for.
pub(crate) struct Payload {
    left: u64,
    made: u64,
    lines: bool,
    /// Noise, so that nothing can be gained by compressing; stamped anew for every piece, so that
    /// none can be lost, doubled or moved unseen.
    block: Vec<u8>,
}

impl Payload {
    pub(crate) fn bytes(len: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(CHUNK);
        while block.len() < CHUNK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        Self { left: len, made: 0, lines: false, block }
    }

    /// Lines of [`LINE`] bytes, their newline counted.
    pub(crate) fn lines(count: u64) -> Self {
        Self { left: count, made: 0, lines: true, block: Vec::new() }
    }

    pub(crate) fn is_lines(&self) -> bool {
        self.lines
    }

    /// The next chunk, or the next line without its newline.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        if self.left == 0 {
            return None;
        }
        let len = if self.lines {
            self.left -= 1;
            self.block.clear();
            write!(self.block, "{:0width$}", self.made, width = LINE - 1).ok()?;
            self.block.len()
        } else {
            let len = self.left.min(CHUNK as u64);
            self.left -= len;
            self.block[..STAMP].copy_from_slice(&self.made.to_le_bytes());
            len as usize
        };
        self.made += 1;
        Some(&self.block[..len])
    }

    /// Leaves pieces of [`Self::bytes`] out, so that this one is next.
    pub(crate) fn skip_to(&mut self, piece: u64) {
        let skipped = piece - self.made;
        self.made = piece;
        self.left = self.left.saturating_sub(skipped * CHUNK as u64);
    }

    pub(crate) fn write_to_stdout(mut self) -> Result {
        let mut stdout = io::BufWriter::with_capacity(CHUNK, io::stdout().lock());
        let end: &[u8] = if self.lines { b"\n" } else { b"" };
        while let Some(piece) = self.next() {
            stdout.write_all(piece)?;
            stdout.write_all(end)?;
        }
        Ok(stdout.flush()?)
    }
}

/// How much has come, and its hash.
#[derive(Default)]
pub(crate) struct Digest {
    hash: Sha256,
    bytes: u64,
    messages: u64,
}

impl Digest {
    pub(crate) fn add(&mut self, piece: &[u8], end: &[u8]) {
        self.hash.update(piece);
        self.hash.update(end);
        self.bytes += (piece.len() + end.len()) as u64;
        self.messages += 1;
    }

    pub(crate) fn say(self) -> Result {
        let Self { hash, bytes, messages } = self;
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        say(&format!(r#"{{"bytes":{bytes},"messages":{messages},"sha256":"{hash}"}}"#))
    }

    /// Of stdin, which is read to its end.
    pub(crate) fn of_stdin() -> Result {
        let (mut digest, mut buf) = (Self::default(), vec![0; CHUNK]);
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buf)? {
                0 => return digest.say(),
                n => digest.add(&buf[..n], b""),
            }
        }
    }
}

/// Reads stdin to its end and says how much came.
pub(crate) fn count_stdin() -> Result {
    let (mut bytes, mut buf, mut stdin) = (0, vec![0; CHUNK], io::stdin().lock());
    loop {
        match stdin.read(&mut buf)? {
            0 => return say(&format!(r#"{{"bytes":{bytes}}}"#)),
            n => bytes += n,
        }
    }
}
