//! Paths as text: cleaned without asking any file system.

use crate::glob::has_wildcards;

/// The components of a path relative to the root: empty ones and `.` are dropped, `..` takes the
/// component before it away and stops at the root.
pub(crate) fn components(path: &str) -> Vec<&str> {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    components
}

/// Splits components before the first one with a wildcard.
pub(crate) fn split_wildcards<'a, 'b>(components: &'a [&'b str]) -> (&'a [&'b str], &'a [&'b str]) {
    let plain = components.iter().take_while(|name| !has_wildcards(name));
    components.split_at(plain.count())
}

/// The two sides of the `--parents` pivot `/./`: where the tree is rooted, and what is taken below.
pub(crate) fn split_pivot(path: &str) -> (&str, &str) {
    path.split_once("/./").unwrap_or(("", path))
}

/// Whether a destination says that it is a directory: by a trailing slash or dot, or as the root.
pub(crate) fn names_a_directory(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    matches!(last, "" | "." | "..") || components(path).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_inside_the_root() {
        assert_eq!(components("/a//b/./c/"), ["a", "b", "c"]);
        assert_eq!(components("../../a/../b"), ["b"]);
        assert!(components("./..").is_empty());
    }

    #[test]
    fn wildcards_begin_somewhere() {
        let path = components("a/b*/c");
        assert_eq!(split_wildcards(&path), (&["a"][..], &["b*", "c"][..]));
        let path = components("a/b");
        assert_eq!(split_wildcards(&path), (&["a", "b"][..], &[][..]));
    }

    #[test]
    fn the_first_pivot_counts() {
        assert_eq!(split_pivot("/t/a/./b/./c"), ("/t/a", "b/./c"));
        assert_eq!(split_pivot("./a/b"), ("", "./a/b"));
        assert_eq!(split_pivot("/./a"), ("", "a"));
    }

    #[test]
    fn some_destinations_are_directories() {
        for path in ["/", "/a/", "/a/.", "/a/..", "."] {
            assert!(names_a_directory(path), "{path}");
        }
        assert!(!names_a_directory("/a/b"));
    }
}
