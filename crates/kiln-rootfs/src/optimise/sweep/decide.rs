//! What happens to one name.

use std::collections::BTreeSet;

use kiln_disk::{Node, NodeId, Tree};

use super::super::options::{Options, Patterns};
use super::super::rules::Rule;
use super::super::table::{Row, Take};
use crate::paths;

/// What all names in a directory have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) rule: Rule,
    pub(super) take: Taken,
}

/// How names in a claimed directory are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All.
    All,
    /// All but directories.
    Files,
    /// The content of files.
    Content,
    /// Byte code whose source is in the directory above.
    ByteCode,
}

/// What to do with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// A directory: look into it.
    Enter {
        claim: Option<Claim>,
        doomed: Option<Rule>,
    },
    Keep,
    Remove(Rule),
    Empty(Rule),
}

/// A name, and what is known of it.
pub(super) struct Entry<'a> {
    pub(super) tree: &'a Tree,
    pub(super) path: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) id: NodeId,
    pub(super) parent: NodeId,
    /// The directory of the directory.
    pub(super) above: Option<NodeId>,
    pub(super) inherited: Option<Claim>,
    /// The row of the table that names it.
    pub(super) completed: Option<usize>,
    pub(super) is_excluded: bool,
    pub(super) is_preserved: bool,
}

/// All that names are compared with.
pub(super) struct Names<'a> {
    pub(super) rows: Vec<Row>,
    pub(super) options: &'a Options,
    pub(super) patterns: &'a Patterns,
    /// Files for building that belong to packages that stay.
    pub(super) owned: BTreeSet<Vec<u8>>,
}

impl Names<'_> {
    pub(super) fn is_complete(&self, row: usize, names: usize) -> bool {
        self.rows[row].names.len() == names
    }

    pub(super) fn decide(&self, entry: &Entry<'_>) -> Decision {
        let claim = self.claim(entry);
        let node = &entry.tree.inode(entry.id).node;
        if matches!(node, Node::Directory(_)) {
            return self.decide_directory(entry, claim);
        }
        if entry.is_preserved {
            return Decision::Keep;
        }
        let decision = match claim {
            Some(claim) => self.decide_file(entry, claim),
            None => self.decide_by_name(entry),
        };
        match decision {
            Decision::Remove(_) => decision,
            _ if entry.is_excluded => Decision::Remove(Rule::Excluded),
            _ => decision,
        }
    }

    /// The claim on the name itself, and for a directory on what is in it.
    fn claim(&self, entry: &Entry<'_>) -> Option<Claim> {
        let named = entry.completed.map(|row| &self.rows[row]);
        let named = named
            .filter(|row| row.take == Take::Whole)
            .map(|row| Claim {
                rule: row.rule,
                take: Taken::All,
            });
        let inherited = entry.inherited;
        let claim = inherited.or(named)?;
        let is_kept = match claim.rule {
            Rule::Documentation => is_licence(entry.name),
            Rule::DevelopmentFiles => {
                entry.name == b"pyconfig.h" || self.owned.contains(entry.path)
            }
            _ => false,
        };
        (!is_kept).then_some(claim)
    }

    fn decide_directory(&self, entry: &Entry<'_>, claim: Option<Claim>) -> Decision {
        if entry.is_excluded && !entry.is_preserved {
            // A pattern with `!` may include something below again, so each name is asked.
            return Decision::Enter {
                claim: None,
                doomed: Some(Rule::Excluded),
            };
        }
        if let Some(claim) = claim {
            let doomed = (claim.take == Taken::All).then_some(claim.rule);
            return Decision::Enter {
                claim: Some(claim),
                doomed,
            };
        }
        let is_claimed_licence = entry.inherited.is_some();
        if let Some(row) = entry.completed.filter(|_| !is_claimed_licence) {
            let row = &self.rows[row];
            let take = match row.take {
                Take::Whole | Take::Below => Taken::All,
                Take::Files => Taken::Files,
                Take::Content => Taken::Content,
            };
            let claim = Some(Claim {
                rule: row.rule,
                take,
            });
            return Decision::Enter {
                claim,
                doomed: None,
            };
        }
        self.decide_directory_by_name(entry)
    }

    fn decide_directory_by_name(&self, entry: &Entry<'_>) -> Decision {
        let has = |rule| self.options.rules.contains(&rule);
        if has(Rule::ByteCode) && entry.name == b"__pycache__" {
            return Decision::Enter {
                claim: Some(Claim {
                    rule: Rule::ByteCode,
                    take: Taken::ByteCode,
                }),
                doomed: Some(Rule::ByteCode),
            };
        }
        if has(Rule::Locales) && self.is_unwanted_locale(entry) {
            return Decision::Enter {
                claim: Some(Claim {
                    rule: Rule::Locales,
                    take: Taken::All,
                }),
                doomed: Some(Rule::Locales),
            };
        }
        Decision::Enter {
            claim: None,
            doomed: None,
        }
    }

    fn decide_file(&self, entry: &Entry<'_>, claim: Claim) -> Decision {
        let node = &entry.tree.inode(entry.id).node;
        match claim.take {
            Taken::All | Taken::Files => {
                // Many packages share the directory of another: see `unlink_dangling`.
                let is_shared = claim.rule == Rule::Documentation
                    && matches!(node, Node::Symlink(_))
                    && entry.path.strip_prefix(b"usr/share/doc/") == Some(entry.name);
                if is_shared {
                    return Decision::Keep;
                }
                Decision::Remove(claim.rule)
            }
            Taken::Content => match node {
                Node::File(_) if is_rotated(entry.name) => Decision::Remove(claim.rule),
                Node::File(file) if file.size > 0 => Decision::Empty(claim.rule),
                _ => Decision::Keep,
            },
            Taken::ByteCode => {
                let stem = entry.name.split(|byte| *byte == b'.').next();
                let is_code = ends_with_any(entry.name, &[b".pyc", b".pyo"]);
                match (stem, entry.above) {
                    (Some(stem), Some(above))
                        if is_code && self.has_source(entry, above, stem, 2) =>
                    {
                        Decision::Remove(Rule::ByteCode)
                    }
                    _ => Decision::Keep,
                }
            }
        }
    }

    fn decide_by_name(&self, entry: &Entry<'_>) -> Decision {
        let rules = &self.options.rules;
        if rules.contains(&Rule::ByteCode)
            && ends_with_any(entry.name, &[b".pyc", b".pyo"])
            && self.has_source(entry, entry.parent, &entry.name[..entry.name.len() - 4], 1)
        {
            return Decision::Remove(Rule::ByteCode);
        }
        let is_library = || {
            let libraries = [&b"usr/lib"[..], b"usr/local/lib", b"lib"];
            entry.name.ends_with(b".a")
                && entry.inherited.is_none()
                && libraries.iter().any(|start| entry.path.starts_with(start))
                && !self.owned.contains(entry.path)
        };
        if rules.contains(&Rule::DevelopmentFiles) && is_library() {
            return Decision::Remove(Rule::DevelopmentFiles);
        }
        Decision::Keep
    }

    /// Whether `directory` has the source `stem.py`, and keeps it. The directory is the one that is
    /// left when `up` names are taken off the path.
    fn has_source(&self, entry: &Entry<'_>, directory: NodeId, stem: &[u8], up: usize) -> bool {
        let name = [stem, b".py"].concat();
        let Some(id) = entry.tree.child(directory, &name) else {
            return false;
        };
        let mut path = entry.path;
        for _ in 0..up {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            path = &path[..end];
        }
        let path = paths::join(path, &name);
        let is_file = matches!(entry.tree.inode(id).node, Node::File(_));
        let is_excluded = self
            .patterns
            .exclude
            .matches(&String::from_utf8_lossy(&path));
        is_file && (!is_excluded || self.patterns.preserves(&path))
    }

    fn is_unwanted_locale(&self, entry: &Entry<'_>) -> bool {
        let folders = [
            &b"usr/share/locale/"[..],
            b"usr/local/share/locale/",
            b"usr/lib/locale/",
        ];
        let is_there = folders
            .iter()
            .any(|folder| entry.path.strip_prefix(*folder) == Some(entry.name));
        is_there && is_unwanted(entry.name, &self.options.locales)
    }
}

