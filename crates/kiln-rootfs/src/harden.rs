//! Rules that take out of a tree what must not be the same in many machines, or not be there at all:
//! keys, identities, credentials, histories, loose modes, empty passwords.
//!
//! Everything found is told with what was done about it. A path that a preserve pattern names is left
//! alone, and told nevertheless.
//!
//! Deliberately absent: looking for secrets in arbitrary files, and vulnerabilities of packages.

mod accounts;
mod credentials;
mod options;

use std::collections::BTreeSet;

use kiln_base::{CancelToken, Cancelled};
use kiln_disk::{Attributes, Contents, File, Node, NodeId, Tree};

use crate::optimise::homes;
use crate::paths::{self, Next, ReadError, Visit};
use options::Preserve;
pub use options::{Finding, HardenOptions, HardenRule, Outcome, UnknownHardenRule};

/// Why a tree can't be hardened. The tree may have been changed in part: it is to be dropped.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// A pattern can't be read.
    #[error("could not read a preserve pattern")]
    Preserve(#[source] kiln_dockerfile::ignore::PatternError),
    /// A file that has to be looked into can't be read.
    #[error("could not read `/{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Applies the rules of `options` to `tree`, and says what they found, by path. Applied again, they
/// find only what they leave.
pub fn harden(
    tree: &mut Tree,
    contents: &dyn Contents,
    options: &HardenOptions,
    cancel: &CancelToken,
) -> Result<Vec<Finding>, HardenError> {
    let preserve = Preserve::new(&options.preserve).map_err(HardenError::Preserve)?;
    let homes = homes(tree, contents);
    let mut plan = Plan {
        options,
        preserve: &preserve,
        homes: &homes,
        steps: Vec::new(),
    };
    let shared = &*tree;
    paths::visit(shared, |visit| {
        if cancel.is_cancelled() {
            return Next::Skip;
        }
        plan.look(shared, visit)
    });
    cancel.check()?;
    let steps = plan.steps;
    let mut findings = Vec::new();
    for step in steps {
        findings.extend(apply(tree, contents, &preserve, &step)?);
    }
    if options.rules.contains(&HardenRule::EmptyPasswords) {
        accounts::lock(tree, contents, &preserve, &mut findings)?;
    }
    findings.sort_by(|a, b| (&a.path, a.rule).cmp(&(&b.path, b.rule)));
    Ok(findings)
}

/// Something to do with a name that the walk came to.
struct Step {
    rule: HardenRule,
    path: Vec<u8>,
    parent: NodeId,
    id: NodeId,
    deed: Deed,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Remove,
    /// Taken away if it holds what it may hold.
    RemoveIf(credentials::Holds),
    /// Lines or parts are taken out, if there are any.
    Edit(credentials::Edit),
    Empty,
    Mode(u32),
    /// Set-id bits and file capabilities are taken away.
    Disarm,
    Report,
}

struct Plan<'a> {
    options: &'a HardenOptions,
    preserve: &'a Preserve,
    homes: &'a BTreeSet<Vec<u8>>,
    steps: Vec<Step>,
}

impl Plan<'_> {
    fn look(&mut self, tree: &Tree, visit: Visit<'_>) -> Next {
        let removed = self.decide(tree, visit);
        for (rule, deed) in removed {
            if !self.options.rules.contains(&rule) {
                continue;
            }
            self.steps.push(Step {
                rule,
                path: visit.path.to_vec(),
                parent: visit.parent,
                id: visit.id,
                deed,
            });
            if deed == Deed::Remove && !self.preserve.matches(visit.path) {
                return Next::Skip;
            }
        }
        Next::Enter
    }

    /// What the rules say of a name; what takes it away comes first.
    fn decide(&self, tree: &Tree, visit: Visit<'_>) -> Vec<(HardenRule, Deed)> {
        let mut deeds = Vec::new();
        let inode = tree.inode(visit.id);
        let is_directory = matches!(inode.node, Node::Directory(_));
        if is_directory {
            if is_repository(tree, visit) {
                deeds.push((HardenRule::Repositories, Deed::Remove));
            }
        } else {
            deeds.extend(named(visit.path));
            let home = self.in_home(visit.path);
            deeds.extend(credentials::decide(visit.path, visit.name, home));
            if is_history(home) {
                deeds.push((HardenRule::Histories, Deed::Remove));
            }
            if visit.name == b".git" && matches!(inode.node, Node::File(_)) {
                deeds.push((HardenRule::Repositories, Deed::Remove));
            }
        }
        if credentials::is_directory_of_them(visit.path, self.in_home(visit.path)) {
            deeds.push((HardenRule::Credentials, Deed::Remove));
        }
        deeds.extend(self.mode(&inode.attributes, &inode.node));
        deeds
    }

    /// The rest of a path that is in someone's home.
    fn in_home<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let ends = path.iter().enumerate().rev();
        let mut slashes = ends.filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let deepest = slashes.find(|at| self.homes.contains(&path[..*at]));
        deepest.map_or(path, |at| &path[at + 1..])
    }

    fn mode(&self, attributes: &Attributes, node: &Node) -> Vec<(HardenRule, Deed)> {
        let mut deeds = Vec::new();
        let mode = attributes.mode;
        match node {
            Node::File(_) if mode & 0o002 != 0 => {
                deeds.push((HardenRule::WorldWritable, Deed::Mode(mode & !0o002)));
            }
            Node::Directory(_) if mode & 0o1002 == 0o002 => {
                deeds.push((HardenRule::WorldWritable, Deed::Mode(mode | 0o1000)));
            }
            _ => {}
        }
        let has_capabilities = attributes.xattr("security.capability").is_some();
        if matches!(node, Node::File(_)) && (mode & 0o6000 != 0 || has_capabilities) {
            let deed = if self.options.remove_set_id {
                Deed::Disarm
            } else {
                Deed::Report
            };
            deeds.push((HardenRule::SetId, deed));
        }
        deeds
    }
}

