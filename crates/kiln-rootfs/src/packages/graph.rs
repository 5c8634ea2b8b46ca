//! Which packages can go: those that are asked for, less what the others need.
//!
//! A package that stays keeps what satisfies each of its dependencies. Of several that do, those that
//! stay anyway suffice; if there is none, all are kept, since which one was meant can't be known.
//! What was installed only because something else wanted it goes with the last that wants it.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::version::compare;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// `amd64`, `all`, …; empty where names are enough.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// Whether packages of other architectures may use it: dpkg's `Multi-Arch: foreign` and
    /// `allowed`.
    pub foreign: bool,
    /// What has to be there.
    pub requires: Vec<Clause>,
    /// What should be there; counts only for what nobody asked for.
    pub recommends: Vec<Clause>,
    /// What it is, besides its name.
    pub provides: Vec<Provision>,
    /// Whether it must stay: essential, held, or not properly installed.
    pub pinned: bool,
    /// Whether it came only because another package wanted it.
    pub automatic: bool,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To run: it stays.
    #[default]
    Running,
    /// To build or to debug: it is to be removed.
    Development,
}

/// A dependency: one of these atoms has to be satisfied.
pub type Clause = Vec<Atom>;

/// A name with a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    /// Of a package or of what one provides.
    pub name: String,
    /// The condition.
    pub version: Option<(Operator, String)>,
    /// The architecture that was asked for; empty for the dependent's, `any` for each.
    pub architecture: String,
}

/// Something that a package is besides its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// The name.
    pub name: String,
    /// The version, where one is said; without it no versioned dependency is satisfied.
    pub version: Option<String>,
}

/// How versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
    /// Of a package manager whose versions aren't compared here: every version may do.
    Unknown,
}

/// Why a package goes or stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is for development.
    Development,
    /// It was installed only for packages that go.
    Orphan,
    /// Stays: another package that stays needs it.
    NeededBy(String),
    /// Stays: it is essential, held or not properly installed.
    Pinned,
    /// Stays: the caller said so.
    Kept(String),
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// What goes, by the packages' numbers.
    pub removed: BTreeMap<usize, Reason>,
    /// What is for development and stays.
    pub kept: BTreeMap<usize, Reason>,
}

/// Decides which of `packages` go. `keep` has those that the caller wants to stay, with a reason.
pub fn removable(packages: &[Package], keep: &BTreeMap<usize, String>) -> Removal {
    let index = Index::new(packages);
    let mut kept: BTreeMap<usize, Reason> = BTreeMap::new();
    let stays = |number: usize, package: &Package| {
        if let Some(why) = keep.get(&number) {
            return Some(Reason::Kept(why.clone()));
        }
        (package.pinned || package.purpose == Purpose::Running).then_some(Reason::Pinned)
    };
    for (number, package) in packages.iter().enumerate() {
        if let Some(reason) = stays(number, package) {
            kept.insert(number, reason);
        }
    }
    let requires = |package: usize| &packages[package].requires[..];
    close(&index, &mut kept, requires);
    let development: BTreeSet<usize> = (0..packages.len())
        .filter(|number| !kept.contains_key(number))
        .collect();
    let orphans = orphans(&index, packages, &development, keep);
    let removed = development
        .into_iter()
        .map(|number| (number, Reason::Development))
        .chain(orphans.into_iter().map(|number| (number, Reason::Orphan)))
        .collect();
    kept.retain(|number, _| packages[*number].purpose == Purpose::Development);
    Removal { removed, kept }
}

/// What came only for `gone`: it was wanted by something that goes, directly or through others, and
/// nothing that stays wants it.
fn orphans(
    index: &Index<'_>,
    packages: &[Package],
    gone: &BTreeSet<usize>,
    keep: &BTreeMap<usize, String>,
) -> BTreeSet<usize> {
    let wants = |number: usize| {
        let package = &packages[number];
        package.requires.iter().chain(&package.recommends)
    };
    let mut wanted_by_gone = gone.clone();
    let mut pending: Vec<usize> = gone.iter().copied().collect();
    while let Some(number) = pending.pop() {
        for clause in wants(number) {
            for found in index.satisfying(&packages[number], clause) {
                if packages[found].automatic && wanted_by_gone.insert(found) {
                    pending.push(found);
                }
            }
        }
    }
    let may_go = |number: &usize| {
        let package = &packages[*number];
        package.automatic && !package.pinned && !keep.contains_key(number)
    };
    let mut stays: BTreeMap<usize, Reason> = (0..packages.len())
        .filter(|number| !gone.contains(number))
        .filter(|number| !(wanted_by_gone.contains(number) && may_go(number)))
        .map(|number| (number, Reason::Pinned))
        .collect();
    let all: Vec<Vec<Clause>> = (0..packages.len())
        .map(|number| wants(number).cloned().collect())
        .collect();
    close(index, &mut stays, |number| &all[number]);
    let goes = wanted_by_gone.into_iter();
    goes.filter(|number| !gone.contains(number) && !stays.contains_key(number))
        .collect()
}

