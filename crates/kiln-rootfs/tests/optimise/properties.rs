//! What holds for every tree: what is preserved stays, a second time finds nothing, the sums are
//! true, and nothing that a program needs is lost unseen.

use kiln_base::CancelToken;
use kiln_disk::{Attributes, File, Inode, Node, Tree};
use kiln_oci::Platform;
use kiln_rootfs::harden::{HardenOptions, harden};
use kiln_rootfs::optimise::{Level, Options, optimise};
use kiln_rootfs::paths;
use kiln_rootfs::reach::{Command, compare, trace_anyway};
use proptest::prelude::*;

use super::tree::Nothing;

/// Names that rules know.
const NAMES: [&str; 24] = [
    "usr",
    "lib",
    "var",
    "share",
    "doc",
    "cache",
    "apt",
    "log",
    "tmp",
    "locale",
    "fr",
    "en",
    "include",
    "__pycache__",
    "a.py",
    "a.cpython-311.pyc",
    "a.pyc",
    "copyright",
    "x.log.1",
    ".git",
    "HEAD",
    "etc",
    "root",
    "dpkg",
];

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File(Vec<u8>, u32),
    Link(String),
    Hard,
}

fn kind() -> impl Strategy<Value = Kind> {
    let contents = prop_oneof![
        Just(Vec::new()),
        Just(b"#!/usr/lib\n".to_vec()),
        Just(b"\x7fELF\x02\x01\x01".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let modes = prop_oneof![Just(0o644), Just(0o755), Just(0o4777), Just(0o666)];
    let target = proptest::collection::vec(
        prop_oneof![proptest::sample::select(&NAMES[..]), Just(".."), Just("")],
        1..4,
    );
    prop_oneof![
        4 => Just(Kind::Directory),
        4 => (contents, modes).prop_map(|(bytes, mode)| Kind::File(bytes, mode)),
        1 => target.prop_map(|names| Kind::Link(names.join("/"))),
        1 => Just(Kind::Hard),
    ]
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let entry = (
        any::<prop::sample::Index>(),
        proptest::sample::select(&NAMES[..]),
        kind(),
    );
    proptest::collection::vec(entry, 0..60).prop_map(|entries| {
        let mut tree = Tree::new(Attributes::default());
        let mut directories = vec![Tree::ROOT];
        let mut files = Vec::new();
        for (index, name, kind) in entries {
            let parent = *index.get(&directories);
            let inode = |mode, node| Inode {
                attributes: Attributes {
                    mode,
                    ..Attributes::default()
                },
                node,
            };
            let inode = match kind {
                Kind::Directory => inode(0o755, Node::Directory(Vec::new())),
                Kind::File(bytes, mode) => inode(mode, Node::File(File::of_bytes(bytes))),
                Kind::Link(target) if target.is_empty() => continue,
                Kind::Link(target) => inode(0o777, Node::Symlink(target.into_bytes().into())),
                Kind::Hard => {
                    if !files.is_empty() {
                        let _ = tree.link(parent, name.as_bytes(), *index.get(&files));
                    }
                    continue;
                }
            };
            let is_directory = matches!(inode.node, Node::Directory(_));
            if let Ok(id) = tree.add(parent, name.as_bytes(), inode) {
                let list = if is_directory {
                    &mut directories
                } else {
                    &mut files
                };
                list.push(id);
            }
        }
        tree
    })
}

fn names(tree: &Tree) -> Vec<(Vec<u8>, Inode)> {
    let mut names = Vec::new();
    tree.walk(|path, id| {
        let mut inode = tree.inode(id).clone();
        if let Node::Directory(entries) = &mut inode.node {
            entries.clear();
        }
        names.push((path.to_vec(), inode));
    });
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn optimised_trees_are_what_the_report_says(
        mut tree in any_tree(),
        preserve in proptest::sample::select(&NAMES[..]),
        exclude in proptest::sample::select(&NAMES[..]),
    ) {
        let mut options = Options::at(Level::Smallest);
        options.preserve = vec![format!("**/{preserve}")];
        options.exclude = vec![format!("**/{exclude}")];
        let before = names(&tree);
        let report = optimise(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap();
        let after = names(&tree);
        for (path, inode) in &before {
            let is_preserved = path.split(|byte| *byte == b'/').any(|name| name == preserve.as_bytes());
            let still = after.binary_search_by(|(known, _)| order(known).cmp(&order(path)));
            if is_preserved {
                prop_assert_eq!(&after[still.unwrap()].1, inode, "{}", path.escape_ascii());
            } else if still.is_err() {
                prop_assert!(report.rule_of(path).is_some(), "{}", path.escape_ascii());
            }
        }
        let bytes: u64 = report.rules.values().map(|totals| totals.bytes).sum();
        let files: u64 = report.rules.values().map(|totals| totals.files).sum();
        prop_assert_eq!(report.before.bytes - bytes, report.after.bytes);
        prop_assert_eq!(report.before.files - files, report.after.files);
        let gone: u64 = report.gone.iter().map(|gone| gone.names).sum();
        prop_assert_eq!(before.len() as u64 - gone, after.len() as u64);
        let again = optimise(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap();
        prop_assert!(again.gone.is_empty() && again.changed.is_empty(), "{:?}", again);
        prop_assert_eq!(again.before, report.after);
    }

    #[test]
    fn hardened_trees_have_nothing_left_to_do(mut tree in any_tree()) {
        let mut options = HardenOptions::all();
        options.remove_set_id = true;
        harden(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap();
        let again = harden(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap();
        prop_assert_eq!(again, []);
    }

    #[test]
    fn programs_in_any_tree_are_followed_to_an_end(
        mut tree in any_tree(),
        program in proptest::sample::select(&NAMES[..]),
    ) {
        let command = Command {
            arguments: vec![program.as_bytes().to_vec(), b"/usr/lib".to_vec()],
            environment: vec![(b"PATH".to_vec(), b"/:/usr:/usr/lib".to_vec())],
            directory: b"/".to_vec(),
            platform: Platform::new("linux", "amd64"),
        };
        let before = trace_anyway(&tree, &Nothing, &command);
        let options = Options::at(Level::Smallest);
        let report = optimise(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap();
        let after = trace_anyway(&tree, &Nothing, &command);
        let unchanged = report.gone.is_empty() && report.changed.is_empty();
        if unchanged {
            prop_assert!(compare(&before, &after, &report).is_ok());
        }
        let found = before.facts.iter().filter(|fact| fact.is_proven);
        let lost = found
            .filter_map(|fact| fact.found.as_deref())
            .any(|path| paths::name(&tree, path).is_none());
        if !lost {
            prop_assert!(compare(&before, &after, &report).is_ok());
        }
    }
}

/// The order of a lexical walk: names one by one.
fn order(path: &[u8]) -> Vec<&[u8]> {
    if path.is_empty() {
        return Vec::new();
    }
    path.split(|byte| *byte == b'/').collect()
}
