//! Numbers and byte strings in few bytes, for what is held in memory by the half million.
//!
//! Only for bytes that the same process wrote: what does not fit together is a mistake in the
//! program, and panics. Files have formats of their own.

/// Appends a number: seven bits in a byte, the lowest first, so that small ones take one byte.
#[inline]
pub fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Appends a number as its difference from one that is known to whoever reads it, and is probably
/// near.
#[inline]
pub fn put_near(bytes: &mut Vec<u8>, number: u64, known: u64) {
    let difference = number.wrapping_sub(known).cast_signed();
    // The sign goes to the lowest bit, so that small differences are small numbers either way.
    put_number(
        bytes,
        ((difference << 1) ^ (difference >> 63)).cast_unsigned(),
    );
}

/// Appends a byte string with its length.
#[inline]
pub fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_number(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

/// Appends a byte string that probably begins as one that is known to whoever reads it.
#[inline]
pub fn put_like(bytes: &mut Vec<u8>, value: &[u8], known: &[u8]) {
    let same = value.iter().zip(known).take_while(|(a, b)| a == b).count();
    put_number(bytes, same as u64);
    put_bytes(bytes, &value[same..]);
}

/// Reads what was appended, in the same order.
#[derive(Debug, Clone, Default)]
pub struct Unpack<'a>(&'a [u8]);

impl<'a> Unpack<'a> {
    /// Reads from the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all has been read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What [`put_number`] wrote.
    #[inline]
    pub fn number(&mut self) -> u64 {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }

    /// What [`put_near`] wrote.
    #[inline]
    pub fn near(&mut self, known: u64) -> u64 {
        let number = self.number();
        let difference = (number >> 1) ^ (number & 1).wrapping_neg();
        known.wrapping_add(difference)
    }

    /// A number that fitted 32 bits.
    #[inline]
    pub fn number32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.number().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A number that counts things in memory.
    #[inline]
    pub fn count(&mut self) -> usize {
        usize::try_from(self.number()).unwrap_or(usize::MAX)
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> u8 {
        let byte = self.0[0];
        self.0 = &self.0[1..];
        byte
    }

    /// What [`put_bytes`] wrote.
    #[inline]
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = self.count();
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        value
    }

    /// What [`put_like`] wrote; `value` is the known string, and becomes the other.
    #[inline]
    pub fn like(&mut self, value: &mut Vec<u8>) {
        let same = self.count();
        value.truncate(same);
        value.extend_from_slice(self.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: u64, known: u64, length: usize) {
        let mut bytes = Vec::new();
        put_near(&mut bytes, number, known);
        assert_eq!(bytes.len(), length);
        put_number(&mut bytes, number);
        let mut unpack = Unpack::new(&bytes);
        assert_eq!(unpack.near(known), number);
        assert_eq!(unpack.number(), number);
        assert!(unpack.is_empty());
    }

    #[test]
    fn near_numbers_are_short() {
        check(1_000_000, 1_000_000, 1);
        check(1_000_063, 1_000_000, 1);
        check(1_000_000, 1_000_064, 1);
        check(1_000_064, 1_000_000, 2);
    }

    #[test]
    fn all_numbers_come_back() {
        check(0, u64::MAX, 1);
        check(u64::MAX, 0, 1);
        check(1 << 63, 0, 10);
        check(u64::MAX / 2, 0, 10);
        for shift in 0..64 {
            let number = 1_u64 << shift;
            for known in [0, number, u64::MAX - number] {
                let mut bytes = Vec::new();
                put_near(&mut bytes, number, known);
                put_near(&mut bytes, known, number);
                let mut unpack = Unpack::new(&bytes);
                assert_eq!((unpack.near(known), unpack.near(number)), (number, known));
            }
        }
    }

    #[test]
    fn strings_come_back() {
        let values: [&[u8]; 6] = [b"", b"file-1", b"file-10", b"file-2", &[7; 300], b"file"];
        let mut bytes = Vec::new();
        let mut known: &[u8] = b"";
        for value in values {
            put_like(&mut bytes, value, known);
            put_bytes(&mut bytes, value);
            known = value;
        }
        let mut unpack = Unpack::new(&bytes);
        let mut seen = Vec::new();
        for value in values {
            unpack.like(&mut seen);
            assert_eq!(seen, value);
            assert_eq!(unpack.bytes(), value);
        }
        assert!(unpack.is_empty());
    }
}