/// Adds to `kept` what its members need, until nothing is missing.
fn close<'a>(
    index: &Index<'a>,
    kept: &mut BTreeMap<usize, Reason>,
    needs: impl Fn(usize) -> &'a [Clause],
) {
    let mut pending: Vec<usize> = kept.keys().copied().collect();
    while let Some(number) = pending.pop() {
        let package = &index.packages[number];
        for clause in needs(number) {
            let satisfying = index.satisfying(package, clause);
            if !clause.iter().any(Atom::is_vague)
                && satisfying.iter().any(|found| kept.contains_key(found))
            {
                continue;
            }
            for found in satisfying {
                if let Entry::Vacant(entry) = kept.entry(found) {
                    entry.insert(Reason::NeededBy(package.name.clone()));
                    pending.push(found);
                }
            }
        }
    }
}

/// The packages by what they are.
struct Index<'a> {
    packages: &'a [Package],
    by_name: BTreeMap<&'a str, Vec<(usize, Option<&'a str>)>>,
}

impl<'a> Index<'a> {
    fn new(packages: &'a [Package]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<(usize, Option<&str>)>> = BTreeMap::new();
        for (number, package) in packages.iter().enumerate() {
            let own = (number, Some(package.version.as_str()));
            by_name.entry(&package.name).or_default().push(own);
            for provision in &package.provides {
                let provided = (number, provision.version.as_deref());
                by_name.entry(&provision.name).or_default().push(provided);
            }
        }
        Self { packages, by_name }
    }

    /// The packages that satisfy a clause of `dependent`, each once.
    fn satisfying(&self, dependent: &Package, clause: &[Atom]) -> Vec<usize> {
        let mut found = Vec::new();
        for atom in clause {
            let known = self.by_name.get(atom.name.as_str());
            for (number, version) in known.into_iter().flatten() {
                let fits =
                    atom.accepts(*version) && atom.is_for(dependent, &self.packages[*number]);
                if fits && !found.contains(number) {
                    found.push(*number);
                }
            }
        }
        found
    }
}

impl Atom {
    fn is_vague(&self) -> bool {
        matches!(self.version, Some((Operator::Unknown, _)))
    }

    fn accepts(&self, version: Option<&str>) -> bool {
        let Some((operator, wanted)) = &self.version else {
            return true;
        };
        let Some(version) = version else {
            return *operator == Operator::Unknown;
        };
        let order = compare(version, wanted);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
            Operator::Unknown => true,
        }
    }

    fn is_for(&self, dependent: &Package, package: &Package) -> bool {
        match self.architecture.as_str() {
            "any" => true,
            "" => {
                package.foreign
                    || [&package.architecture, &dependent.architecture]
                        .iter()
                        .any(|architecture| *architecture == "all")
                    || package.architecture == dependent.architecture
            }
            architecture => package.architecture == architecture,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packages, one a line: `[-][*][!]name version: requires; recommends; provides`, where `-` is
    /// for development, `*` for automatic, `!` for pinned.
    fn parse(text: &str) -> Vec<Package> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let (head, rest) = line.split_once(':').unwrap_or((line, ""));
                let name = head.trim_start_matches(['-', '*', '!']);
                let flags = &head[..head.len() - name.len()];
                let (name, version) = name.split_once(' ').unwrap_or((name, "1"));
                let mut parts = rest.splitn(3, ';').map(str::trim);
                let mut clauses = || super::super::dpkg::clauses(parts.next().unwrap_or(""));
                let (requires, recommends) = (clauses(), clauses());
                Package {
                    name: name.to_owned(),
                    version: version.to_owned(),
                    requires,
                    recommends,
                    provides: super::super::dpkg::provisions(parts.next().unwrap_or("")),
                    pinned: flags.contains('!'),
                    automatic: flags.contains('*'),
                    purpose: if flags.contains('-') {
                        Purpose::Development
                    } else {
                        Purpose::Running
                    },
                    ..Package::default()
                }
            })
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let packages = parse(text);
        let removal = removable(&packages, &BTreeMap::new());
        let names: Vec<String> = removal
            .removed
            .iter()
            .map(|(number, reason)| {
                let mark = if *reason == Reason::Orphan { "*" } else { "" };
                format!("{mark}{}", packages[*number].name)
            })
            .collect();
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn what_the_others_need_stays() {
        check("app: libx\n libx\n -x-dev: libx", "x-dev");
        check("app: x-dev\n -x-dev: -y-dev\n -y-dev", "y-dev");
        check("app: x-dev\n -x-dev: y-dev\n -y-dev", "");
        check("app: x-dev | y\n -x-dev\n y", "x-dev");
        check("app: x-dev | y\n -x-dev", "");
        check("app: cc\n -gcc: ; ; cc", "");
        check("app: cc (>= 2)\n -gcc: ; ; cc\n clang: ; ; cc (= 1)", "gcc");
        check("app: x (>= 2)\n -x 3\n y: ; ; x (= 1)", "");
        check("!-x: y\n -y\n -z", "z");
    }

    #[test]
    fn what_came_only_for_what_goes_goes_too() {
        check("-gcc: libcc\n *libcc: libm\n *libm", "gcc *libcc *libm");
        check(
            "-gcc: libcc\n *libcc: libm\n *libm\n app: libm",
            "gcc *libcc",
        );
        check("-gcc: libcc\n *libcc\n app: ; libcc", "gcc");
        check("-gcc: libcc\n libcc", "gcc");
        check("-gcc: libcc\n *!libcc", "gcc");
        // Nothing wanted it before: it is not what was asked for.
        check("-gcc\n *libother", "gcc");
        check("-gcc: a\n *a: b\n *b: a", "gcc *a *b");
    }
}
