//! `cargo xtask tidy`: what the compiler and clippy can't see.
//!
//! Ranks of crates and licences come from `cargo metadata`; the rest reads the files themselves.
//! Each problem is one line that says which file, and what to do.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ranks;
use crate::run::{self, Outcome};

/// Longer files are split by noun.
const MAX_LINES: usize = 900;

/// Licences that a dependency may have; `deny.toml` holds the same list.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Folders and files that are looked at. Everything else at the top is not ours.
const OURS: &[&str] = &[
    ".ci", "benches", "crates", "docs", "examples", "fuzz", "testkit", "tests", "xtask",
];

/// Texts that don't belong in a file of this repository, split so that this table does not find
/// itself.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["/wo", "rk/main"], "a path of one machine"),
    (&["/wo", "rk/shared"], "a path of one machine"),
    (&["/wo", "rk/notes"], "a path of one machine"),
    (&["/root", "/.cargo"], "a path of one machine"),
    (&["todo", "!("], "unfinished code"),
    (&["unimplemented", "!("], "unfinished code"),
    (&["dbg", "!("], "a debugging aid"),
    (
        &["#[ign", "ore"],
        "a test that never runs; skip it loudly when it can't run",
    ),
    (
        &["#[should_", "panic"],
        "a test of a panic; return an error and check that",
    ),
    (
        &["#[al", "low("],
        "`#[expect(…, reason = …)]` says why and when it is no longer needed",
    ),
    (&["<<<<", "<<< "], "a merge conflict"),
];

/// Runs all checks and prints every problem.
pub(crate) fn tidy() -> Outcome {
    let metadata = run::read(&mut run::cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
    ]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("`cargo metadata`: {error}"))?;
    let mut problems = ranks::problems(&metadata);
    problems.extend(licence_problems(&metadata));
    problems.extend(lint_table_problems()?);
    problems.extend(crate_list_problems()?);
    let files = files()?;
    for path in &files {
        let Ok(text) = fs::read_to_string(run::root().join(path)) else {
            continue; // not text
        };
        problems.extend(file_problems(path, &text));
    }
    if problems.is_empty() {
        eprintln!("tidy: {} files, no problem", files.len());
        return Ok(());
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    Err(format!("tidy found {} problems", problems.len()))
}

/// Every file of ours, relative to the top, sorted.
fn files() -> Outcome<Vec<PathBuf>> {
    let top = run::root();
    let mut pending: Vec<PathBuf> = OURS.iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    for entry in entries(&top)? {
        if top.join(&entry).is_file() {
            files.push(entry);
        }
    }
    while let Some(folder) = pending.pop() {
        if !top.join(&folder).is_dir() {
            continue;
        }
        for name in entries(&top.join(&folder))? {
            let path = folder.join(name);
            let kind = top.join(&path).symlink_metadata();
            match kind.map(|kind| kind.file_type()) {
                Ok(kind) if kind.is_dir() => pending.push(path),
                Ok(kind) if kind.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    let built = |path: &PathBuf| path.starts_with("fuzz/target") || path.starts_with("fuzz/corpus");
    files.retain(|path| !built(path) && path != Path::new("Cargo.lock"));
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |error| format!("could not list `{}`: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(PathBuf::from(entry.map_err(failed)?.file_name()));
    }
    Ok(names)
}

fn file_problems(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut problems = Vec::new();
    for (parts, what) in FORBIDDEN {
        let word = parts.concat();
        if let Some(line) = text.lines().position(|line| line.contains(&word)) {
            problems.push(format!("{shown}:{}: `{word}` is {what}", line + 1));
        }
    }
    if path.extension().is_some_and(|extension| extension == "rs") {
        problems.extend(source_problems(path, text));
    }
    if path.extension().is_some_and(|extension| extension == "md") {
        problems.extend(dead_links(path, text));
    }
    problems
}

fn source_problems(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut problems = Vec::new();
    if !text.trim_start().starts_with("//!") {
        problems.push(format!(
            "{shown}: begins without a `//!` header that says what it is for"
        ));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        problems.push(format!(
            "{shown}: {lines} lines; above {MAX_LINES} a file is split by noun"
        ));
    }
    if !path.starts_with("crates/kiln-sys") {
        let opens = |line: &str| {
            let code = line.split("//").next().unwrap_or_default();
            let word = concat!("uns", "afe ");
            ["{", "fn ", "impl ", "extern "]
                .iter()
                .any(|next| code.contains(&format!("{word}{next}")))
        };
        if let Some(line) = text.lines().position(opens) {
            problems.push(format!(
                "{shown}:{}: unsafe code outside kiln-sys",
                line + 1
            ));
        }
    }
    problems
}

/// Links of a Markdown file to files that are not there.
fn dead_links(path: &Path, text: &str) -> Vec<String> {
    let folder = run::root().join(path.parent().unwrap_or(Path::new("")));
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for link in line.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap_or_default();
            let local = !target.is_empty() && !target.contains(':');
            if local && !folder.join(target).exists() {
                problems.push(format!(
                    "{}:{}: links to `{target}`, which is not there",
                    path.display(),
                    index + 1
                ));
            }
        }
    }
    problems
}

fn licence_problems(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array();
    let mut problems = Vec::new();
    for package in packages.into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if ranks::is_ours(package) && licence != "Apache-2.0" {
            problems.push(format!("crate `{name}` has to be under Apache-2.0"));
        }
        if !licence_is_allowed(licence) {
            problems.push(format!(
                "crate `{name}` is under `{licence}`, which is not allowed"
            ));
        }
    }
    problems
}

