//! The small languages of a Dockerfile beside BuildKit's own answers.
//!
//! Each file of `tables/` has our inputs and what BuildKit's packages make of them; its head says which
//! version that was and what the columns mean. `differences.txt` names the rows in which kiln answers
//! otherwise on purpose.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "tables/dump.rs"]
mod dump;
#[path = "tables/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use kiln_dockerfile::ast::{FileOptions, Instruction, Mount, MountKind, Sharing};
use kiln_dockerfile::expand::{ExpandOptions, expand_word, expand_words};
use kiln_dockerfile::gitref::{GitMtime, GitRef};
use kiln_dockerfile::ignore::{Ignore, Matches};
use kiln_dockerfile::mode::Mode;
use kiln_dockerfile::{Dockerfile, line_number, parse};

use table::{check, check_files, show};

const WRONG: &str = "!";

#[test]
fn variables() {
    check("variables", 2, 620, |row, vars| {
        let (mode, text) = (row[0].as_str(), row[1].as_str());
        let escape = if mode.ends_with('`') { '`' } else { '\\' };
        let options = ExpandOptions::word(escape);
        if mode.starts_with('s') {
            return expand_words(text, vars, options)
                .map_or(WRONG.to_owned(), |words| bracket(&words));
        }
        let options = if mode == "h" {
            ExpandOptions::heredoc()
        } else {
            options
        };
        let Ok(expanded) = expand_word(text, vars, options) else {
            return WRONG.to_owned();
        };
        let unset: Vec<String> = expanded.unset.into_iter().collect();
        match (mode, unset.as_slice()) {
            ("h", _) | (_, []) => show(&expanded.text),
            (_, unset) => format!("{}\t{}", show(&expanded.text), unset.join(" ")),
        }
    });
}

fn bracket(words: &[String]) -> String {
    if words.is_empty() {
        return show("");
    }
    let shown = |word: &String| match word.as_str() {
        "" => "⟨⟩".to_owned(),
        word => format!("⟨{}⟩", show(word)),
    };
    words.iter().map(shown).collect()
}

#[test]
fn ignore_patterns() {
    check("ignore", 1, 290, |row, _| match Ignore::parse(&row[0]) {
        Err(_) => WRONG.to_owned(),
        Ok(ignore) => {
            let cells = row[1..].iter().map(|cell| {
                let path = &cell[1..];
                let sign = if is_kept(&ignore, path) { '+' } else { '-' };
                show(&format!("{sign}{path}"))
            });
            let cells: Vec<String> = cells.collect();
            if cells.is_empty() {
                "+".to_owned()
            } else {
                cells.join("\t")
            }
        }
    });
}

/// Whether a walk from the root, which skips directories as kiln's walks do, comes to the file.
fn is_kept(ignore: &Ignore, path: &str) -> bool {
    let mut at: Matches = ignore.root();
    for (end, _) in path.match_indices('/') {
        let dir = &path[..end];
        at = ignore.enter(&at, dir);
        if at.is_ignored() && !ignore.may_include_below(dir) {
            return false;
        }
    }
    !ignore.is_ignored_in(&at, path)
}

#[test]
fn mounts() {
    check("mounts", 1, 170, |row, vars| {
        let text = format!("FROM scratch\nRUN --mount={} true\n", row[0]);
        let (dockerfile, diagnostics) = parse(&text);
        if diagnostics
            .iter()
            .any(kiln_dockerfile::Diagnostic::is_error)
        {
            return WRONG.to_owned();
        }
        let Instruction::Run(run) = &dockerfile.stages[0].commands[0].instruction else {
            panic!("`{text}` is no RUN");
        };
        let options = ExpandOptions::word('\\');
        let mounts: Vec<_> = run.mounts.iter().collect();
        let [flag] = mounts.as_slice() else {
            return WRONG.to_owned();
        };
        flag.resolve(|word| Ok(expand_word(word, vars, options)?.text))
            .map_or(WRONG.to_owned(), |mount| describe_mount(&mount))
    });
}

fn describe_mount(mount: &Mount) -> String {
    let text = |name: &str, value: &Option<String>| match value.as_deref() {
        None | Some("") => String::new(),
        Some(value) => format!(" {name}={}", dump::quote(value)),
    };
    let target = text("target", &mount.target);
    let access = if mount.read_only { " ro" } else { " rw" };
    let needed = |required: &bool| if *required { " required" } else { "" };
    match &mount.kind {
        MountKind::Bind { from, source } => {
            let (from, source) = (text("from", from), text("source", source));
            format!("bind{target}{from}{source}{access}")
        }
        MountKind::Cache {
            id,
            from,
            source,
            sharing,
            owner,
        } => {
            let (id, from, source) = (text("id", id), text("from", from), text("source", source));
            let sharing = match sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            let owner = describe_owner(*owner);
            format!("cache{target}{id}{from}{source} sharing={sharing}{access}{owner}")
        }
        MountKind::Tmpfs { size } => {
            format!("tmpfs{target} size={}{access}", size.unwrap_or(0))
        }
        MountKind::Secret {
            id,
            env,
            required,
            owner,
        } => {
            let id = text("id", id);
            let env = env.as_ref().map(|env| format!(" env={}", dump::quote(env)));
            let (required, owner) = (needed(required), describe_owner(*owner));
            format!(
                "secret{target}{id}{}{access}{required}{owner}",
                env.unwrap_or_default()
            )
        }
        MountKind::Ssh {
            id,
            required,
            owner,
        } => {
            let (id, required) = (text("id", id), needed(required));
            format!(
                "ssh{target}{id}{access}{required}{}",
                describe_owner(*owner)
            )
        }
    }
}

