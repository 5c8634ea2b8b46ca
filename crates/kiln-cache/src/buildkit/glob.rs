//! Patterns of paths, as Go's `path.Match` reads them.

/// Go's `path.Match`; `None` for a pattern that is not one.
pub(super) fn is_match(pattern: &[u8], path: &[u8]) -> Option<bool> {
    let Some((first, rest)) = pattern.split_first() else {
        return Some(path.is_empty());
    };
    match first {
        b'*' => {
            for skipped in 0..=path.len() {
                if is_match(rest, &path[skipped..])? {
                    return Some(true);
                }
                if path.get(skipped) == Some(&b'/') {
                    break;
                }
            }
            Some(false)
        }
        b'?' => match path.split_first() {
            Some((byte, after)) if *byte != b'/' => is_match(rest, after),
            _ => Some(false),
        },
        b'[' => {
            let end = rest.iter().skip(1).position(|byte| *byte == b']')? + 1;
            let (class, after) = (&rest[..end], &rest[end + 1..]);
            match path.split_first() {
                Some((byte, left)) if *byte != b'/' && is_in(class, *byte)? => {
                    is_match(after, left)
                }
                _ => Some(false),
            }
        }
        b'\\' => {
            let (escaped, rest) = rest.split_first()?;
            match path.split_first() {
                Some((byte, after)) if byte == escaped => is_match(rest, after),
                _ => Some(false),
            }
        }
        literal => match path.split_first() {
            Some((byte, after)) if byte == literal => is_match(rest, after),
            _ => Some(false),
        },
    }
}

/// Whether a byte is in a class; `None` for escapes in classes, which are not understood here.
fn is_in(class: &[u8], byte: u8) -> Option<bool> {
    let (is_negated, mut rest) = match class.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, class),
    };
    if rest.contains(&b'\\') || !class.is_ascii() {
        return None;
    }
    let mut is_found = false;
    while let Some((low, after)) = rest.split_first() {
        let (high, after) = match after {
            [b'-', high, after @ ..] => (*high, after),
            after => (*low, after),
        };
        is_found |= (*low..=high).contains(&byte);
        rest = after;
    }
    Some(is_found != is_negated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_go_s() {
        let check = |pattern: &str, path: &str, expected: Option<bool>| {
            let found = is_match(pattern.as_bytes(), path.as_bytes());
            assert_eq!(found, expected, "{pattern} {path}");
        };
        check("/*.txt", "/a.txt", Some(true));
        check("/*.txt", "/d/a.txt", Some(false));
        check("/?", "/a", Some(true));
        check("/[a-c]x", "/bx", Some(true));
        check("/[^a-c]x", "/bx", Some(false));
        check("/\\*", "/*", Some(true));
        check("/[", "/a", None);
    }
}