/// Whether some way of reading the expression needs allowed licences only.
///
/// Knows `OR`, `AND`, the old `/`, and brackets around the parts of an `AND`.
fn licence_is_allowed(expression: &str) -> bool {
    let part_is_allowed = |part: &str| {
        let part = part.trim().trim_matches(['(', ')']).trim();
        LICENCES.contains(&part)
    };
    if expression.contains('(') {
        return expression.split(" AND ").all(|part| {
            licence_is_allowed(part.trim().trim_start_matches('(').trim_end_matches(')'))
        });
    }
    expression
        .replace('/', " OR ")
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(part_is_allowed))
}

/// Every crate takes the workspace's lints; kiln-sys has its own table because of `unsafe`.
fn lint_table_problems() -> Outcome<Vec<String>> {
    let mut problems = Vec::new();
    let manifests = files()?
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml"));
    for path in manifests {
        let nested = path.components().count() > 1;
        if !nested || path.starts_with("crates/kiln-sys") || path.starts_with("fuzz") {
            continue;
        }
        let text = fs::read_to_string(run::root().join(&path))
            .map_err(|error| format!("could not read `{}`: {error}", path.display()))?;
        if !text.contains("[lints]\nworkspace = true") {
            problems.push(format!(
                "{}: lacks `[lints] workspace = true`",
                path.display()
            ));
        }
    }
    Ok(problems)
}

/// `crates/README.md` has one line for each crate, and the folder is named as the crate.
fn crate_list_problems() -> Outcome<Vec<String>> {
    let list = run::root().join("crates/README.md");
    let list = fs::read_to_string(&list)
        .map_err(|error| format!("could not read `crates/README.md`: {error}"))?;
    let mut problems = Vec::new();
    for name in entries(&run::root().join("crates"))? {
        let name = name.display().to_string();
        let folder = run::root().join("crates").join(&name);
        if folder.is_dir() && !list.contains(&format!("`{name}`")) {
            problems.push(format!("crates/README.md: lacks a line for `{name}`"));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        assert!(licence_is_allowed("MIT OR Apache-2.0"));
        assert!(licence_is_allowed("MIT/Apache-2.0"));
        assert!(licence_is_allowed("GPL-3.0 OR MIT"));
        assert!(licence_is_allowed("ISC AND (Apache-2.0 OR ISC)"));
        assert!(licence_is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(licence_is_allowed(
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"
        ));
        assert!(!licence_is_allowed("GPL-3.0"));
        assert!(!licence_is_allowed("MIT AND GPL-3.0"));
        assert!(!licence_is_allowed("(GPL-2.0 OR GPL-3.0) AND MIT"));
        assert!(!licence_is_allowed(""));
    }

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(file_problems(Path::new(path), text), expected);
    }

    #[test]
    fn a_source_file_needs_a_header() {
        check("crates/a/src/b.rs", "//! What it is.\n\nfn b() {}\n", &[]);
        check(
            "crates/a/src/b.rs",
            "fn b() {}\n",
            &["crates/a/src/b.rs: begins without a `//!` header that says what it is for"],
        );
    }

    #[test]
    fn unsafe_code_is_for_one_crate() {
        let text = format!("//! Header.\n{} {{ f() }}\n", concat!("uns", "afe"));
        check("crates/kiln-sys/src/a.rs", &text, &[]);
        check(
            "crates/kiln/src/a.rs",
            &text,
            &["crates/kiln/src/a.rs:2: unsafe code outside kiln-sys"],
        );
    }

    #[test]
    fn machine_paths_are_found_in_any_file() {
        let text = format!("see {}/plan", concat!("/wo", "rk/notes"));
        let problem = format!(
            "README.md:1: `{}` is a path of one machine",
            concat!("/wo", "rk/notes")
        );
        check("README.md", &text, &[&problem]);
    }
}
