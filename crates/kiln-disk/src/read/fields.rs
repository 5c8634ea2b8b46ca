//! Fields of records of which enough was read.

/// 16 bits of a record.
pub(crate) fn at16(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([record[at], record[at + 1]])
}

/// 32 bits of a record.
pub(crate) fn at32(record: &[u8], at: usize) -> u32 {
    u32::from(at16(record, at)) | u32::from(at16(record, at + 2)) << 16
}

/// Bytes of a record, as many as asked for.
pub(crate) fn array<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|byte| record[at + byte])
}

/// 64 bits of a record.
pub(crate) fn at64(record: &[u8], at: usize) -> u64 {
    u64::from(at32(record, at)) | u64::from(at32(record, at + 4)) << 32
}
