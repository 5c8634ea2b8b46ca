//! What a reference means: branch, tag or commit to a commit.

use kiln_base::CancelToken;
use kiln_dockerfile::gitref::{GitRef, check_reference, is_commit};

use super::error::GitError;
use super::run::{Git, Invocation, Source};
use super::{GitCommit, GitRequest};

/// Finds the commit that a reference means. The repository is asked, unless the reference is a whole
/// commit hash or `fetch-by-commit` says that the checksum is one.
///
/// A name is looked for as `refs/<name>`, as branch and as tag, in this order. A checksum is compared
/// with the commit's and the annotated tag's hash.
pub fn resolve(request: &GitRequest<'_>, cancel: &CancelToken) -> Result<GitCommit, GitError> {
    cancel.check()?;
    let found = match known(request.git)? {
        Some(known) => known,
        None => ask(request, cancel)?,
    };
    check(request.git, &found)?;
    Ok(found)
}

/// What the reference says without asking.
fn known(git: &GitRef) -> Result<Option<GitCommit>, GitError> {
    if let Some(commit) = git.commit() {
        return Ok(Some(GitCommit {
            commit: commit.to_owned(),
            reference: None,
            tag: None,
        }));
    }
    if !git.fetch_by_commit {
        return Ok(None);
    }
    let checksum = git.checksum.as_deref().filter(|text| is_commit(text));
    let commit = checksum.ok_or_else(|| GitError::NeedsChecksum {
        remote: git.remote.to_string(),
    })?;
    let reference = git.reference.as_deref().map(|name| {
        if name.starts_with("refs/") {
            name.to_owned()
        } else {
            format!("refs/heads/{name}")
        }
    });
    Ok(Some(GitCommit {
        commit: commit.to_owned(),
        reference,
        tag: None,
    }))
}

fn check(git: &GitRef, found: &GitCommit) -> Result<(), GitError> {
    let Some(expected) = &git.checksum else {
        return Ok(());
    };
    let hashes = [Some(&found.commit), found.tag.as_ref()];
    let mut hashes = hashes.into_iter().flatten();
    if hashes.any(|hash| hash.starts_with(expected)) {
        return Ok(());
    }
    let actual = match &found.tag {
        Some(tag) => format!("{} (tag {tag})", found.commit),
        None => found.commit.clone(),
    };
    Err(GitError::Checksum {
        remote: git.remote.to_string(),
        expected: expected.clone(),
        actual,
    })
}

fn ask(request: &GitRequest<'_>, cancel: &CancelToken) -> Result<GitCommit, GitError> {
    let git = Git::new(request, &request.git.remote, cancel)?;
    let invocation = Invocation {
        action: "look up the reference in",
        cwd: request.cache_dir,
        variables: &[],
        source: Source::Remote,
    };
    let address = request.git.remote.without_credentials();
    let wanted = request.git.reference.as_deref();
    let Some(name) = wanted.filter(|name| *name != "HEAD") else {
        let arguments = ["ls-remote", "--symref", "--", &address, "HEAD"];
        let listing = text(git.run(invocation, &arguments, cancel)?, request)?;
        return default_branch(&listing, request);
    };
    let peeled = format!("{name}^{{}}");
    let arguments = ["ls-remote", "--", &address, name, &peeled];
    let listing = text(git.run(invocation, &arguments, cancel)?, request)?;
    named(&listing, name, request)
}

fn text(bytes: Vec<u8>, request: &GitRequest<'_>) -> Result<String, GitError> {
    String::from_utf8(bytes).map_err(|_| GitError::Answer {
        remote: request.git.remote.to_string(),
        what: "the name of a reference is not text",
    })
}

/// `ref: refs/heads/main HEAD`, then `<hash> HEAD`, separated by tabs.
fn default_branch(listing: &str, request: &GitRequest<'_>) -> Result<GitCommit, GitError> {
    let mut branch = None;
    let mut commit = None;
    for (value, name) in listing.lines().filter_map(|line| line.split_once('\t')) {
        if name != "HEAD" {
            continue;
        }
        match value.strip_prefix("ref: ") {
            Some(target) => branch = Some(target.to_owned()),
            None => commit = Some(value.to_owned()),
        }
    }
    let remote = || request.git.remote.to_string();
    let commit = commit.ok_or_else(|| GitError::NoDefaultBranch { remote: remote() })?;
    let is_sound = branch.as_deref().is_none_or(is_sound_name) && is_commit(&commit);
    if !is_sound {
        return Err(GitError::Answer {
            remote: remote(),
            what: "a default branch or its hash",
        });
    }
    Ok(GitCommit {
        commit,
        reference: branch,
        tag: None,
    })
}

fn is_sound_name(name: &str) -> bool {
    name.starts_with("refs/") && check_reference(name).is_ok()
}

