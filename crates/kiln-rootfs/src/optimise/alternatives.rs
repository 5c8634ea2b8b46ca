//! Debian's alternatives: links such as `/usr/bin/cc`, of which packages offer the targets.
//!
//! A file in `var/lib/dpkg/alternatives` has the mode, the link, and pairs of lines for slaves, up to
//! an empty line; then for each choice its path, its priority, and the slaves' paths. A choice whose
//! path is gone is taken out, as its package's script would do.

use kiln_disk::{Inode, Node, Tree};

use super::OptimiseError;
use super::devel::Work;
use crate::paths::{self, Found};

const DATABASE: &str = "var/lib/dpkg/alternatives";
const LINKS: &[u8] = b"etc/alternatives";
const MAX_FILE: u64 = 1 << 20;

/// One file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    is_automatic: bool,
    /// The name in `etc/alternatives` and the link that leads there: first the master, then slaves.
    links: Vec<(String, String)>,
    choices: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    priority: i64,
    /// As many as links; slaves may be empty.
    paths: Vec<String>,
}

/// Takes choices out whose files are gone.
pub(super) fn update(work: &mut Work<'_>) -> Result<(), OptimiseError> {
    let Some(id) = paths::lookup(work.tree, DATABASE.as_bytes()) else {
        return Ok(());
    };
    let entries = work.tree.entries(id).iter();
    let names: Vec<String> = entries
        .filter_map(|entry| String::from_utf8(entry.name.to_vec()).ok())
        .collect();
    for name in names {
        let path = format!("{DATABASE}/{name}");
        let text = work.read(&path, MAX_FILE)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some(group) = parse(&name, &text) else {
            continue;
        };
        let mut remaining = group.clone();
        remaining
            .choices
            .retain(|choice| is_there(work.tree, &choice.paths[0]));
        if remaining.choices.len() == group.choices.len() {
            continue;
        }
        if remaining.choices.is_empty() {
            remove(work, &group);
            work.forget(id, name.as_bytes());
        } else {
            point(work, &mut remaining);
            work.rewrite(path.as_bytes(), print(&remaining).into_bytes());
        }
    }
    Ok(())
}

fn is_there(tree: &Tree, path: &str) -> bool {
    paths::lookup(tree, path.as_bytes()).is_some()
}

fn parse(name: &str, text: &str) -> Option<Group> {
    let mut rest = text.lines();
    let is_automatic = rest.next()? == "auto";
    let mut links = vec![(name.to_owned(), rest.next()?.to_owned())];
    loop {
        match rest.next()? {
            "" => break,
            // Names are entries of a directory.
            slave if slave.contains('/') => return None,
            slave => links.push((slave.to_owned(), rest.next()?.to_owned())),
        }
    }
    let mut choices = Vec::new();
    while let Some(path) = rest.next().filter(|path| !path.is_empty()) {
        let priority = rest.next()?.parse().ok()?;
        let mut paths = vec![path.to_owned()];
        for _ in 1..links.len() {
            paths.push(rest.next()?.to_owned());
        }
        choices.push(Choice { priority, paths });
    }
    Some(Group {
        is_automatic,
        links,
        choices,
    })
}

fn print(group: &Group) -> String {
    let mut lines = vec![if group.is_automatic { "auto" } else { "manual" }.to_owned()];
    for (index, (name, link)) in group.links.iter().enumerate() {
        if index > 0 {
            lines.push(name.clone());
        }
        lines.push(link.clone());
    }
    lines.push(String::new());
    for choice in &group.choices {
        lines.push(choice.paths[0].clone());
        lines.push(choice.priority.to_string());
        lines.extend(choice.paths[1..].iter().cloned());
    }
    lines.push(String::new());
    lines.join("\n") + "\n"
}

/// The symbolic link `path`, if it is one.
fn link<'a>(tree: &'a Tree, path: &[u8]) -> Option<(Found, &'a [u8])> {
    let found = paths::name(tree, path)?;
    match &tree.inode(found.id).node {
        Node::Symlink(target) => Some((found, target)),
        _ => None,
    }
}

fn remove(work: &mut Work<'_>, group: &Group) {
    for (name, path) in &group.links {
        let entry = paths::join(LINKS, name.as_bytes());
        let leads_here = |target: &[u8]| target == [b"/", entry.as_slice()].concat();
        let outer = link(work.tree, path.as_bytes()).filter(|(_, target)| leads_here(target));
        for found in [outer, link(work.tree, &entry)]
            .into_iter()
            .flatten()
            .map(|(found, _)| found)
            .collect::<Vec<_>>()
        {
            work.forget(found.parent, paths::base_name(&found.path));
        }
    }
}

/// Lets the links lead to what is left, where they led to something that is gone.
fn point(work: &mut Work<'_>, group: &mut Group) {
    let master = paths::join(LINKS, group.links[0].0.as_bytes());
    if paths::lookup(work.tree, &master).is_some() {
        return;
    }
    group.is_automatic = true;
    let best = group.choices.iter().max_by_key(|choice| choice.priority);
    let Some(best) = best.cloned() else {
        return;
    };
    for ((name, outer), target) in group.links.iter().zip(&best.paths) {
        let entry = paths::join(LINKS, name.as_bytes());
        let Some(found) = link(work.tree, &entry).map(|(found, _)| found) else {
            continue;
        };
        if is_there(work.tree, target) {
            let inode: &mut Inode = work.tree.inode_mut(found.id);
            inode.node = Node::Symlink(target.as_bytes().into());
            continue;
        }
        // A slave that the choice doesn't have.
        let outer = link(work.tree, outer.as_bytes()).map(|(outer, _)| outer);
        for found in [Some(found), outer].into_iter().flatten() {
            work.forget(found.parent, paths::base_name(&found.path));
        }
    }
}
