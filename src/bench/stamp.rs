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

    #[inline]
    pub(super) fn to_hex(self) -> [u8; LEN] {
        hex(u64::from(self.connection) << SEQUENCE_BITS | self.sequence)
    }

    /// Reads the beginning of `bytes`.
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let value = value(bytes)?;
        let connection = (value >> SEQUENCE_BITS) as u32;
        Some(Self { connection, sequence: value & ((1 << SEQUENCE_BITS) - 1) })
    }
}

/// A number in sixteen digits.
#[inline]
pub(super) fn hex(value: u64) -> [u8; LEN] {
    let digits = u128::from(digits(value >> 32)) << 64 | u128::from(digits(value & 0xffff_ffff));
    digits.to_be_bytes()
}

/// One in each byte of a word.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The eight digits of a number below 2^32, all of them at once.
#[inline]
fn digits(value: u64) -> u64 {
    let words = (value | value << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (words | words << 8) & 0x00ff_00ff_00ff_00ff;
    spelled((bytes | bytes << 4) & (0x0f * EACH))
}

/// What stands for each of eight numbers below 16.
#[inline]
fn spelled(nibbles: u64) -> u64 {
    // From 10 on it is a letter, which is 39 further on than the character after `9`.
    let letters = nibbles.wrapping_add(6 * EACH) >> 4 & EACH;
    nibbles.wrapping_add(0x30 * EACH).wrapping_add(letters * 39)
}

/// The number at the beginning of `bytes`, if sixteen lower-case digits stand there.
#[inline]
pub(super) fn value(bytes: &[u8]) -> Option<u64> {
    let (high, rest) = bytes.split_first_chunk()?;
    let low = rest.first_chunk()?;
    Some(eight(*high)? << 32 | eight(*low)?)
}

/// The number that eight digits stand for, all of them at once.
#[inline]
fn eight(digits: [u8; 8]) -> Option<u64> {
    let digits = u64::from_be_bytes(digits);
    // A letter has bit 6 set, and `a` has a 1 where 10 is meant.
    let nibbles = (digits & (0x0f * EACH)).wrapping_add((digits >> 6 & EACH) * 9);
    // What is no digit does not come back as it was, or is more than 15.
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let words = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    let ok = spelled(nibbles) == digits && nibbles & (0xf0 * EACH) == 0;
    ok.then_some((words | words >> 16) & 0xffff_ffff)
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

        #[test]
        fn only_lower_case_digits_are_digits(bytes: [u8; LEN], number: u64, at in 0..LEN, byte: u8) {
            let plain = |bytes: &[u8]| {
                let text = std::str::from_utf8(bytes).ok()?;
                let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                u64::from_str_radix(text, 16).ok().filter(|_| digits)
            };
            prop_assert_eq!(value(&bytes), plain(&bytes));
            let mut nearly = hex(number);
            prop_assert_eq!(value(&nearly), Some(number));
            nearly[at] = byte;
            prop_assert_eq!(value(&nearly), plain(&nearly));
        }
    }
}
