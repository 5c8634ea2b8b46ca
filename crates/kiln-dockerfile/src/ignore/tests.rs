//! Tables: patterns, and which paths they ignore.

use proptest::prelude::*;

use super::*;

/// Each row: patterns joined by ` , `; paths that are ignored; paths that are not.
#[track_caller]
fn check(rows: &[(&str, &str, &str)]) {
    for (patterns, ignored, kept) in rows {
        let text = patterns.replace(" , ", "\n");
        let ignore = Ignore::parse(&text).unwrap_or_else(|error| panic!("{patterns}: {error}"));
        for path in ignored.split_whitespace() {
            assert!(ignore.matches(path), "`{patterns}` should ignore `{path}`");
        }
        for path in kept.split_whitespace() {
            assert!(!ignore.matches(path), "`{patterns}` should keep `{path}`");
        }
    }
}

#[test]
fn names_and_paths() {
    check(&[
        ("a", "a a/b a/b/c", "b b/a ab .a A"),
        ("a/b", "a/b a/b/c", "a b a/c a/bc"),
        ("/a", "a a/b", "b/a"),
        ("a/", "a a/b", "b"),
        ("./a", "a a/b", "b"),
        ("a//b", "a/b", "a"),
        ("a/./b", "a/b", "a"),
        ("a/../b", "b b/c", "a a/b"),
        ("../a", "", "a ../b"),
        ("  a  ", "a", "b"),
        (".", "", "a a/b"),
        ("/", "", "a a/b"),
        ("a.b", "a.b", "axb"),
        ("a+b", "a+b", "aab"),
        ("(a)", "(a)", "a"),
        ("a$", "a$", "a"),
        ("^a", "^a", "a"),
        ("a|b", "a|b", "a b"),
        ("{a,b}", "{a,b}", "a b"),
        ("日本", "日本 日本/x", "日"),
        ("#a", "", "a"),
        ("a#b", "a#b", "a"),
    ]);
}

#[test]
fn stars_and_question_marks_stop_at_slashes() {
    check(&[
        ("*", "a a/b .x", ""),
        ("*.go", "a.go .go a.go/b", "a.c b/a.go a.gox"),
        ("a*", "a ab abc/d", "b b/a"),
        ("*a*", "a xa ax xax", "x"),
        ("a*c", "ac abc", "a/c"),
        ("*/*", "a/b a/b/c", "a"),
        ("*/b", "a/b a/b/c", "b a/c a/x/b"),
        ("a/*/c", "a/b/c a/x/c/d", "a/c a/b/x/c"),
        ("a/*", "a/b a/b/c", "a"),
        ("?", "a b", "ab"),
        ("a?c", "abc a.c", "ac a/c"),
        ("??", "ab", "a abc"),
        ("*.?", "a.b", "a.bc"),
        ("*.{js,ts}", "a.{js,ts}", "a.js a.ts"),
        ("a*b.c", "axb.c ab.c", "axbxc"),
        ("日?", "日本", "日"),
    ]);
}

#[test]
fn double_stars_cross_slashes() {
    check(&[
        ("**", "a a/b a/b/c", ""),
        ("**/", "a a/b", ""),
        ("**/a", "a b/a b/c/a a/x", "ab b/ab"),
        ("**/a/b", "a/b x/a/b", "a b a/x/b"),
        ("**/*.go", "a.go b/a.go b/c/a.go", "a.c"),
        ("**/*", "a a/b", ""),
        ("**/*/b", "a/b x/a/b", "b"),
        ("a/**", "a/b a/b/c", "a ab"),
        ("a/**/b", "a/b a/x/b a/x/y/b a/b/c", "a b axb"),
        ("a/**/*", "a/b a/b/c", "a"),
        ("a/**/b/**", "a/b/c a/x/b/c", "a/b a"),
        ("**a", "a ba b/a b/ca", "ab"),
        ("a**", "a ab a/b abc/d", "b/a"),
        ("a**b", "ab ax/b ax/y/b", "acb a/c"),
        ("**/a**", "a x/a ab x/ab/c", "ba"),
        ("**/.git", ".git a/.git a/b/.git/c", "git .gitx"),
        ("**/foo*bar", "foobar x/fooxbar", "foo/bar"),
        ("a/**/**/b", "a/b a/x/b", "a"),
        ("**/**", "a a/b", ""),
        ("a**/b", "ab ax/b", "a/c"),
        ("**.txt", "a.txt b/a.txt .txt", "a.md"),
    ]);
}

