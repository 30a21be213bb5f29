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

/// A number in sixteen digits. This and its reverse have no table and no branch, so that the
/// compiler does all digits at once.
pub(super) fn hex(value: u64) -> [u8; LEN] {
    let mut out = [0; LEN];
    for (pair, byte) in out.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair.copy_from_slice(&[byte >> 4, byte & 15]);
    }
    out.map(|digit| digit + b'0' + if digit > 9 { b'a' - b'0' - 10 } else { 0 })
}

/// The number at the beginning of `bytes`, if sixteen lower-case digits stand there.
pub(super) fn value(bytes: &[u8]) -> Option<u64> {
    const NO_DIGIT: u8 = 0x80;
    let bytes: &[u8; LEN] = bytes.first_chunk()?;
    let digits = bytes.map(|byte| {
        let (number, letter) = (byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a'));
        let letter = if letter < 6 { letter + 10 } else { NO_DIGIT };
        if number < 10 { number } else { letter }
    });
    let all = digits.iter().fold(0, |all, digit| all | digit);
    let mut value = [0; 8];
    for (byte, pair) in value.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1] & 15;
    }
    (all & NO_DIGIT == 0).then(|| u64::from_be_bytes(value))
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
