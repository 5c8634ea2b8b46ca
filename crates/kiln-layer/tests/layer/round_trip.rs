//! Random trees: through a layer and back, and against the kernel's overlayfs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_layer::{LayerCompression, OverlayXattrs, resolve_against};
use kiln_sys::fs::Dir;
use kiln_sys::mount::Overlay;
use proptest::prelude::*;

use crate::tree::{Scratch, is_root, list};
use crate::{changes, options, unpack, write};

/// What a random tree has at a path.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    Dir {
        mode: u32,
        opaque: bool,
    },
    File {
        content: String,
        time: u32,
        nanos: bool,
    },
    Symlink,
    Whiteout,
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => (prop_oneof![Just(0o755_u32), Just(0o700)], any::<bool>())
            .prop_map(|(mode, opaque)| Thing::Dir { mode, opaque }),
        4 => ("[ab]{0,2}", 1..3_u32, any::<bool>())
            .prop_map(|(content, time, nanos)| Thing::File { content, time, nanos }),
        1 => Just(Thing::Symlink),
        2 => Just(Thing::Whiteout),
    ]
}

/// A few names at few levels, so that two trees often have the same.
pub(crate) fn tree() -> impl Strategy<Value = BTreeMap<String, Thing>> {
    let path = proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4)
        .prop_map(|names| names.join("/"));
    proptest::collection::btree_map(path, thing(), 0..14)
}

/// The text of a tree. Things inside of what is no directory are left out, and so are overlayfs'
/// marks where there is nothing below to hide.
pub(crate) fn text(tree: &BTreeMap<String, Thing>, is_upper: bool) -> String {
    let mut text = String::new();
    let mut dirs = vec![String::new()];
    for (path, thing) in tree {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !dirs.iter().any(|dir| dir == parent) {
            continue;
        }
        let _ = match thing {
            Thing::Dir { mode, opaque } => {
                dirs.push(path.clone());
                let mark = if *opaque && is_upper {
                    format!("\n{path} opaque")
                } else {
                    String::new()
                };
                writeln!(text, "{path} dir {mode:04o} 0:0 @1{mark}")
            }
            Thing::File {
                content,
                time,
                nanos,
            } => {
                let content = if content.is_empty() { "~" } else { content };
                // What differs in content alone, at one nanosecond, no tool can tell apart.
                let fraction = content
                    .replace('a', "1")
                    .replace('b', "2")
                    .replace('~', "3");
                let fraction = if *nanos {
                    format!(".{fraction}")
                } else {
                    String::new()
                };
                writeln!(text, "{path} file 0644 0:0 @{time}{fraction} {content}")
            }
            Thing::Symlink => writeln!(text, "{path} symlink 0777 0:0 @1 target"),
            Thing::Whiteout if is_upper => writeln!(text, "{path} whiteout"),
            Thing::Whiteout => Ok(()),
        };
    }
    text
}

/// The tree that overlayfs makes of the directories, without fractions of seconds, which a layer
/// does not keep.
fn merged(scratch: &Scratch, lowers: &[&str]) -> String {
    let overlay = Overlay {
        lowers: lowers.iter().map(|name| scratch.path(name)).collect(),
        upper: None,
        userxattr: true,
    };
    let mount = overlay.mount_detached().expect("an overlay");
    let text = list(&Dir::from_fd(mount));
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| match word.split_once('.') {
            Some((seconds, _)) if word.starts_with('@') => seconds,
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ") + "\n"
    });
    lines.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lower and upper stacked by the kernel look like lower and the layer made of their
    /// difference, unpacked again.
    #[test]
    fn a_layer_does_what_its_upper_directory_did(
        bottom in tree(),
        middle in tree(),
        upper in tree(),
    ) {
        if !is_root("round trip through overlayfs") {
            return Ok(());
        }
        let scratch = Scratch::new();
        let bottom = scratch.tree("bottom", &text(&bottom, false));
        let middle = scratch.tree("middle", &text(&middle, true));
        let upper = scratch.tree("upper", &text(&upper, true));
        let expected = merged(&scratch, &["upper", "middle", "bottom"]);

        let lowers = [middle, bottom];
        let changes = changes(&upper, &lowers);
        let (blob, _) = write(&changes, &options(LayerCompression::default(), 2));
        let again = scratch.dir("again");
        let report = unpack(&blob, &again).expect("a layer");
        resolve_against(&report, &again, &lowers, OverlayXattrs::User).expect("complete");
        let actual = merged(&scratch, &["again", "middle", "bottom"]);
        prop_assert_eq!(untimed_dirs(&actual), untimed_dirs(&expected));
    }
}

/// A directory of which only the time changed is not part of a layer.
fn untimed_dirs(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" dir ") {
        Some((path, rest)) => format!("{path} dir {}\n", rest.replace(" @1", "")),
        None => format!("{line}\n"),
    });
    lines.collect()
}
