//! The hash by which large directories are sorted: MD4 cut in half.

/// What the kernel reads as the end of a directory, so no name has it.
const END: u32 = 0xffff_fffe;

/// What the words of a hash begin with where the seed is 0: MD4's own.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The words that the second and third round add.
const ROUND_2: u32 = 0x5a82_7999;
const ROUND_3: u32 = 0x6ed9_eba1;

/// Hashes of a name: the one that directories are sorted by, always even, and one that decides
/// where that is the same. Names' bytes count as unsigned.
pub(super) fn half_md4(seed: &[u8; 16], name: &[u8]) -> (u32, u32) {
    let mut state = START;
    if *seed != [0; 16] {
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
    }
    let mut rest = name;
    loop {
        mix(&mut state, &words(rest));
        match rest.get(32..) {
            Some(more) if !more.is_empty() => rest = more,
            _ => break,
        }
    }
    let hash = match state[1] & !1 {
        END => END - 2,
        hash => hash,
    };
    (hash, state[2])
}

/// The next 32 bytes of a name as words, filled up with how much of it is left.
fn words(rest: &[u8]) -> [u32; 8] {
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    let filler = length | length << 8;
    let filler = filler | filler << 16;
    let mut words = [filler; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        for byte in bytes {
            *word = (*word << 8).wrapping_add(u32::from(*byte));
        }
    }
    words
}

/// Three rounds of eight steps; each step changes one word of the state, the last one first.
fn mix(state: &mut [u32; 4], input: &[u32; 8]) {
    let [mut a, mut b, mut c, mut d] = *state;
    let mut step = |mixed: fn(u32, u32, u32) -> u32, word: u32, turn: u32| {
        let sum = a.wrapping_add(mixed(b, c, d)).wrapping_add(word);
        (a, b, c, d) = (d, sum.rotate_left(turn), b, c);
    };
    for (at, turn) in (0..8).zip([3, 7, 11, 19].into_iter().cycle()) {
        step(|x, y, z| z ^ (x & (y ^ z)), input[at], turn);
    }
    for (at, turn) in [1, 3, 5, 7, 0, 2, 4, 6]
        .into_iter()
        .zip([3, 5, 9, 13].into_iter().cycle())
    {
        let word = input[at].wrapping_add(ROUND_2);
        step(|x, y, z| (x & y).wrapping_add((x ^ y) & z), word, turn);
    }
    for (at, turn) in [3, 7, 2, 6, 1, 5, 0, 4]
        .into_iter()
        .zip([3, 9, 11, 15].into_iter().cycle())
    {
        let word = input[at].wrapping_add(ROUND_3);
        step(|x, y, z| x ^ y ^ z, word, turn);
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes are those that `dx_hash` of debugfs tells, with a seed and without.
    fn check(name: &[u8], seeded: (u32, u32), plain: (u32, u32)) {
        let seed = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let shown = name.escape_ascii();
        assert_eq!(half_md4(&seed, name), seeded, "{shown}");
        assert_eq!(half_md4(&[0; 16], name), plain, "{shown}");
    }

    #[test]
    fn hashes_are_those_of_the_tools() {
        check(
            b"hello",
            (0xaf3d_0524, 0x4eeb_19be),
            (0x1746_da32, 0x4200_13b5),
        );
        check(
            b"abcdefghijklmnopqrstuvwxyz012345",
            (0xd22d_c19e, 0xbaa5_20e7),
            (0x1964_3b1a, 0xdde3_a0bf),
        );
        check(
            b"abcdefghijklmnopqrstuvwxyz0123456",
            (0x1adb_ddd0, 0xc328_9892),
            (0x16ed_9a9c, 0x2fb8_454f),
        );
        check(
            &[b'x'; 255],
            (0xba90_8bbe, 0x3554_4659),
            (0x2aa7_169e, 0x655f_9d9c),
        );
    }
}
