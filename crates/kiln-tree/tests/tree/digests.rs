//! What changes a digest, and what does not.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kiln_base::CancelToken;
use kiln_sys::fs::FileTime;
use kiln_tree::{
    ContentDigest, DigestError, DigestOptions, FileDigest, FileStamp, NoStatCache, StatCache,
};
use proptest::prelude::*;

use crate::text_tree::{CopyLine, Tree};

/// Later than any file of these tests.
const LATER: FileTime = FileTime::from_seconds(1 << 40);

fn digest(tree: &Tree, line: &CopyLine, cache: &dyn StatCache) -> ContentDigest {
    let options = DigestOptions {
        attributes: &line.options.attributes,
        cache,
        now: LATER,
    };
    let selection = line.select(tree).unwrap();
    selection.digest(&options, &CancelToken::new()).unwrap()
}

fn of(source: &str, line: &str) -> ContentDigest {
    digest(&Tree::source(source), &CopyLine::parse(line), &NoStatCache)
}

const TREE: &str = "d/\nd/a 644 1:1 one\nd/b/ 755 1:1\nd/b/c 600 1:1 two\nd/l -> a";

#[track_caller]
fn check(line: &str, changed: &str, same: bool) {
    assert_ne!(TREE, changed);
    assert_eq!(of(TREE, line) == of(changed, line), same);
}

#[test]
fn what_a_copy_writes_counts() {
    for (from, to) in [
        ("one", "One"),
        ("d/a", "d/A"),
        ("a 644", "a 640"),
        ("b/ 755", "b/ 700"),
        ("-> a", "-> b"),
        ("d/l -> a", "d/l a"),
        ("\nd/l -> a", ""),
        ("d/l -> a", "d/l -> a\nd/x/"),
    ] {
        check("COPY d /x", &TREE.replace(from, to), false);
    }
}

#[test]
fn what_a_copy_overrides_does_not_count() {
    check("COPY d /x", &TREE.replace("1:1", "2:2"), true);
    check("COPY --from=0 d /x", &TREE.replace("1:1", "2:2"), false);
    check(
        "COPY --from=0 --chown=5:5 d /x",
        &TREE.replace("1:1", "2:2"),
        true,
    );
    check("COPY --chmod=644 d /x", &TREE.replace("600", "755"), true);
    check("COPY --chmod=go= d /x", &TREE.replace("644", "600"), true);
    check("COPY --chmod=go= d /x", &TREE.replace("644", "700"), false);
}

#[test]
fn what_is_not_copied_does_not_count() {
    // Times, what is outside or ignored, and the attributes of a directory that is only opened.
    check("COPY d /x", &format!("{TREE}\nother text"), true);
    check(
        "COPY d /x",
        &format!("\n\n\n{TREE}").replace("d/\n", "d/ 700 3:3\n"),
        true,
    );
    check("COPY --exclude=x d /x", &format!("{TREE}\nd/x text"), true);
    check(
        "COPY d /x",
        &format!("{TREE}\n.dockerignore d/x\nd/x text"),
        true,
    );
}

#[test]
fn the_name_of_a_file_counts_and_hard_links_do() {
    assert_ne!(of("a x", "COPY a /x/"), of("b x", "COPY b /x/"));
    let (linked, copies) = ("d/\nd/a x\nd/b = d/a", "d/\nd/a x\nd/b x");
    assert_ne!(of(linked, "COPY d /x"), of(copies, "COPY d /x"));
    assert_eq!(of(linked, "COPY d/a /x/"), of(copies, "COPY d/a /x/"));
}

#[derive(Default)]
struct Memory {
    known: Mutex<HashMap<(PathBuf, FileStamp), FileDigest>>,
    hits: Mutex<usize>,
}

impl StatCache for Memory {
    fn look_up(&self, path: &Path, stamp: &FileStamp) -> Option<FileDigest> {
        let known = self.known.lock().unwrap();
        let found = known.get(&(path.to_path_buf(), *stamp)).copied();
        *self.hits.lock().unwrap() += usize::from(found.is_some());
        found
    }

    fn record(&self, path: &Path, stamp: &FileStamp, digest: &FileDigest) {
        let key = (path.to_path_buf(), *stamp);
        assert!(self.known.lock().unwrap().insert(key, *digest).is_none());
    }
}

