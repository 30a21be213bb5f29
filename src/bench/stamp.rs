//! The mark by which a message is known when it comes back: sixteen hexadecimal digits, which are
//! text and bytes alike, and of one length.

/// Bytes of a stamp.
pub(super) const LEN: usize = 16;

/// Bits of the sequence number; the others are the connection's.
const SEQUENCE_BITS: u32 = 44;

/// Which message of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Below [`Stamp::MOST_CONNECTIONS`].
    pub(super) connection: u32,
    /// Below 2^44: enough for a million messages a second for half a year.
    pub(super) sequence: u64,
}

impl Stamp {
    /// So many connections can be told apart.
    pub(super) const MOST_CONNECTIONS: u64 = 1 << (64 - SEQUENCE_BITS);

    pub(super) fn to_hex(self) -> [u8; LEN] {
        hex(u64::from(self.connection) << SEQUENCE_BITS | self.sequence)
    }

    /// Reads the beginning of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let value = value(bytes)?;
        let connection = (value >> SEQUENCE_BITS) as u32;
        Some(Self { connection, sequence: value & ((1 << SEQUENCE_BITS) - 1) })
    }
}

/// A number in sixteen digits.
pub(super) fn hex(value: u64) -> [u8; LEN] {
    const PAIRS: [[u8; 2]; 256] = {
        let digits = *b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut i = 0;
        while i < 256 {
            pairs[i] = [digits[i >> 4], digits[i & 15]];
            i += 1;
        }
        pairs
    };
    let mut out = [0; LEN];
    for (pair, byte) in out.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
    out
}

/// The number at the beginning of `bytes`, if sixteen lower-case digits stand there.
pub(super) fn value(bytes: &[u8]) -> Option<u64> {
    const NO_DIGIT: u8 = 0xff;
    const DIGITS: [u8; 256] = {
        let mut digits = [NO_DIGIT; 256];
        let mut i = 0;
        while i < 16 {
            digits[b"0123456789abcdef"[i] as usize] = i as u8;
            i += 1;
        }
        digits
    };
    let bytes: &[u8; LEN] = bytes.first_chunk()?;
    let mut value = 0;
    let mut all = 0;
    for byte in bytes {
        let digit = DIGITS[usize::from(*byte)];
        all |= digit;
        value = value << 4 | u64::from(digit & 15);
    }
    // Only what is no digit has one of the upper bits.
    (all < 16).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stamp_comes_back(connection in 0..Stamp::MOST_CONNECTIONS as u32, sequence in 0..1u64 << 44) {
            let stamp = Stamp { connection, sequence };
            let mut bytes = stamp.to_hex().to_vec();
            prop_assert_eq!(Stamp::read(&bytes), Some(stamp));
            bytes.extend(b"and more");
            prop_assert_eq!(Stamp::read(&bytes), Some(stamp));
            bytes[7] = b'x';
            prop_assert_eq!(Stamp::read(&bytes), None);
            prop_assert_eq!(Stamp::read(&bytes[..9]), None);
        }
    }
}
