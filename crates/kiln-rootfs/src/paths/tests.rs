//! Paths that try to leave the tree, and those that lead nowhere.

use kiln_disk::{Attributes, File, Inode};

use super::*;

fn inode(node: Node) -> Inode {
    Inode {
        attributes: Attributes::default(),
        node,
    }
}

/// `a/b`, and links by their names to their targets.
fn tree(links: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new(Attributes::default());
    let a = tree
        .add(Tree::ROOT, b"a", inode(Node::Directory(Vec::new())))
        .unwrap();
    let b = inode(Node::File(File::of_bytes(*b"x")));
    tree.add(a, b"b", b).unwrap();
    for (name, target) in links {
        let link = inode(Node::Symlink(target.as_bytes().into()));
        let (parent, name) = match name.strip_prefix("a/") {
            Some(name) => (a, name),
            None => (Tree::ROOT, *name),
        };
        tree.add(parent, name.as_bytes(), link).unwrap();
    }
    tree
}

#[track_caller]
fn check(links: &[(&str, &str)], path: &str, expected: &str) {
    let tree = tree(links);
    let answer = match find(&tree, b"/a", path.as_bytes(), Last::Follow) {
        Ok(found) => found.path.escape_ascii().to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(answer, expected);
}

#[test]
fn a_path_never_leaves_the_root() {
    check(&[], "../../../a/b", "a/b");
    check(&[], "b", "a/b");
    check(&[("l", "../../a")], "/l/b", "a/b");
    check(&[("l", "/a/../..//a/./b")], "/l", "a/b");
    check(&[("a/up", "..")], "up/a/up/a/b", "a/b");
    check(&[], "/", "");
}

#[test]
fn what_leads_nowhere_says_where_it_ends() {
    check(&[], "c/d", "`/a/c` does not exist");
    check(&[], "b/c", "`/a/b` is not a directory");
    check(&[], "b/", "`/a/b` is not a directory");
    check(&[], "b/..", "`/a/b` is not a directory");
    check(&[("l", "nowhere")], "/l", "`/nowhere` does not exist");
    check(
        &[("l", "m"), ("m", "/l")],
        "/l",
        "`/l` has too many levels of symbolic links",
    );
    check(
        &[("l", "l/l/l")],
        "/l/l",
        "`/l` has too many levels of symbolic links",
    );
    let long = "x/".repeat(2049);
    check(&[], &long, "a path of more than 4096 bytes");
}

#[test]
fn links_on_the_way_are_told_and_the_last_can_be_kept() {
    let tree = tree(&[("l", "a"), ("m", "l/b")]);
    let found = find(&tree, b"", b"m", Last::Follow).unwrap();
    assert_eq!(found.links, [b"m".to_vec(), b"l".to_vec()]);
    assert_eq!(Some(found.parent), tree.child(Tree::ROOT, b"a"));
    let kept = name(&tree, b"m").unwrap();
    assert_eq!((kept.path, kept.links), (b"m".to_vec(), Vec::new()));
}