#[test]
fn known_files_are_not_read_again() {
    let tree = Tree::source(TREE);
    let line = CopyLine::parse("COPY d /x");
    let memory = Memory::default();
    let first = digest(&tree, &line, &memory);
    assert_eq!(*memory.hits.lock().unwrap(), 0);
    assert_eq!(memory.known.lock().unwrap().len(), 2);
    assert_eq!(digest(&tree, &line, &memory), first);
    assert_eq!(*memory.hits.lock().unwrap(), 2);
    // A rename leaves the stamp, so the path is part of what is remembered; a write does not.
    std::fs::write(tree.temp.path().join("d/a"), "new").unwrap();
    assert_ne!(digest(&tree, &line, &memory), first);
    assert_eq!(*memory.hits.lock().unwrap(), 3);
}

#[test]
fn a_file_of_this_moment_is_not_remembered() {
    let tree = Tree::source(TREE);
    let line = CopyLine::parse("COPY d /x");
    let memory = Memory::default();
    let options = DigestOptions {
        attributes: &line.options.attributes,
        cache: &memory,
        now: FileTime::EPOCH,
    };
    let selection = line.select(&tree).unwrap();
    selection.digest(&options, &CancelToken::new()).unwrap();
    assert!(memory.known.lock().unwrap().is_empty());
}

#[test]
fn a_file_that_changed_since_is_refused() {
    let tree = Tree::source(TREE);
    let line = CopyLine::parse("COPY d /x");
    let selection = line.select(&tree).unwrap();
    std::fs::write(tree.temp.path().join("d/a"), "new").unwrap();
    let options = DigestOptions {
        attributes: &line.options.attributes,
        cache: &NoStatCache,
        now: LATER,
    };
    let error = selection.digest(&options, &CancelToken::new()).unwrap_err();
    assert!(matches!(error, DigestError::Changed(path) if path == Path::new("d/a")));
}

/// A few directories with a few things of every kind in each.
fn trees() -> impl Strategy<Value = String> {
    let thing = (0..6u8, "[xy]{0,3}", prop::bool::ANY);
    let things = prop::collection::vec(thing, 0..6);
    prop::collection::btree_map("[abcd]", things, 1..4).prop_map(|dirs| {
        let mut text = String::new();
        let mut files = Vec::new();
        for (dir, things) in dirs {
            writeln!(text, "{dir}/").unwrap();
            for (index, (kind, content, private)) in things.into_iter().enumerate() {
                let name = format!("{dir}/{index}");
                let mode = if private { "600" } else { "644" };
                match (kind, files.last()) {
                    (0, _) => writeln!(text, "{name}/\n{name}/in {mode} {content}").unwrap(),
                    (1, _) => writeln!(text, "{name} -> {dir}").unwrap(),
                    (2, Some(first)) => writeln!(text, "{name} = {first}").unwrap(),
                    (3, _) => writeln!(text, "{name} |").unwrap(),
                    _ => {
                        writeln!(text, "{name} {mode} {content}").unwrap();
                        files.push(name);
                    }
                }
            }
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_copy_has_the_digest_of_its_source(text in trees()) {
        let (source, dest) = (Tree::source(&text), Tree::dest(""));
        let line = CopyLine::parse("COPY . /copy/");
        line.run(&source, &dest).unwrap();
        let again = CopyLine::parse("COPY copy /elsewhere");
        let (one, other) = (digest(&source, &line, &NoStatCache), digest(&dest, &again, &NoStatCache));
        prop_assert_eq!(one, other);
        let before = dest.list();
        line.run(&source, &dest).unwrap();
        prop_assert_eq!(before, dest.list(), "copied twice");
    }
}

/// Many files in flat and nested directories: more than one thread's worth.
#[test]
fn large_trees_have_one_digest() {
    let mut text = String::from("d/\n");
    for index in 0..1100 {
        writeln!(text, "d/f{index} number {index}").unwrap();
    }
    for index in 0..100 {
        writeln!(
            text,
            "d/s{index}/\nd/s{index}/t/\nd/s{index}/t/f number {index}"
        )
        .unwrap();
    }
    let tree = Tree::source(&text);
    let line = CopyLine::parse("COPY d /x");
    let first = digest(&tree, &line, &NoStatCache);
    for _ in 0..5 {
        assert_eq!(digest(&tree, &line, &NoStatCache), first);
    }
    let dest = Tree::dest("");
    line.run(&tree, &dest).unwrap();
    let copied = digest(&dest, &CopyLine::parse("COPY x /y"), &NoStatCache);
    assert_eq!(copied, first, "a directory stands for its contents");
}