#[test]
fn classes() {
    check(&[
        ("[ab]", "a b a/x", "c ab"),
        ("[a-c]x", "ax bx cx", "dx x"),
        ("[^a]", "b c", "a bb"),
        ("[!a]", "! a", "b"),
        ("a[.]b", "a.b", "axb"),
        ("a[0-9]*", "a1 a12 a1/b", "a ab"),
        ("[日-本]", "日 本", "a"),
        ("[[]", "[", "]"),
        ("[a\\]b]", "a ] b", "c"),
        ("[a\\-c]", "a - c", "b"),
        ("x[&&a]", "x& xa", "xb"),
        ("x[a~~b]", "xa x~ xb", "xc"),
        ("[\\d]x", "1x", "dx"),
        ("*.[ch]", "a.c b.h", "a.o"),
    ]);
}

#[test]
fn escapes() {
    check(&[
        ("a\\*b", "a*b", "axb ab"),
        ("a\\?", "a?", "ab"),
        ("\\[a]", "[a]", "a"),
        ("\\#a", "#a", "a"),
        ("\\!a", "!a", "a"),
        ("a\\\\b", "a\\b", "ab"),
        ("\\d*", "1a", "da"),
    ]);
}

#[test]
fn the_last_match_decides() {
    check(&[
        ("a , !a", "", "a a/b"),
        ("!a , a", "a a/b", ""),
        ("* , !a", "b b/c", "a a/b"),
        ("* , !a.md , a.md", "a.md b", ""),
        ("*.md , !README.md", "a.md", "README.md a.txt"),
        (
            "*.md , !README*.md , README-secret.md",
            "a.md README-secret.md",
            "README.md README-x.md",
        ),
        ("a , !a/b", "a a/c a/c/d", "a/b a/b/c"),
        ("a , !a/b , a/b/c", "a a/x a/b/c a/b/c/d", "a/b a/b/d"),
        ("* , !a/b/c", "a a/b a/b/d x", "a/b/c a/b/c/d"),
        ("** , !a/b", "a a/c x/y", "a/b a/b/c"),
        ("** , !**/*.go", "a b/c", "a.go b/a.go"),
        ("** , !*.go", "a b/a.go", "a.go"),
        ("a/* , !a/b", "a/c", "a a/b a/b/c"),
        ("!a", "", "a b"),
        ("a , ! b", "a", "b"),
        ("a/b , !a", "a/b a/b/c", "a a/c"),
        ("*/ , !x", "a a/b", "x"),
        (
            "node_modules , !node_modules/keep/**",
            "node_modules node_modules/a node_modules/keep",
            "node_modules/keep/a",
        ),
        (
            "dir/** , !dir/keep",
            "dir/a dir/a/b",
            "dir dir/keep dir/keep/x",
        ),
    ]);
}

#[test]
fn files_are_read_line_by_line() {
    let text = "\u{feff}# comment\r\n\n  \t\n a \r\n/b/\n!  /a/keep\n #not\n";
    let ignore = Ignore::parse(text).unwrap();
    for (path, ignored) in [
        ("a", true),
        ("a/x", true),
        ("a/keep", false),
        ("b", true),
        ("#not", true),
        ("# comment", false),
    ] {
        assert_eq!(ignore.matches(path), ignored, "{path}");
    }
    assert!(Ignore::parse("# only\n\n").unwrap().is_empty());
    assert!(!ignore.matches("") && !ignore.matches("."));
}

