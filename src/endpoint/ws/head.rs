//! The heads of frames (RFC 6455 section 5.2), and their masks.

use std::cell::RefCell;

use aws_lc_rs::rand;
use bytes::BufMut;

use crate::error::{Error, Kind, Result};

/// The longest head, in bytes.
pub(super) const LONGEST: usize = 14;

/// The bit that says that a message is compressed (RFC 7692 section 6).
const RSV1: u8 = 0x40;

/// What stands before the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// FIN, the reserved bits and the opcode.
    first: u8,
    /// The masking key, if the payload is masked.
    pub(super) key: Option<[u8; 4]>,
    /// Of the payload, in bytes.
    pub(super) len: u64,
}

/// What a frame is to the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The first frame of a message.
    Start {
        /// Whether it says that the message is compressed, and nothing else with its reserved bits.
        compressed: bool,
    },
    /// A further frame of a message, whose reserved bits are as they have to be.
    Continuation,
    /// A control frame, or one that breaks the rules.
    Other,
}

impl Head {
    /// The head of the first frame of a message (opcode 1 or 2), or of a further one (0).
    pub(crate) fn new(opcode: u8, last: bool, key: Option<[u8; 4]>, len: usize) -> Self {
        Self { first: u8::from(last) << 7 | opcode, key, len: len as u64 }
    }

    /// The same, saying that the message is compressed.
    pub(super) fn compressed(self) -> Self {
        Self { first: self.first | RSV1, ..self }
    }

    /// The head that `bytes` begin with, and its length; `None` if they end within it.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (len, rest) = match second & 0x7f {
            126 => {
                let (len, rest) = rest.split_first_chunk()?;
                (u16::from_be_bytes(*len).into(), rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*len), rest)
            }
            len => (len.into(), rest),
        };
        let (key, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => {
                let (key, rest) = rest.split_first_chunk()?;
                (Some(*key), rest)
            }
        };
        Some((Self { first, key, len }, bytes.len() - rest.len()))
    }

    /// Appends it, as short as it can be.
    pub(crate) fn write(&self, out: &mut impl BufMut) {
        let masked = if self.key.is_some() { 0x80 } else { 0 };
        match self.len {
            len @ 0..=125 => out.put_slice(&[self.first, masked | len as u8]),
            len @ 126..=0xffff => {
                out.put_slice(&[self.first, masked | 126]);
                out.put_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.put_slice(&[self.first, masked | 127]);
                out.put_slice(&len.to_be_bytes());
            }
        }
        out.put_slice(self.key.as_ref().map_or(&[], |key| &key[..]));
    }

    /// Whether it is the last frame of its message.
    pub(super) fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }

    /// What kind of frame it is.
    pub(super) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Whether it is a whole message, and nothing special about it.
    pub(super) fn is_plain_message(&self) -> bool {
        matches!(self.first, 0x81 | 0x82)
    }

    /// Whether it may stand between the frames of a message.
    pub(super) fn is_control(&self) -> bool {
        self.first & 8 != 0
    }

    /// What it is to the extension.
    pub(super) fn part(&self) -> Part {
        match (self.opcode(), self.first & 0x70) {
            (1 | 2, 0) => Part::Start { compressed: false },
            (1 | 2, bits) if bits == RSV1 => Part::Start { compressed: true },
            (0, 0) => Part::Continuation,
            _ => Part::Other,
        }
    }
}

/// How many keys are made at once.
const KEYS: usize = 64;

thread_local! {
    /// Keys that nobody can foretell (RFC 6455 section 10.3).
    static RANDOM: RefCell<Vec<[u8; 4]>> = const { RefCell::new(Vec::new()) };
}

/// A new masking key.
///
/// # Errors
/// [`Kind::Local`]: there are no random numbers.
pub(super) fn key() -> Result<[u8; 4]> {
    RANDOM.with_borrow_mut(|keys| {
        if keys.is_empty() {
            let mut bytes = [0; 4 * KEYS];
            rand::fill(&mut bytes).map_err(|_| Error::new(Kind::Local, "no random numbers"))?;
            keys.extend_from_slice(bytes.as_chunks().0);
        }
        Ok(keys.pop().unwrap_or_default())
    })
}

/// Masks a part of a payload, or takes its mask off; `at` is its place in the payload.
#[inline]
pub(crate) fn mask(data: &mut [u8], mut key: [u8; 4], at: u64) {
    key.rotate_left((at % 4) as usize);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (blocks, rest) = data.as_chunks_mut::<8>();
    for block in blocks {
        *block = (u64::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
    // A remainder has at most seven bytes, the key four.
    if let Some(rest) = rest.get_mut(4..) {
        for (byte, key) in rest.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heads_are_read_as_written(
            opcode in 0u8..3,
            last: bool,
            key: Option<[u8; 4]>,
            len in prop_oneof![0usize..300, 65_000usize..66_000, any::<usize>()],
        ) {
            let head = Head::new(opcode, last, key, len);
            let mut bytes = Vec::new();
            head.write(&mut bytes);
            prop_assert!(bytes.len() <= LONGEST);
            prop_assert_eq!(Head::parse(&bytes), Some((head, bytes.len())));
            prop_assert_eq!(Head::parse(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn a_mask_is_the_same_in_parts(data: Vec<u8>, key: [u8; 4], split: prop::sample::Index) {
            let mut whole = data.clone();
            mask(&mut whole, key, 0);
            let plain = data.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
            prop_assert!(whole.iter().copied().eq(plain));
            let at = split.index(data.len() + 1);
            let mut parts = data;
            mask(&mut parts[..at], key, 0);
            mask(&mut parts[at..], key, at as u64);
            prop_assert_eq!(parts, whole);
        }
    }
}
