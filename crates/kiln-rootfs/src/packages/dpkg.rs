//! dpkg's database: `var/lib/dpkg/status`, the lists in `info`, and apt's word on what was asked for.

use std::collections::BTreeSet;

use kiln_disk::{Contents, Tree};

use super::graph::{Atom, Clause, Operator, Package, Provision, Purpose};
use super::{DatabaseError, MAX_DATABASE};
use crate::paths;

/// Where the installed packages are listed.
pub const STATUS: &str = "var/lib/dpkg/status";
/// Where apt says which packages were not asked for.
pub const EXTENDED_STATES: &str = "var/lib/apt/extended_states";

/// A package of the status file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DebPackage {
    /// What the graph wants to know.
    pub package: Package,
    /// `Section`.
    pub section: String,
    /// Whether several architectures of it can be installed at once, so that its lists carry one.
    pub is_same: bool,
    /// Its paragraph of the status file, as a range of bytes that includes the empty line after it.
    pub paragraph: std::ops::Range<usize>,
}

/// The status file, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Its bytes.
    pub text: Vec<u8>,
    /// Every package that has anything on the disk.
    pub packages: Vec<DebPackage>,
}

/// Reads the database; `None` where there is none.
pub fn read(tree: &Tree, contents: &dyn Contents) -> Result<Option<Status>, DatabaseError> {
    let get = |path: &str| {
        paths::read_or_empty(tree, contents, path.as_bytes(), MAX_DATABASE).map_err(|cause| {
            DatabaseError::Read {
                path: path.to_owned(),
                cause,
            }
        })
    };
    let text = get(STATUS)?;
    if text.is_empty() {
        return Ok(None);
    }
    let mut status = parse(text);
    let automatic = automatic(&get(EXTENDED_STATES)?);
    for deb in &mut status.packages {
        let key = (deb.package.name.clone(), deb.package.architecture.clone());
        deb.package.automatic = automatic.contains(&key);
    }
    Ok(Some(status))
}

/// Reads the text of a status file.
pub fn parse(text: Vec<u8>) -> Status {
    let packages = paragraphs(&text)
        .filter_map(|range| {
            let paragraph = String::from_utf8_lossy(&text[range.clone()]);
            deb(&paragraph, range)
        })
        .collect();
    Status { text, packages }
}

/// The paragraphs of a file of fields, as ranges with the empty lines after them.
pub(crate) fn paragraphs(text: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= text.len() {
            return None;
        }
        let mut end = start;
        let mut has_fields = false;
        for line in text[start..].split_inclusive(|byte| *byte == b'\n') {
            let is_empty = line.iter().all(u8::is_ascii_whitespace);
            end += line.len();
            if is_empty && has_fields {
                break;
            }
            has_fields |= !is_empty;
        }
        let range = start..end;
        start = end;
        Some(range)
    })
}

/// The value of a field of one line.
pub(crate) fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn deb(paragraph: &str, range: std::ops::Range<usize>) -> Option<DebPackage> {
    let get = |name| field(paragraph, name).unwrap_or_default();
    let name = field(paragraph, "Package").filter(|name| is_name(name))?;
    let mut status = get("Status").split_ascii_whitespace();
    let (want, _, state) = (status.next(), status.next(), status.next());
    if matches!(state, Some("not-installed" | "config-files") | None) {
        return None;
    }
    let requires = [get("Pre-Depends"), get("Depends")];
    let recommends = [get("Recommends"), get("Suggests")];
    let is_yes = |name| get(name).eq_ignore_ascii_case("yes");
    let multi_arch = get("Multi-Arch");
    Some(DebPackage {
        package: Package {
            name: name.to_owned(),
            architecture: get("Architecture").to_owned(),
            version: get("Version").to_owned(),
            foreign: multi_arch == "foreign",
            requires: requires.iter().flat_map(|text| clauses(text)).collect(),
            recommends: recommends.iter().flat_map(|text| clauses(text)).collect(),
            provides: provisions(get("Provides")),
            pinned: ["Essential", "Important", "Protected"]
                .into_iter()
                .any(is_yes)
                || want == Some("hold")
                || state != Some("installed")
                || get("Priority") == "required",
            automatic: false,
            purpose: purpose(name, get("Section")),
        },
        section: get("Section").to_owned(),
        is_same: multi_arch == "same",
        paragraph: range,
    })
}

