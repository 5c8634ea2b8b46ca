//! Ignore files: reading one and asking it ends, and it does not contradict itself.
//!
//! Patterns, `%%`, and a path a line.
#![no_main]

use kiln_dockerfile::ignore::Ignore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (patterns, paths) = kiln_fuzz::parts(text);
    let lines: Vec<&str> = patterns.lines().collect();
    let ignore = Ignore::parse(patterns);
    for ignore in [&ignore, &Ignore::from_patterns(&lines)] {
        let Ok(ignore) = ignore else {
            continue;
        };
        let includes_again = patterns.contains('!');
        for path in paths.lines().map(clean) {
            check(ignore, &path, includes_again);
        }
    }
    for pattern in lines {
        if let Ok(pattern) = kiln_tree::Pattern::parse(pattern) {
            for path in paths.lines() {
                pattern.matches(path.as_bytes());
            }
        }
    }
});

/// A path as a walk gives it.
fn clean(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("/")
}

fn check(ignore: &Ignore, path: &str, includes_again: bool) {
    let is_ignored = ignore.matches(path);
    let mut above = ignore.root();
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    for folder in folders {
        above = ignore.enter(&above, folder);
        assert_eq!(
            above.is_ignored(),
            ignore.matches(folder),
            "a walk and a question agree"
        );
        if above.is_ignored() && !includes_again {
            assert!(
                is_ignored,
                "`{path}` is in `{folder}`, which is ignored for good"
            );
        }
        if ignore.can_prune_dir(folder) {
            assert!(
                is_ignored,
                "`{path}` is in `{folder}`, which a walk does not enter"
            );
        }
    }
    if !path.is_empty() {
        assert_eq!(ignore.is_ignored_in(&above, path), is_ignored);
    }
}
