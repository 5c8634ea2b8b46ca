//! One walk over the tree that takes away what the rules that go by paths name.
//!
//! A directory is settled when all below it is: so it is known whether one that should go has become
//! empty, and the report has one line for it instead of one for each file. There is no recursion.

use std::collections::BTreeSet;

use kiln_disk::{Contents, File, Node, NodeId, Tree};
use kiln_dockerfile::ignore::Matches;

use super::OptimiseError;
use super::options::{Options, Patterns};
use super::report::{Changed, Gone, Report, Totals};
use super::rules::Rule;
use super::table::{self, Row};
use super::usage::{self, Usage};
use crate::paths;

mod decide;

use decide::{Claim, Decision, Names};

/// From how many files of one directory on the report has one line for them.
const FEW: usize = 8;

/// Applies the rules to `tree`.
pub(super) fn sweep(
    tree: &mut Tree,
    contents: &dyn Contents,
    options: &Options,
    patterns: &Patterns,
    usage: &mut Usage,
    report: &mut Report,
) -> Result<(), OptimiseError> {
    let rules = &options.rules;
    let owned = if rules.contains(&Rule::DevelopmentFiles) {
        super::devel::owned_development_files(tree, contents)?
    } else {
        BTreeSet::new()
    };
    let names = Names {
        rows: table::rows(tree, contents, rules),
        options,
        patterns,
        owned,
    };
    let mut sweep = Sweep {
        tree,
        usage,
        report,
        names: &names,
        path: Vec::new(),
        levels: Vec::new(),
    };
    sweep.run();
    if rules.contains(&Rule::Documentation) {
        sweep.unlink_dangling(b"usr/share/doc");
    }
    Ok(())
}

/// A directory that the walk is in.
struct Level {
    id: NodeId,
    next: usize,
    path_length: usize,
    /// Rows of the table that fit so far, and how many of their names did.
    live: Vec<(usize, usize)>,
    /// What is true of everything in it.
    claim: Option<Claim>,
    /// The rule by which it goes if it becomes empty.
    doomed: Option<Rule>,
    exclude: Matches,
    preserve: Matches,
    /// The entries that go, by their position.
    gone: Vec<usize>,
    /// Which of them are not directories, and what they free.
    leaves: Vec<(usize, Rule, u64)>,
    /// How long the report was before.
    mark: usize,
}

struct Sweep<'a> {
    tree: &'a mut Tree,
    usage: &'a mut Usage,
    report: &'a mut Report,
    names: &'a Names<'a>,
    path: Vec<u8>,
    levels: Vec<Level>,
}

