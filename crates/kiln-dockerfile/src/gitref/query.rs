//! The options in the query of a git address.

use super::url::{clean, decode};
use super::{GitMtime, GitRef, GitRefError};

/// What has been read of a query so far, as far as the reference itself does not have it.
#[derive(Debug, Default)]
pub(super) struct Query {
    seen: Vec<String>,
    tag: Option<String>,
    branch: Option<String>,
}

impl Query {
    /// Reads the options of `query` into `result`, which has what the fragment said.
    pub(super) fn apply(mut self, query: &str, result: &mut GitRef) -> Result<(), GitRefError> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if pair.contains(';') {
                return Err(GitRefError::Encoding(pair.to_owned()));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |text: &str| {
                decode(&text.replace('+', " "))
                    .ok_or_else(|| GitRefError::Encoding(text.to_owned()))
            };
            let (name, value) = (text(name)?, text(value)?);
            if self.seen.contains(&name) {
                return Err(GitRefError::Repeated(name));
            }
            self.option(&name, value, result)?;
            self.seen.push(name);
        }
        self.finish(result)
    }

    fn option(
        &mut self,
        name: &str,
        value: String,
        result: &mut GitRef,
    ) -> Result<(), GitRefError> {
        match name {
            "keep-git-dir" => result.keep_git_dir = Some(switch("keep-git-dir", &value)?),
            "submodules" => result.submodules = Some(switch("submodules", &value)?),
            "fetch-by-commit" => result.fetch_by_commit = switch("fetch-by-commit", &value)?,
            "ref" | "tag" | "branch" | "subdir" | "checksum" | "commit" | "mtime"
                if value.is_empty() =>
            {
                return Err(GitRefError::NoValue(name.to_owned()));
            }
            "ref" => agree("ref", &mut result.reference, value)?,
            "tag" => self.tag = Some(qualified("refs/tags/", value)),
            "branch" => self.branch = Some(qualified("refs/heads/", value)),
            "subdir" => {
                if let Some(subdir) = clean(&value) {
                    agree("subdir", &mut result.subdir, subdir)?;
                }
            }
            "checksum" | "commit" => {
                let checksum = parse_checksum(&value)?;
                agree("checksum", &mut result.checksum, checksum)?;
            }
            "mtime" => result.mtime = mtime(value)?,
            _ => return Err(GitRefError::UnknownOption(name.to_owned())),
        }
        Ok(())
    }

    /// Tag and branch are full names, so they are compared with the other names at the end.
    fn finish(self, result: &mut GitRef) -> Result<(), GitRefError> {
        if let (Some(tag), Some(branch)) = (&self.tag, &self.branch) {
            return Err(GitRefError::Conflict {
                what: "ref",
                first: tag.clone(),
                second: branch.clone(),
            });
        }
        match self.tag.or(self.branch) {
            Some(name) => agree("ref", &mut result.reference, name),
            None => Ok(()),
        }
    }
}

fn agree(what: &'static str, known: &mut Option<String>, new: String) -> Result<(), GitRefError> {
    match known {
        Some(first) if *first != new => Err(GitRefError::Conflict {
            what,
            first: first.clone(),
            second: new,
        }),
        _ => {
            *known = Some(new);
            Ok(())
        }
    }
}

fn qualified(prefix: &str, name: String) -> String {
    if name.starts_with(prefix) {
        name
    } else {
        format!("{prefix}{name}")
    }
}

/// A commit hash or its beginning, in lower case.
pub fn parse_checksum(text: &str) -> Result<String, GitRefError> {
    let is_hash = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hash {
        return Err(GitRefError::Value {
            option: "checksum",
            value: text.to_owned(),
            expected: "it is a commit's hash or its beginning, in hexadecimal digits",
        });
    }
    Ok(text.to_ascii_lowercase())
}

fn mtime(value: String) -> Result<GitMtime, GitRefError> {
    match value.as_str() {
        "checkout" => Ok(GitMtime::Checkout),
        "commit" => Ok(GitMtime::Commit),
        _ => Err(GitRefError::Value {
            option: "mtime",
            value,
            expected: "it is `checkout` or `commit`",
        }),
    }
}

/// A switch without a value is on.
fn switch(option: &'static str, value: &str) -> Result<bool, GitRefError> {
    match value {
        "" | "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(GitRefError::Value {
            option,
            value: value.to_owned(),
            expected: "it is `true` or `false`",
        }),
    }
}
