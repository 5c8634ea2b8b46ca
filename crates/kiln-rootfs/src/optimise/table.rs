//! Where the things are that rules take away: a table of paths.
//!
//! A pattern is names joined by slashes; `*` stands for any text within a name, and `~` at the begin
//! for each user's home.

use std::collections::BTreeSet;

use kiln_disk::{Contents, Tree};

use super::rules::Rule;
use crate::paths;

/// How what a pattern names is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// It, and all that is below it.
    Whole,
    /// The files below it, whatever they are; directories stay, since services expect them.
    Files,
    /// All that is below it.
    Below,
    /// The content of the files below it; rotated ones go.
    Content,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) rule: Rule,
    pub(super) take: Take,
    pub(super) names: Vec<Box<[u8]>>,
}

const TABLE: &[(Rule, Take, &[&str])] = {
    use Rule::{DebugSymbols, DevelopmentFiles, Documentation, Logs, PackageCaches, Temporary};
    &[
        (
            PackageCaches,
            Take::Files,
            &[
                "var/lib/apt/lists",
                "var/cache/apt",
                "var/cache/apk",
                "etc/apk/cache",
                "var/cache/dnf",
                "var/cache/libdnf5",
                "var/cache/yum",
                "var/cache/PackageKit",
                "var/cache/zypp",
                "var/cache/pacman/pkg",
                "var/cache/xbps",
                "var/cache/ldconfig",
                "var/cache/man",
                "var/cache/fontconfig",
                "var/cache/swcatalog",
            ],
        ),
        (
            PackageCaches,
            Take::Whole,
            &[
                "var/cache/debconf/*-old",
                "var/lib/dpkg/*-old",
                "~/.cache/pip",
                "~/.cache/uv",
                "~/.cache/pipenv",
                "~/.cache/pypoetry/cache",
                "~/.cache/pypoetry/artifacts",
                "~/.cache/yarn",
                "~/.cache/pnpm",
                "~/.cache/node-gyp",
                "~/.cache/go-build",
                "~/.cache/composer",
                "~/.cache/electron",
                "~/.composer/cache",
                "~/.npm/_cacache",
                "~/.npm/_logs",
                "~/.npm/_npx",
                "~/.node-gyp",
                "~/.bun/install/cache",
                "~/.bundle/cache",
                "~/.cargo/registry/cache",
                "~/.cargo/registry/index",
                "~/.cargo/registry/src",
                "~/.cargo/git/db",
                "~/.cargo/git/checkouts",
                "~/.gradle/caches",
                "~/.gradle/daemon",
                "~/.conda/pkgs",
                "~/go/pkg/mod/cache",
                "go/pkg/mod/cache",
                "usr/local/share/.cache/yarn",
                "usr/local/cargo/registry/cache",
                "usr/local/cargo/registry/index",
                "usr/local/cargo/registry/src",
                "usr/local/cargo/git/db",
                "usr/local/cargo/git/checkouts",
                "usr/local/bundle/cache",
                "usr/local/lib/ruby/gems/*/cache",
                "usr/lib/ruby/gems/*/cache",
                "var/lib/gems/*/cache",
                "opt/conda/pkgs",
            ],
        ),
        (Logs, Take::Content, &["var/log"]),
        (Temporary, Take::Below, &["tmp", "var/tmp"]),
        (
            Documentation,
            Take::Files,
            // Installing some packages needs the directories of manuals.
            &[
                "usr/share/man",
                "usr/local/share/man",
                "usr/local/man",
                "usr/share/info",
                "usr/local/share/info",
            ],
        ),
        (
            Documentation,
            Take::Below,
            &[
                "usr/share/doc",
                "usr/local/share/doc",
                "usr/share/gtk-doc",
                "usr/share/help",
                "usr/share/doc-base",
                "usr/share/lintian",
            ],
        ),
        (
            DevelopmentFiles,
            Take::Below,
            &[
                "usr/include",
                "usr/local/include",
                "usr/share/aclocal",
                "usr/local/share/aclocal",
                "usr/lib/pkgconfig",
                "usr/lib/*/pkgconfig",
                "usr/local/lib/pkgconfig",
                "usr/share/pkgconfig",
                "usr/lib/cmake",
                "usr/lib/*/cmake",
                "usr/local/lib/cmake",
            ],
        ),
        (DebugSymbols, Take::Below, &["usr/lib/debug"]),
    ]
};

/// The rows of the rules in `rules`, for the homes of `tree`.
pub(super) fn rows(tree: &Tree, contents: &dyn Contents, rules: &BTreeSet<Rule>) -> Vec<Row> {
    let homes = homes(tree, contents);
    let mut rows = Vec::new();
    for (rule, take, patterns) in TABLE {
        if !rules.contains(rule) {
            continue;
        }
        for pattern in *patterns {
            match pattern.strip_prefix("~/") {
                Some(rest) => {
                    rows.extend(homes.iter().map(|home| row(*rule, *take, home, rest)));
                }
                None => rows.push(row(*rule, *take, b"", pattern)),
            }
        }
    }
    rows
}

fn row(rule: Rule, take: Take, home: &[u8], pattern: &str) -> Row {
    let home = home.split(|byte| *byte == b'/');
    let pattern = pattern.as_bytes().split(|byte| *byte == b'/');
    let names = home.chain(pattern).filter(|name| !name.is_empty());
    Row {
        rule,
        take,
        names: names.map(Box::from).collect(),
    }
}

/// Where users are at home, as paths without links: what `/etc/passwd` says, `/root`, everything in
/// `/home`, and the root itself, which is the home of users that have none.
pub(crate) fn homes(tree: &Tree, contents: &dyn Contents) -> BTreeSet<Vec<u8>> {
    const MAX_PASSWD: u64 = 1 << 20;
    const MAX_HOMES: usize = 1000;
    let mut homes = BTreeSet::from([Vec::new(), b"root".to_vec()]);
    // An unreadable file only means that fewer homes are known.
    let passwd = paths::read_or_empty(tree, contents, b"etc/passwd", MAX_PASSWD);
    for line in passwd.unwrap_or_default().split(|byte| *byte == b'\n') {
        let Some(home) = line.split(|byte| *byte == b':').nth(5) else {
            continue;
        };
        // A `*` would be a pattern.
        if home.starts_with(b"/") && !home.contains(&b'*') && homes.len() < MAX_HOMES {
            let found = paths::find(tree, b"", home, paths::Last::Follow);
            homes.extend(found.map(|found| found.path));
        }
    }
    if let Some(all) = paths::lookup(tree, b"home") {
        let names = tree.entries(all).iter().take(MAX_HOMES);
        let names = names.filter(|entry| !entry.name.contains(&b'*'));
        homes.extend(names.map(|entry| paths::join(b"home", &entry.name)));
    }
    homes
}

/// Whether a name fits one of a pattern's names.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return pattern == name;
    };
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
}