impl Sweep<'_> {
    fn run(&mut self) {
        let live = (0..self.names.rows.len()).map(|row| (row, 0)).collect();
        self.levels.push(Level {
            id: Tree::ROOT,
            next: 0,
            path_length: 0,
            live,
            claim: None,
            doomed: None,
            exclude: self.names.patterns.exclude.root(),
            preserve: self.names.patterns.preserve.root(),
            gone: Vec::new(),
            leaves: Vec::new(),
            mark: self.report.gone.len(),
        });
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path_length);
            let position = level.next;
            let Some(entry) = self.tree.entries(level.id).get(position) else {
                self.leave();
                continue;
            };
            level.next += 1;
            let id = entry.id;
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            let start = self.path.len();
            self.path.extend_from_slice(&entry.name);
            self.enter(position, id, start);
        }
    }

    /// Decides about the name at the end of the path.
    fn enter(&mut self, position: usize, id: NodeId, start: usize) {
        let Some(level) = self.levels.last() else {
            return;
        };
        let text = String::from_utf8_lossy(&self.path);
        let preserve = self.names.patterns.preserve.enter(&level.preserve, &text);
        let exclude = self.names.patterns.exclude.enter(&level.exclude, &text);
        let live = live(&self.names.rows, &level.live, &self.path[start..]);
        let above = self
            .levels
            .len()
            .checked_sub(2)
            .map(|at| self.levels[at].id);
        let decision = self.names.decide(&decide::Entry {
            tree: self.tree,
            path: &self.path,
            name: &self.path[start..],
            id,
            parent: level.id,
            above,
            inherited: level.claim,
            completed: live
                .iter()
                .find(|(row, names)| self.names.is_complete(*row, *names))
                .map(|(row, _)| *row),
            is_excluded: exclude.is_ignored(),
            is_preserved: preserve.is_ignored(),
        });
        match decision {
            Decision::Enter { claim, doomed } => self.levels.push(Level {
                id,
                next: 0,
                path_length: self.path.len(),
                live,
                claim,
                doomed,
                exclude,
                preserve,
                gone: Vec::new(),
                leaves: Vec::new(),
                mark: self.report.gone.len(),
            }),
            Decision::Keep => {}
            Decision::Remove(rule) => self.remove(position, id, rule),
            Decision::Empty(rule) => self.empty(id, rule),
        }
    }

    fn remove(&mut self, position: usize, id: NodeId, rule: Rule) {
        let freed = self.usage.unlink(self.tree, id);
        self.report.freed(rule, freed);
        if let Some(level) = self.levels.last_mut() {
            level.gone.push(position);
            level.leaves.push((position, rule, freed.bytes));
        }
    }

    fn empty(&mut self, id: NodeId, rule: Rule) {
        let before = usage::bytes(self.tree, id);
        // Another name of it may be no log.
        if self.usage.names(id) != 1 {
            return;
        }
        self.tree.inode_mut(id).node = Node::File(File::of_bytes(Vec::new()));
        self.usage.shrink(before, 0);
        let freed = Totals {
            files: 0,
            bytes: before,
        };
        self.report.freed(rule, freed);
        self.report.changed.push(Changed {
            path: self.path.clone(),
            before,
            after: 0,
            rule,
        });
    }

    /// All in a directory is settled: what goes is taken out of it, and it goes itself if it should.
    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else {
            return;
        };
        let count = self.tree.entries(level.id).len();
        let goes = level.gone.len() == count && !level.preserve.is_ignored();
        match (level.doomed.filter(|_| goes), self.levels.last_mut()) {
            (Some(rule), Some(parent)) => {
                parent.gone.push(parent.next - 1);
                self.report_whole(&level, rule);
            }
            _ => self.report_leaves(&level),
        }
        if !level.gone.is_empty() {
            retain(self.tree, level.id, &level.gone);
        }
    }

    fn report_whole(&mut self, level: &Level, rule: Rule) {
        let freed = self.usage.unlink(self.tree, level.id);
        self.report.freed(rule, freed);
        let below = self.report.gone.drain(level.mark..);
        let sum = below.fold((0, 0), |sum, gone| (sum.0 + gone.names, sum.1 + gone.bytes));
        let bytes: u64 = level.leaves.iter().map(|leaf| leaf.2).sum();
        self.report.gone.push(Gone {
            path: self.path.clone(),
            is_whole: true,
            names: sum.0 + level.leaves.len() as u64 + 1,
            bytes: sum.1 + bytes,
            rule,
        });
    }

    fn report_leaves(&mut self, level: &Level) {
        let entries = self.tree.entries(level.id);
        let leaves: Vec<(&[u8], Rule, u64)> = level
            .leaves
            .iter()
            .map(|(position, rule, bytes)| (&*entries[*position].name, *rule, *bytes))
            .collect();
        self.report.push_leaves(&self.path, &leaves);
    }

    /// Links whose targets went.
    fn unlink_dangling(&mut self, directory: &[u8]) {
        // Links on the way lead to what is no documentation.
        let found = paths::name(self.tree, directory);
        let Some(found) = found.filter(|found| found.links.is_empty()) else {
            return;
        };
        let id = found.id;
        let dangling: Vec<(Box<[u8]>, NodeId)> = self
            .tree
            .entries(id)
            .iter()
            .filter(|entry| matches!(self.tree.inode(entry.id).node, Node::Symlink(_)))
            .map(|entry| (entry.name.clone(), entry.id))
            .filter(|(name, _)| {
                let path = paths::join(directory, name);
                paths::lookup(self.tree, &path).is_none() && !self.names.patterns.preserves(&path)
            })
            .collect();
        let mut leaves = Vec::new();
        for (name, link) in &dangling {
            let freed = self.usage.unlink(self.tree, *link);
            self.report.freed(Rule::Documentation, freed);
            self.tree.unlink(id, name);
            leaves.push((&**name, Rule::Documentation, 0));
        }
        self.report.push_leaves(directory, &leaves);
    }
}

/// The rows that still fit with one name more.
fn live(rows: &[Row], above: &[(usize, usize)], name: &[u8]) -> Vec<(usize, usize)> {
    above
        .iter()
        .filter(|(row, names)| {
            let pattern = rows[*row].names.get(*names);
            pattern.is_some_and(|pattern| table::fits(pattern, name))
        })
        .map(|(row, names)| (*row, names + 1))
        .collect()
}

fn retain(tree: &mut Tree, directory: NodeId, gone: &[usize]) {
    if let Node::Directory(entries) = &mut tree.inode_mut(directory).node {
        let mut gone = gone.iter().copied().peekable();
        let mut position = 0;
        entries.retain(|_| {
            let goes = gone.next_if_eq(&position).is_some();
            position += 1;
            !goes
        });
    }
}

impl Report {
    /// Files of one directory that went, by their names.
    pub(super) fn push_leaves(&mut self, directory: &[u8], leaves: &[(&[u8], Rule, u64)]) {
        let rules: BTreeSet<Rule> = leaves.iter().map(|leaf| leaf.1).collect();
        for rule in rules {
            let of_rule = leaves.iter().filter(|leaf| leaf.1 == rule);
            if of_rule.clone().count() <= FEW {
                self.gone.extend(of_rule.map(|(name, rule, bytes)| Gone {
                    path: paths::join(directory, name),
                    is_whole: true,
                    names: 1,
                    bytes: *bytes,
                    rule: *rule,
                }));
                continue;
            }
            self.gone.push(Gone {
                path: directory.to_vec(),
                is_whole: false,
                names: of_rule.clone().count() as u64,
                bytes: of_rule.map(|leaf| leaf.2).sum(),
                rule,
            });
        }
    }
}