/// Files that every machine has to have for itself.
fn named(path: &[u8]) -> Option<(HardenRule, Deed)> {
    let key = path.strip_prefix(b"etc/ssh/ssh_host_");
    if key.is_some_and(|key| key.ends_with(b"_key") || key.ends_with(b"_key.pub")) {
        return Some((HardenRule::SshHostKeys, Deed::Remove));
    }
    Some(match path {
        b"etc/machine-id" => (HardenRule::MachineId, Deed::Empty),
        b"var/lib/dbus/machine-id" => (HardenRule::MachineId, Deed::Remove),
        b"var/lib/systemd/random-seed"
        | b"var/lib/systemd/credential.secret"
        | b"var/lib/urandom/random-seed"
        | b"var/lib/misc/random-seed"
        | b"var/lib/random-seed"
        | b"var/lib/seedrng/seed.credit"
        | b"var/lib/seedrng/seed.no-credit"
        | b"boot/loader/random-seed" => (HardenRule::RandomSeed, Deed::Remove),
        _ => return None,
    })
}

fn is_history(in_home: &[u8]) -> bool {
    matches!(
        in_home,
        b".bash_history"
            | b".ash_history"
            | b".zsh_history"
            | b".sh_history"
            | b".histfile"
            | b".history"
            | b".python_history"
            | b".node_repl_history"
            | b".irb_history"
            | b".mysql_history"
            | b".psql_history"
            | b".sqlite_history"
            | b".rediscli_history"
            | b".mongosh_history"
            | b".lesshst"
            | b".viminfo"
            | b".wget-hsts"
            | b".local/share/fish/fish_history"
            | b".local/state/bash/history"
    )
}

/// Whether a directory is what a version control system keeps beside the files.
fn is_repository(tree: &Tree, visit: Visit<'_>) -> bool {
    let has = |name: &[u8]| tree.child(visit.id, name).is_some();
    match visit.name {
        b".git" => has(b"HEAD") || has(b"objects"),
        b".hg" => has(b"store") || has(b"requires"),
        b".svn" => has(b"wc.db") || has(b"entries"),
        _ => false,
    }
}

fn apply(
    tree: &mut Tree,
    contents: &dyn Contents,
    preserve: &Preserve,
    step: &Step,
) -> Result<Option<Finding>, HardenError> {
    let finding = |outcome| {
        Some(Finding {
            rule: step.rule,
            path: step.path.clone(),
            outcome,
        })
    };
    // A step before it may have taken the name, or content that it was about.
    let name = paths::base_name(&step.path);
    if tree.child(step.parent, name) != Some(step.id) {
        return Ok(None);
    }
    let is_preserved = preserve.matches(&step.path);
    let remove = |tree: &mut Tree| {
        if is_preserved || preserve.may_match_below(tree, step.id, &step.path) {
            return Outcome::Preserved;
        }
        tree.unlink(step.parent, name);
        Outcome::Removed
    };
    Ok(match step.deed {
        Deed::Remove => finding(remove(tree)),
        Deed::RemoveIf(holds) => {
            let bytes = read(tree, contents, step)?;
            match bytes.filter(|bytes| holds.is_in(bytes)) {
                Some(_) => finding(remove(tree)),
                None => None,
            }
        }
        Deed::Edit(edit) => {
            let edited = read(tree, contents, step)?.and_then(|bytes| edit.apply(&bytes));
            match edited {
                None => None,
                Some(_) if is_preserved => finding(Outcome::Preserved),
                Some(bytes) => {
                    tree.inode_mut(step.id).node = Node::File(File::of_bytes(bytes));
                    finding(Outcome::Edited)
                }
            }
        }
        Deed::Empty => match &tree.inode(step.id).node {
            Node::File(file) if file.size > 0 && is_preserved => finding(Outcome::Preserved),
            Node::File(file) if file.size > 0 => {
                tree.inode_mut(step.id).node = Node::File(File::of_bytes(Vec::new()));
                finding(Outcome::Emptied)
            }
            _ => None,
        },
        Deed::Mode(_) | Deed::Disarm if is_preserved => finding(Outcome::Preserved),
        Deed::Mode(mode) => {
            let attributes = &mut tree.inode_mut(step.id).attributes;
            let from = std::mem::replace(&mut attributes.mode, mode);
            // Another name of the file came first.
            (from != mode)
                .then(|| finding(Outcome::Mode { from, to: mode }))
                .flatten()
        }
        Deed::Disarm => finding(disarm(&mut tree.inode_mut(step.id).attributes)),
        Deed::Report => {
            let attributes = &tree.inode(step.id).attributes;
            finding(Outcome::Reported {
                mode: attributes.mode,
                has_capabilities: attributes.xattr("security.capability").is_some(),
            })
        }
    })
}

fn disarm(attributes: &mut Attributes) -> Outcome {
    attributes.mode &= !0o6000;
    attributes
        .xattrs
        .retain(|(name, _)| name != "security.capability");
    Outcome::Disarmed
}

/// A file's bytes, if it is a file, and none of a size that configuration never has.
fn read(tree: &Tree, contents: &dyn Contents, step: &Step) -> Result<Option<Vec<u8>>, HardenError> {
    const MAX_FILE: u64 = 1 << 20;
    match paths::read(tree, contents, step.id, MAX_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::NotAFile | ReadError::TooLarge { .. }) => Ok(None),
        Err(cause) => Err(HardenError::Read {
            path: step.path.escape_ascii().to_string(),
            cause,
        }),
    }
}