fn describe_owner(owner: FileOptions) -> String {
    let mode = owner.mode.map(|mode| format!(" mode=0{mode:o}"));
    let uid = owner.uid.map(|uid| format!(" uid={uid}"));
    let gid = owner.gid.map(|gid| format!(" gid={gid}"));
    [mode, uid, gid].into_iter().flatten().collect()
}

#[test]
fn modes() {
    const BEFORE: [(u32, bool); 10] = [
        (0o644, false),
        (0o755, false),
        (0o600, false),
        (0o4755, false),
        (0, false),
        (0o7777, false),
        (0o755, true),
        (0o700, true),
        (0o1777, true),
        (0o2644, false),
    ];
    check("modes", 1, 170, |row, _| match row[0].parse::<Mode>() {
        Err(_) => WRONG.to_owned(),
        Ok(mode) => {
            let after =
                BEFORE.map(|(before, is_dir)| format!("{:04o}", mode.apply(before, is_dir)));
            after.join(" ")
        }
    });
}

#[test]
fn instructions() {
    check("instructions", 1, 380, |row, _| {
        let keyword = row[0].split_whitespace().next().unwrap_or_default();
        let is_from = keyword.eq_ignore_ascii_case("from");
        let head = if is_from { "" } else { "FROM scratch\n" };
        let text = format!("{head}{}\n", row[0]);
        let Ok(dockerfile) = read(&text) else {
            return WRONG.to_owned();
        };
        let lines = dump::dump(&dockerfile);
        lines
            .into_iter()
            .nth(usize::from(!is_from))
            .unwrap_or_default()
    });
}

#[test]
fn files() {
    check_files("files", 99, describe_file);
}

#[test]
fn heredocs() {
    check_files("heredocs", 99, describe_file);
}

/// What is in the file, or the lines that have errors.
fn describe_file(text: &str) -> Result<Vec<String>, Vec<usize>> {
    read(text).map(|dockerfile| dump::dump(&dockerfile))
}

fn read(text: &str) -> Result<Dockerfile, Vec<usize>> {
    let (dockerfile, diagnostics) = parse(text);
    let errors = diagnostics.iter().filter(|found| found.is_error());
    let lines: Vec<usize> = errors
        .map(|found| line_number(text, found.span.start))
        .collect();
    if lines.is_empty() {
        Ok(dockerfile)
    } else {
        Err(lines)
    }
}

#[test]
fn git_references() {
    check("gitrefs", 1, 160, |row, _| match GitRef::parse(&row[0]) {
        Err(_) => WRONG.to_owned(),
        Ok(None) => "no".to_owned(),
        Ok(Some(git)) => describe_git(&git),
    });
}

fn describe_git(git: &GitRef) -> String {
    let address = git.remote.with_credentials();
    let address = if git.is_ambiguous {
        address.trim_start_matches("https://").to_owned()
    } else {
        address
    };
    let mut cells = vec![
        format!("remote={address}"),
        format!("name={}", git.remote.short_name()),
    ];
    let mut text = |name: &str, value: Option<&String>| {
        cells.extend(value.map(|value| format!("{name}={value}")));
    };
    text("ref", git.reference.as_ref());
    text("subdir", git.subdir.as_ref());
    text("checksum", git.checksum.as_ref());
    let mtime = (git.mtime == GitMtime::Commit).then(|| "commit".to_owned());
    text("mtime", mtime.as_ref());
    text(
        "keep-git-dir",
        git.keep_git_dir.map(|keep| keep.to_string()).as_ref(),
    );
    text(
        "submodules",
        git.submodules.map(|fetch| fetch.to_string()).as_ref(),
    );
    let marks = [
        (git.fetch_by_commit, "fetch-by-commit"),
        (git.remote.is_unencrypted(), "unencrypted"),
        (git.is_ambiguous, "ambiguous"),
    ];
    let marks = marks.into_iter().filter(|(is_set, _)| *is_set);
    cells.extend(marks.map(|(_, mark)| mark.to_owned()));
    cells.join("\t")
}

/// Variables of a table's `let` lines.
pub(crate) type Lets = BTreeMap<String, String>;

/// Where the tables are.
pub(crate) fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables"))
}
