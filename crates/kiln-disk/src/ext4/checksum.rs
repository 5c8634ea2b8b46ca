//! CRC-32C as ext4 uses it: chained from a seed, and never inverted.

/// The sum of `bytes` after what led to `seed`.
pub(super) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    // The library inverts before and after, as the sum is used everywhere else.
    !crc32c::crc32c_append(!seed, bytes)
}

/// What all sums of a file system begin with.
pub(super) fn seed_of(uuid: &[u8; 16]) -> u32 {
    crc(!0, uuid)
}

/// What the sums of an inode, of its extents and of its directory begin with.
pub(super) fn inode_seed(seed: u32, number: u32, generation: u32) -> u32 {
    crc(crc(seed, &number.to_le_bytes()), &generation.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_not_inverted() {
        // The check value of CRC-32C, inverted.
        assert_eq!(crc(!0, b"123456789"), !0xe306_9283);
        assert_eq!(crc(crc(!0, b"1234"), b"56789"), !0xe306_9283);
    }
}
