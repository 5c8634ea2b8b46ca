//! The shortest equivalent of a path, by its text alone.

/// Removes `.`, doubled slashes, slashes at the end and each `name/..`, as Go's `path.Clean` does;
/// the empty path becomes `.`, and `..` at the root vanishes.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => match names.last() {
                Some(&last) if last != ".." => {
                    names.pop();
                }
                _ if rooted => {}
                _ => names.push(".."),
            },
            name => names.push(name),
        }
    }
    match (rooted, names.join("/")) {
        (true, names) => format!("/{names}"),
        (false, names) if names.is_empty() => ".".to_owned(),
        (false, names) => names,
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("", "."),
            ("/", "/"),
            ("a//b/./c/", "a/b/c"),
            ("a/../..", ".."),
            ("/../a", "/a"),
            ("../../a", "../../a"),
            ("a/b/../../c", "c"),
            ("!a/..", "."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