/// Lines `<hash> refs/…`, separated by a tab; an annotated tag has a second line with `^{}` after
/// its name and the commit's hash.
fn named(listing: &str, name: &str, request: &GitRequest<'_>) -> Result<GitCommit, GitError> {
    let lookup = |wanted: &str| {
        let mut lines = listing.lines().filter_map(|line| line.split_once('\t'));
        lines
            .find(|(_, name)| *name == wanted)
            .map(|(hash, _)| hash)
    };
    let full = |prefix: &str| format!("{prefix}{}", name.strip_prefix(prefix).unwrap_or(name));
    let candidates = [full("refs/"), full("refs/heads/"), full("refs/tags/")];
    let found = candidates
        .into_iter()
        .find_map(|candidate| Some((lookup(&candidate)?, candidate)));
    let remote = || request.git.remote.to_string();
    let Some((hash, reference)) = found else {
        return Err(GitError::NoReference {
            remote: remote(),
            reference: name.to_owned(),
        });
    };
    let commit = lookup(&format!("{reference}^{{}}"));
    if !is_commit(hash) || !commit.is_none_or(is_commit) {
        return Err(GitError::Answer {
            remote: remote(),
            what: "the hash of a reference",
        });
    }
    Ok(GitCommit {
        commit: commit.unwrap_or(hash).to_owned(),
        tag: commit.map(|_| hash.to_owned()),
        reference: Some(reference),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::super::GitAuth;
    use super::*;
    use crate::Network;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn check_listing(address: &str, listing: &str, expected: &Expect) {
        let git = GitRef::parse(address).unwrap().unwrap();
        let request = GitRequest {
            git: &git,
            auth: &GitAuth::default(),
            network: &Network::default(),
            cache_dir: Path::new("/nonexistent"),
            timeout: Duration::ZERO,
        };
        let listing = listing.replace(' ', "\t").replace("ref:\t", "ref: ");
        let listing = listing.replace("AA", A).replace("BB", B);
        let result = match &git.reference {
            None => default_branch(&listing, &request),
            Some(name) => named(&listing, name, &request),
        };
        let result = result.and_then(|found| check(&git, &found).map(|()| found));
        let text = match result {
            Ok(found) => format!(
                "{} {} {}",
                &found.commit[..2],
                found.reference.as_deref().unwrap_or("-"),
                found.tag.as_deref().map_or("-", |tag| &tag[..2])
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn branches_come_before_tags() {
        let both = "AA refs/heads/v1\nBB refs/tags/v1\n";
        let t = "https://a/t.git";
        check_listing(&format!("{t}#v1"), both, &expect!["aa refs/heads/v1 -"]);
        check_listing(&format!("{t}?tag=v1"), both, &expect!["bb refs/tags/v1 -"]);
        let annotated = "BB refs/tags/v1\nAA refs/tags/v1^{}\n";
        check_listing(
            &format!("{t}#v1"),
            annotated,
            &expect!["aa refs/tags/v1 bb"],
        );
        check_listing(
            &format!("{t}?checksum=b#v1"),
            annotated,
            &expect!["aa refs/tags/v1 bb"],
        );
        check_listing(
            &format!("{t}#tags/v1"),
            annotated,
            &expect!["aa refs/tags/v1 bb"],
        );
        check_listing(
            &format!("{t}?checksum=c#v1"),
            annotated,
            &expect![
                "`https://a/t.git` is at commit `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (tag bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb)` where the checksum `c` is expected"
            ],
        );
        let other = "AA refs/heads/release/v1\n";
        check_listing(
            &format!("{t}#v1"),
            other,
            &expect![
                "`https://a/t.git` has no branch or tag `v1` (a commit has to be given with all of its 40 or 64 digits)"
            ],
        );
        let pull = "AA refs/pull/1/head\n";
        check_listing(
            &format!("{t}#pull/1/head"),
            pull,
            &expect!["aa refs/pull/1/head -"],
        );
        check_listing(
            &format!("{t}#v1"),
            "--evil refs/heads/v1\n",
            &expect![
                "git said something about `https://a/t.git` that can't be: the hash of a reference"
            ],
        );
    }

    #[test]
    fn the_default_branch_is_where_head_points_to() {
        let t = "https://a/t.git";
        let symbolic = "ref: refs/heads/trunk HEAD\nAA HEAD\nBB refs/remotes/x/HEAD\n";
        check_listing(t, symbolic, &expect!["aa refs/heads/trunk -"]);
        check_listing(t, "AA HEAD\n", &expect!["aa - -"]);
        check_listing(
            t,
            "",
            &expect![
                "`https://a/t.git` has no default branch: name the branch, tag or commit after `#`"
            ],
        );
        check_listing(
            t,
            "ref: --upload-pack=x HEAD\nAA HEAD\n",
            &expect![
                "git said something about `https://a/t.git` that can't be: a default branch or its hash"
            ],
        );
    }

    #[test]
    fn hashes_need_no_question() {
        let known = |address: &str| {
            let git = GitRef::parse(address).unwrap().unwrap();
            known(&git)
        };
        let by_hash = known(&format!("https://a/t.git#{A}")).unwrap().unwrap();
        assert_eq!((by_hash.commit.as_str(), by_hash.reference), (A, None));
        let forced = format!("https://a/t.git?fetch-by-commit&checksum={A}#main");
        let forced = known(&forced).unwrap().unwrap();
        assert_eq!(forced.reference.as_deref(), Some("refs/heads/main"));
        let short = known("https://a/t.git?fetch-by-commit&checksum=aaaa");
        assert!(matches!(short, Err(GitError::NeedsChecksum { .. })));
        assert_eq!(known("https://a/t.git#main").unwrap(), None);
    }
}