/// Whether a directory is of a locale that is none of `wanted`.
fn is_unwanted(name: &[u8], wanted: &[String]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let plain = base(name);
    let (language, country) = plain.split_once('_').unwrap_or((plain, ""));
    let is_locale =
        (2..=3).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    is_locale
        && !wanted.iter().any(|wanted| {
            let (wanted_language, wanted_country) =
                base(wanted).split_once('_').unwrap_or((base(wanted), ""));
            wanted_language == language
                && (wanted_country.is_empty() || country.is_empty() || wanted_country == country)
        })
}

/// `de_DE` of `de_DE.UTF-8@euro`.
fn base(locale: &str) -> &str {
    locale.split(['.', '@']).next().unwrap_or_default()
}

/// Whether a file's or directory's name says that it is about what others may do with the work.
fn is_licence(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let begins = [
        &b"copyright"[..],
        b"license",
        b"licence",
        b"copying",
        b"notice",
        b"legal",
        b"eula",
        b"patents",
    ];
    begins.iter().any(|begin| name.starts_with(begin))
}

/// Whether a log is one that nobody writes any more, or has a format in which empty is no log.
fn is_rotated(name: &[u8]) -> bool {
    let extension = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let is_number = !extension.is_empty() && extension.iter().all(u8::is_ascii_digit);
    let ends: [&[u8]; 6] = [b".gz", b".xz", b".bz2", b".zst", b".old", b".journal"];
    (is_number && extension.len() < name.len()) || ends_with_any(name, &ends)
}

fn ends_with_any(name: &[u8], ends: &[&[u8]]) -> bool {
    ends.iter().any(|end| name.ends_with(end))
}