/// Names are parts of paths of the database, so they are checked as dpkg does.
pub(crate) fn is_name(name: &str) -> bool {
    let is_valid = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
    };
    name.len() > 1
        && name.len() < 200
        && name.bytes().all(is_valid)
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// By Debian's own sections and habits: `libdevel` and `devel` are compilers, headers and tools that
/// build, `debug` is detached symbols.
fn purpose(name: &str, section: &str) -> Purpose {
    let section = section.rsplit('/').next().unwrap_or_default();
    let ends = ["-dev", "-dbg", "-dbgsym", "-headers", "-static"];
    let is_development = matches!(section, "libdevel" | "devel" | "debug")
        || ends.iter().any(|end| name.ends_with(end))
        || name.starts_with("linux-headers-");
    if is_development {
        Purpose::Development
    } else {
        Purpose::Running
    }
}

/// The clauses of a dependency field: `a (>= 1) | b:any, c`.
pub fn clauses(text: &str) -> Vec<Clause> {
    let clauses = text.split(',').map(str::trim);
    clauses
        .filter(|clause| !clause.is_empty())
        .map(|clause| clause.split('|').filter_map(atom).collect())
        .collect()
}

fn atom(text: &str) -> Option<Atom> {
    let (name, condition) = match text.split_once('(') {
        Some((name, condition)) => (name, Some(condition)),
        None => (text, None),
    };
    // Restrictions in brackets belong to sources.
    let name = name.split_ascii_whitespace().next()?;
    let (name, architecture) = name.split_once(':').unwrap_or((name, ""));
    Some(Atom {
        name: name.to_owned(),
        version: condition.map(version),
        architecture: architecture.to_owned(),
    })
}

fn version(condition: &str) -> (Operator, String) {
    let condition = condition.trim_end_matches([')', ' ', '\t']).trim();
    let at = condition.find(|c: char| !matches!(c, '<' | '>' | '='));
    let (operator, version) = condition.split_at(at.unwrap_or(condition.len()));
    let operator = match operator {
        "<<" => Operator::Earlier,
        "<" | "<=" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">" | ">=" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => Operator::Unknown,
    };
    (operator, version.trim().to_owned())
}

/// What a `Provides` field says.
pub fn provisions(text: &str) -> Vec<Provision> {
    let atoms = clauses(text).into_iter().flatten();
    atoms
        .map(|atom| Provision {
            name: atom.name,
            version: atom.version.map(|(_, version)| version),
        })
        .collect()
}

/// Name and architecture of what apt installed for others.
fn automatic(text: &[u8]) -> BTreeSet<(String, String)> {
    paragraphs(text)
        .filter_map(|range| {
            let paragraph = String::from_utf8_lossy(&text[range]);
            let is_automatic = field(&paragraph, "Auto-Installed") == Some("1");
            let name = field(&paragraph, "Package")?.to_owned();
            let architecture = field(&paragraph, "Architecture")?.to_owned();
            is_automatic.then_some((name, architecture))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_becomes_packages() {
        let text = "\nPackage: libc6\nStatus: install ok installed\nArchitecture: amd64\n\
            Multi-Arch: same\nSection: libs\nVersion: 2.36-9\nDepends: libgcc-s1, crypto:any (>= 1)\n\
            Description: C library\n Depends: no\n\n\
            Package: ../evil\nStatus: install ok installed\n\n\
            Package: gone\nStatus: deinstall ok config-files\n\n\
            Package: zlib1g-dev\nStatus: hold ok installed\nPriority: optional\n\
            Provides: libz-dev (= 1:1.2)\nSection: libdevel";
        let status = parse(text.as_bytes().to_vec());
        let [libc, zlib] = &status.packages[..] else {
            panic!("{:?}", status.packages);
        };
        assert_eq!(libc.package.requires.len(), 2);
        assert_eq!(libc.package.requires[1][0].architecture, "any");
        assert!(libc.is_same && !libc.package.pinned && libc.package.purpose == Purpose::Running);
        assert!(zlib.package.pinned && zlib.package.purpose == Purpose::Development);
        assert_eq!(zlib.package.provides[0].version.as_deref(), Some("1:1.2"));
        assert!(text[zlib.paragraph.clone()].starts_with("Package: zlib1g-dev"));
        assert_eq!(zlib.paragraph.end, text.len());
    }
}
