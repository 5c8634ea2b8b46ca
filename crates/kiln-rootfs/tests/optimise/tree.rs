//! A tree from a text, and a text from a tree; the notation is `testkit::make_tree`'s:
//!
//! ```text
//! dir/                0755
//! dir/file            0644 content of the file
//! dir/link -> file
//! dir/hard = dir/file
//! bin/app             0755 elf:interpreter=/lib/ld.so,needs=libx.so
//! ```

use std::fs;
use std::io;

use kiln_disk::{Attributes, Contents, File, Inode, Node, NodeId, Tree};
use kiln_rootfs::paths;

/// Contents of a tree that has all of its bytes itself.
pub(crate) struct Nothing;

impl Contents for Nothing {
    fn open(&self, key: u64) -> io::Result<fs::File> {
        Err(io::Error::other(format!("no file {key}")))
    }
}

/// The tree that `text` describes.
pub(crate) fn tree(text: &str) -> Tree {
    let mut tree = Tree::new(attributes(0o755));
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        entry(&mut tree, line);
    }
    tree
}

fn attributes(mode: u32) -> Attributes {
    Attributes {
        mode,
        ..Attributes::default()
    }
}

fn entry(tree: &mut Tree, line: &str) {
    let (path, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    let path = path.trim_end_matches('/');
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = folders(tree, folder);
    if let Some(target) = rest.strip_prefix("= ") {
        let id = paths::name(tree, target.as_bytes()).unwrap().id;
        tree.link(parent, name.as_bytes(), id).unwrap();
        return;
    }
    let (mode, content) = rest.split_once(' ').unwrap_or((rest, ""));
    let (mode, node) = if let Some(target) = rest.strip_prefix("-> ") {
        (0o777, Node::Symlink(target.as_bytes().into()))
    } else if line.split(' ').next().unwrap().ends_with('/') {
        (octal(mode), Node::Directory(Vec::new()))
    } else {
        (octal(mode), Node::File(File::of_bytes(bytes(content))))
    };
    if let (Some(id), Node::Directory(_)) = (tree.child(parent, name.as_bytes()), &node) {
        tree.inode_mut(id).attributes.mode = mode;
        return;
    }
    let attributes = attributes(mode);
    let inode = Inode { attributes, node };
    tree.add(parent, name.as_bytes(), inode).unwrap();
}

fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).unwrap_or_else(|_| panic!("`{text}` is no mode"))
}

fn bytes(content: &str) -> Vec<u8> {
    match content.strip_prefix("elf:") {
        Some(description) => elf(description),
        None if content.is_empty() => Vec::new(),
        None => format!("{}\n", content.replace("\\n", "\n")).into_bytes(),
    }
}

fn folders(tree: &mut Tree, path: &str) -> NodeId {
    let mut id = Tree::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let directory = || Inode {
            attributes: attributes(0o755),
            node: Node::Directory(Vec::new()),
        };
        id = match tree.child(id, name.as_bytes()) {
            Some(id) => id,
            None => tree.add(id, name.as_bytes(), directory()).unwrap(),
        };
    }
    id
}

/// The tree's names, one in a line: directories with a slash, files with their sizes, modes where
/// they are unusual.
pub(crate) fn text(tree: &Tree) -> String {
    let mut lines = String::new();
    tree.walk(|path, id| {
        let path = path.escape_ascii();
        let inode = tree.inode(id);
        let mode = inode.attributes.mode;
        let (mark, usual) = match &inode.node {
            Node::Directory(_) => ("/".to_owned(), 0o755),
            Node::File(file) => (format!(" {}", file.size), 0o644),
            Node::Symlink(target) => (format!(" -> {}", target.escape_ascii()), 0o777),
            _ => (" special".to_owned(), 0o644),
        };
        let mode = if mode == usual || mode == 0o755 {
            String::new()
        } else {
            format!(" {mode:04o}")
        };
        lines += &format!("{path}{mark}{mode}\n");
    });
    lines.split_once('\n').unwrap().1.to_owned()
}

/// The text of a file in the tree.
pub(crate) fn content(tree: &Tree, path: &str) -> String {
    let id = paths::lookup(tree, path.as_bytes()).unwrap();
    String::from_utf8(paths::read(tree, &Nothing, id, 1 << 30).unwrap()).unwrap()
}

/// A small ELF file of 64 bits, by words `machine=183`, `interpreter=PATH`, `needs=A+B`,
/// `soname=S`, `rpath=P`, `runpath=P`.
fn elf(description: &str) -> Vec<u8> {
    let words: Vec<(&str, &str)> = description
        .split(',')
        .filter_map(|word| word.split_once('='))
        .collect();
    let get = |name| {
        let found = words.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    };
    let mut strings = vec![0];
    let mut dynamic = Vec::new();
    let mut add = |tag: u64, text: &str| {
        dynamic.extend([tag, strings.len() as u64]);
        strings.extend(text.as_bytes());
        strings.push(0);
    };
    for name in get("needs").into_iter().flat_map(|names| names.split('+')) {
        add(1, name);
    }
    for (tag, name) in [(14, "soname"), (15, "rpath"), (29, "runpath")] {
        if let Some(value) = get(name) {
            add(tag, value);
        }
    }
    let interpreter = get("interpreter").map(|path| format!("{path}\0").into_bytes());
    let interpreter = interpreter.unwrap_or_default();
    let interpreter_at = 0x200;
    let dynamic_at = interpreter_at + (interpreter.len() as u64).next_multiple_of(8);
    let strings_at = dynamic_at + dynamic.len() as u64 * 8 + 32;
    dynamic.extend([5, strings_at, 0, 0]);
    let end = strings_at + strings.len() as u64;
    let mut segments = vec![(1_u64, 0, end), (2, dynamic_at, dynamic.len() as u64 * 8)];
    if !interpreter.is_empty() {
        segments.push((3, interpreter_at, interpreter.len() as u64));
    }
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    let machine = get("machine").map_or(62, |machine| machine.parse().unwrap());
    let count = segments.len() as u64;
    let header = [
        (3, 2),
        (machine, 2),
        (1, 4),
        (0, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (count, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ];
    for (number, length) in header {
        out.extend(&u64::to_le_bytes(number)[..length]);
    }
    for (kind, at, size) in segments {
        out.extend(&kind.to_le_bytes()[..4]);
        out.extend([0; 4]);
        for number in [at, at, at, size, size, 1] {
            out.extend(number.to_le_bytes());
        }
    }
    out.resize(0x200, 0);
    out.extend(&interpreter);
    out.resize(usize::try_from(dynamic_at).unwrap(), 0);
    out.extend(dynamic.iter().flat_map(|number| number.to_le_bytes()));
    out.extend(&strings);
    out
}