#[test]
fn lists_are_not_files() {
    let ignore = Ignore::from_patterns(&["#a", " b ", "/c", "!b/d"]).unwrap();
    for (path, ignored) in [("#a", true), ("b", true), ("b/d", false), ("c", false)] {
        assert_eq!(ignore.matches(path), ignored, "{path}");
    }
}

#[test]
fn wrong_patterns_are_named() {
    for pattern in [
        "[", "[]", "[]a]", "[a", "[a-", "[a-]", "[-a]", "a\\", "[\\", "!", "[z-a]", "\\q*",
    ] {
        let error = Ignore::parse(&format!("ok\n{pattern}\n")).unwrap_err();
        assert_eq!((error.pattern.as_str(), error.line), (pattern, 2));
    }
}

#[test]
fn directories_are_pruned_where_nothing_below_comes_back() {
    let cases = [
        ("a", "a", true),
        ("a", "b", false),
        ("a , !a/b", "a", false),
        ("a , !a/b", "a/c", true),
        ("a , !a/b/c", "a/b", false),
        ("a , !b", "a", true),
        ("a , !ab", "a", true),
        ("* , !b/c", "a", true),
        ("* , !b/c", "b", false),
        ("* , !b/*.c", "b", false),
        ("* , !b/*.c", "a", true),
        ("* , !b*/c", "bx", false),
        ("* , !b*/c", "a", true),
        ("** , !**/x", "a", false),
        ("a , !*/x", "a", false),
        ("a , !?", "a", true),
        ("a , !a/**", "a", false),
        ("* , !ab*", "a", true),
        ("* , !x[|]y", "a", false),
    ];
    for (patterns, dir, expected) in cases {
        let ignore = Ignore::parse(&patterns.replace(" , ", "\n")).unwrap();
        let pruned = ignore.can_prune_dir(dir);
        // Entering a directory for nothing is slow but right; skipping one is right only where
        // nothing comes back.
        assert!(!pruned || expected, "`{patterns}` must not prune `{dir}`");
        let wildcard_in_first_name = matches!(patterns, "a , !?" | "* , !ab*");
        assert!(
            pruned || !expected || wildcard_in_first_name,
            "`{patterns}` should prune `{dir}`"
        );
    }
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let pieces = [
        "a", "b", "*", "**", "/", "?", "[ab]", "!", "\\", "|", "{2}", "^", ".",
    ];
    let pattern = prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..6)
        .prop_map(|pieces| pieces.concat());
    prop::collection::vec(pattern, 0..5)
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "aa", ".a"]), 1..5)
        .prop_map(|names| names.join("/"))
}

proptest! {
    #[test]
    fn any_text_is_read(text in any::<String>(), path in any::<String>()) {
        if let Ok(ignore) = Ignore::parse(&text) {
            ignore.matches(&path);
            ignore.can_prune_dir(&path);
        }
    }

    #[test]
    fn pruned_directories_have_nothing_to_keep(patterns in patterns(), dir in paths(), below in paths()) {
        if let Ok(ignore) = Ignore::from_patterns(&patterns) && ignore.can_prune_dir(&dir) {
            prop_assert!(ignore.matches(&format!("{dir}/{below}")), "{patterns:?} {dir} {below}");
        }
    }

    #[test]
    fn a_walk_finds_what_a_look_up_finds(patterns in patterns(), path in paths()) {
        if let Ok(ignore) = Ignore::from_patterns(&patterns) {
            let mut state = ignore.root();
            for (at, _) in path.match_indices('/') {
                state = ignore.enter(&state, &path[..at]);
            }
            prop_assert_eq!(ignore.is_ignored_in(&state, &path), ignore.matches(&path));
            prop_assert_eq!(ignore.enter(&state, &path).is_ignored(), ignore.matches(&path));
        }
    }
}
