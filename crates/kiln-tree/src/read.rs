//! Reading files whose size is known, with one system call where that is enough.

use std::io::{self, Read};

/// Fills the buffer, or as much of it as the source has. Returns the bytes read. Unlike reading to
/// the end this does not ask once more where the buffer is full.
pub(crate) fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, room: usize, expected: &str) {
        let mut buffer = vec![b'?'; room];
        let mut source = source.as_bytes();
        let filled = read_up_to(&mut source, &mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..filled]), Ok(expected));
    }

    #[test]
    fn the_buffer_or_the_source_is_the_limit() {
        check("", 3, "");
        check("abc", 0, "");
        check("abc", 2, "ab");
        check("abc", 3, "abc");
        check("abc", 9, "abc");
    }
}
