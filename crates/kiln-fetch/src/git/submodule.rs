//! Which submodules a commit has, and where they come from.

use std::collections::BTreeMap;

use kiln_base::CancelToken;
use kiln_dockerfile::gitref::{GitRemote, is_commit};

use super::error::GitError;
use super::repository::Repository;

/// A submodule of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Relative to the repository.
    pub(super) path: String,
    pub(super) remote: GitRemote,
    pub(super) commit: String,
}

/// What `.gitmodules` says about one submodule.
#[derive(Debug, Default)]
struct Entry {
    path: Option<String>,
    url: Option<String>,
    update: Option<String>,
}

/// The submodules of a commit that are to be checked out.
pub(super) fn list(
    repository: &Repository<'_>,
    commit: &str,
    cancel: &CancelToken,
) -> Result<Vec<Submodule>, GitError> {
    const ACTION: &str = "list the submodules of";
    let arguments = ["ls-tree", "-r", "-z", "--full-tree", commit];
    let links = links(&repository.run(ACTION, &arguments, cancel)?);
    let links = links.ok_or_else(|| GitError::Answer {
        remote: repository.git().remote.to_string(),
        what: "the path or commit of a submodule",
    })?;
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let blob = format!("{commit}:.gitmodules");
    let has_file = ["ls-tree", "--full-tree", commit, "--", ".gitmodules"];
    let entries = if repository.run(ACTION, &has_file, cancel)?.is_empty() {
        Vec::new()
    } else {
        let arguments = [
            "config",
            "--blob",
            &blob,
            "--null",
            "--list",
            "--no-includes",
        ];
        entries(&repository.run(ACTION, &arguments, cancel)?)
    };
    let parent = repository.git().remote;
    let mut submodules = Vec::new();
    for (path, commit) in links {
        let wrong = |problem: String| GitError::Submodule {
            remote: parent.to_string(),
            path: path.clone(),
            problem,
        };
        let entry = entries
            .iter()
            .find(|entry| entry.path.as_ref() == Some(&path));
        let entry = entry.ok_or_else(|| wrong("is not in `.gitmodules`".to_owned()))?;
        if entry.update.as_deref() == Some("none") {
            continue;
        }
        let url = entry.url.as_deref().unwrap_or_default();
        let address = absolute(&parent.with_credentials(), url);
        let remote = address.as_deref().map(GitRemote::parse);
        let Some(Ok(Some(remote))) = remote else {
            let shown = url.rsplit('@').next().unwrap_or_default().escape_debug();
            return Err(wrong(format!(
                "is at `{shown}`, which is not an address of HTTP, HTTPS, SSH or git"
            )));
        };
        submodules.push(Submodule {
            path,
            remote,
            commit,
        });
    }
    Ok(submodules)
}

/// The links to commits among the lines of `ls-tree -z`: `160000 commit <hash>`, a tab, the path.
/// `None` where one is not text.
fn links(listing: &[u8]) -> Option<Vec<(String, String)>> {
    listing
        .split(|byte| *byte == 0)
        .filter(|line| line.starts_with(b"160000 commit "))
        .map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let (rest, path) = line.split_once('\t')?;
            let hash = rest.rsplit(' ').next().filter(|hash| is_commit(hash))?;
            Some((path.to_owned(), hash.to_owned()))
        })
        .collect()
}

/// The sections of `.gitmodules`, from `submodule.<name>.<key>`, a line break, and the value, each
/// ended by a zero byte.
fn entries(listing: &[u8]) -> Vec<Entry> {
    let mut sections: BTreeMap<String, Entry> = BTreeMap::new();
    for item in listing.split(|byte| *byte == 0) {
        let Ok(item) = std::str::from_utf8(item) else {
            continue;
        };
        let (key, value) = item.split_once('\n').unwrap_or((item, ""));
        let named = key
            .strip_prefix("submodule.")
            .and_then(|rest| rest.rsplit_once('.'));
        let Some((name, key)) = named else {
            continue;
        };
        let entry = sections.entry(name.to_owned()).or_default();
        let value = Some(value.to_owned());
        match key {
            "path" => entry.path = value.map(|path| path.trim_end_matches('/').to_owned()),
            "url" => entry.url = value,
            "update" => entry.update = value,
            _ => {}
        }
    }
    sections.into_values().collect()
}

/// The address of a submodule, which may be relative to its parent's: `../other.git`.
fn absolute(parent: &str, url: &str) -> Option<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Some(url.to_owned());
    }
    let mut base = parent.trim_end_matches('/');
    let mut rest = url;
    let mut separator = '/';
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            let cut = base.rfind('/').or_else(|| base.rfind(':'))?;
            separator = if base[cut..].starts_with(':') {
                ':'
            } else {
                '/'
            };
            base = &base[..cut];
            // Not above the host.
            if base.ends_with('/') || !base.contains([':', '/', '@']) {
                return None;
            }
        } else {
            break;
        }
    }
    let rest = rest.trim_end_matches('/');
    Some(format!("{base}{separator}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_are_listed() {
        let hash = "a".repeat(40);
        let listing = format!("100644 blob {hash}\t.gitmodules\0160000 commit {hash}\tlib/a b\0");
        let expected = [("lib/a b".to_owned(), hash)];
        assert_eq!(links(listing.as_bytes()).unwrap(), expected);
        assert_eq!(links(b"160000 commit x\tc\0"), None);
    }

    #[test]
    fn sections_are_read_by_their_names() {
        let listing = "submodule.a.b.path\nlib/a/\0submodule.a.b.url\n../a.git\0core.x\ny\0\
            submodule.c.update\nnone\0";
        let found: Vec<String> = entries(listing.as_bytes())
            .into_iter()
            .map(|entry| format!("{:?} {:?} {:?}", entry.path, entry.url, entry.update))
            .collect();
        assert_eq!(
            found,
            [
                "Some(\"lib/a\") Some(\"../a.git\") None",
                "None None Some(\"none\")"
            ]
        );
    }

    #[test]
    fn relative_addresses_start_at_the_parent() {
        let resolve = |parent: &str, url: &str| absolute(parent, url).unwrap_or_default();
        let https = "https://example.com/group/tool.git";
        assert_eq!(
            resolve(https, "../lib.git"),
            "https://example.com/group/lib.git"
        );
        assert_eq!(resolve(https, "../../x/lib/"), "https://example.com/x/lib");
        assert_eq!(
            resolve(https, "./lib"),
            "https://example.com/group/tool.git/lib"
        );
        assert_eq!(resolve(https, "git@h:x"), "git@h:x");
        assert_eq!(resolve(https, "../../../lib"), "");
        assert_eq!(resolve("git@h:group/tool", "../lib"), "git@h:group/lib");
        assert_eq!(resolve("git@h:tool", "../lib"), "git@h:lib");
        assert_eq!(resolve("git@h:tool", "../../lib"), "");
    }
}
