//! Stripping programs and libraries, each inode once whatever its number of names.
//!
//! Attributes stay, file capabilities too. Kernel modules are object files and never touched, nor is
//! anything in `/boot`, nor what has a signature over its bytes.

use std::collections::BTreeMap;

use kiln_base::CancelToken;
use kiln_disk::{Contents, File, Node, NodeId, Tree};

use super::OptimiseError;
use super::options::Patterns;
use super::report::{Changed, Report, Totals};
use super::rules::Rule;
use super::usage::{self, Usage};
use crate::elf::{self, Strip};
use crate::paths::{self, Next, Reader};

const RULE: Rule = Rule::DebugSymbols;

/// A file that can be stripped.
struct Candidate {
    path: Vec<u8>,
    plan: Strip,
    saves: u64,
}

/// What stripping works on.
pub(super) struct Work<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) contents: &'a dyn Contents,
    pub(super) patterns: &'a Patterns,
    pub(super) usage: &'a mut Usage,
    pub(super) report: &'a mut Report,
}

pub(super) fn strip(
    work: &mut Work<'_>,
    memory: u64,
    cancel: &CancelToken,
) -> Result<(), OptimiseError> {
    let candidates = candidates(work, cancel)?;
    let mut by_saving: Vec<(NodeId, Candidate)> = candidates.into_iter().collect();
    by_saving.sort_by(|(_, a), (_, b)| b.saves.cmp(&a.saves).then_with(|| a.path.cmp(&b.path)));
    let mut left = memory;
    for (id, candidate) in by_saving {
        cancel.check()?;
        let path = candidate.path.escape_ascii().to_string();
        let Some(rest) = left.checked_sub(candidate.plan.size()) else {
            let text = format!("`/{path}` stays as it is: it would take more memory than is left");
            work.report.note(RULE, text);
            continue;
        };
        let reader = Reader::open(work.tree, work.contents, id);
        let reader = reader.map_err(|cause| OptimiseError::Read {
            path: path.clone(),
            cause,
        })?;
        let bytes = match candidate.plan.apply(&reader) {
            Ok(bytes) => bytes,
            Err(cause) => {
                work.report
                    .note(RULE, format!("`/{path}` stays as it is: {cause}"));
                continue;
            }
        };
        left = rest;
        replace(work, id, candidate.path, bytes);
    }
    Ok(())
}

fn replace(work: &mut Work<'_>, id: NodeId, path: Vec<u8>, bytes: Vec<u8>) {
    let (before, after) = (usage::bytes(work.tree, id), bytes.len() as u64);
    work.tree.inode_mut(id).node = Node::File(File::of_bytes(bytes));
    work.usage.shrink(before, after);
    let freed = Totals {
        files: 0,
        bytes: before.saturating_sub(after),
    };
    work.report.freed(RULE, freed);
    work.report.changed.push(Changed {
        path,
        before,
        after,
        rule: RULE,
    });
}

fn candidates(
    work: &mut Work<'_>,
    cancel: &CancelToken,
) -> Result<BTreeMap<NodeId, Candidate>, OptimiseError> {
    let mut found: BTreeMap<NodeId, Option<Candidate>> = BTreeMap::new();
    let mut notes = Vec::new();
    let tree = &*work.tree;
    paths::visit(tree, |visit| {
        if cancel.is_cancelled() || is_never_stripped(visit.path) {
            return Next::Skip;
        }
        if !is_program(tree, visit.id, visit.name) {
            return Next::Enter;
        }
        if work.patterns.preserves(visit.path) {
            found.insert(visit.id, None);
            return Next::Enter;
        }
        found
            .entry(visit.id)
            .or_insert_with(|| candidate(tree, work.contents, visit.id, visit.path, &mut notes));
        Next::Enter
    });
    cancel.check()?;
    for text in notes {
        work.report.note(RULE, text);
    }
    let found = found.into_iter();
    Ok(found
        .filter_map(|(id, candidate)| Some((id, candidate?)))
        .collect())
}

fn candidate(
    tree: &Tree,
    contents: &dyn Contents,
    id: NodeId,
    path: &[u8],
    notes: &mut Vec<String>,
) -> Option<Candidate> {
    let reader = Reader::open(tree, contents, id).ok()?;
    match elf::strip(&reader) {
        Ok(Ok(plan)) => Some(Candidate {
            path: path.to_vec(),
            saves: usage::bytes(tree, id).saturating_sub(plan.size()),
            plan,
        })
        .filter(|candidate| candidate.saves > 0),
        Ok(Err(elf::Skipped::NotAProgram | elf::Skipped::Nothing)) => None,
        Ok(Err(why)) => {
            notes.push(format!(
                "`/{}` stays as it is: it {why}",
                path.escape_ascii()
            ));
            None
        }
        Err(why) => {
            notes.push(format!("`/{}` stays as it is: {why}", path.escape_ascii()));
            None
        }
    }
}

/// Kernels and their modules, and what is detached debug information already.
fn is_never_stripped(path: &[u8]) -> bool {
    matches!(
        path,
        b"boot" | b"lib/modules" | b"usr/lib/modules" | b"usr/lib/debug"
    )
}

fn is_program(tree: &Tree, id: NodeId, name: &[u8]) -> bool {
    let inode = tree.inode(id);
    let Node::File(file) = &inode.node else {
        return false;
    };
    let is_library = name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.");
    let is_signed = ["security.ima", "security.evm"]
        .iter()
        .any(|name| inode.attributes.xattr(name).is_some());
    file.size > 64 && !is_signed && (is_library || inode.attributes.mode & 0o111 != 0)
}
