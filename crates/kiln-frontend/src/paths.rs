//! Paths of the image, as text.

/// `path` seen from `dir`, absolute, without `.` and `..`. A trailing slash, or `/.`, stays as a
/// slash: it says that a directory is meant.
pub(crate) fn absolute(dir: &str, path: &str) -> String {
    let path = if path.is_empty() || path == "." {
        "./"
    } else {
        path
    };
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{dir}/{path}")
    };
    let cleaned = clean(&joined);
    let names_a_directory = path.ends_with('/') || path.ends_with("/.");
    if names_a_directory && cleaned != "/" {
        format!("{cleaned}/")
    } else {
        cleaned
    }
}

/// An absolute path without `.`, `..` and doubled slashes.
pub(crate) fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// A path as a pattern that matches nothing else.
pub(crate) fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for ch in path.chars() {
        if matches!(ch, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(ch);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_working_directory() {
        for (dir, path, expected) in [
            ("/", "a", "/a"),
            ("/w", "a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "", "/w/"),
            ("/w", "a/.", "/w/a/"),
            ("/w", "/a//b/../c", "/a/c"),
            ("/w", "../../..", "/"),
            ("/w", "/", "/"),
        ] {
            assert_eq!(absolute(dir, path), expected, "{dir} {path}");
        }
    }
}
