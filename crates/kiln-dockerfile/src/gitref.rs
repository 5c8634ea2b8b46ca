//! References to git repositories, as contexts and sources of `ADD` name them.
//!
//! `https://host/repository.git#ref:folder?…`: what counts as one, which part of it git is given, and
//! what its fragment and its query say. The rules are BuildKit's; where it silently drops what it
//! can't read (a malformed pair of the query), or treats an unreadable `ssh://` address as the name
//! of a file, this is an error. Deliberately absent: talking to the repository.

mod query;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;

use self::query::Query;
pub use self::query::parse_checksum;
use self::url::{Address, HttpPath};

/// A reference to a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitRef {
    /// The repository.
    pub remote: GitRemote,
    /// The commit (40 or 64 hexadecimal digits), tag or branch asked for, as it was written, or
    /// `refs/tags/…` and `refs/heads/…` where the query said which; the repository's default
    /// branch where there is none.
    pub reference: Option<String>,
    /// The folder of the repository that is meant: cleaned, without `/` at its ends and without
    /// `..`; `None` for all of it.
    pub subdir: Option<String>,
    /// What the commit's (or annotated tag's) hash has to begin with: lower-case hexadecimal digits.
    pub checksum: Option<String>,
    /// Whether the result has a `.git` folder, where the reference says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched, where the reference says so; they are if it does not.
    pub submodules: Option<bool>,
    /// Which time the files get.
    pub mtime: GitMtime,
    /// Take [`GitRef::checksum`] for the commit without asking where the reference points to.
    pub fetch_by_commit: bool,
    /// Written `github.com/…`, which could as well be a path. `ADD` takes it for one; only build
    /// contexts take it for a repository.
    pub is_ambiguous: bool,
}

/// The modification time of files that come from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GitMtime {
    /// The time of the checkout.
    #[default]
    Checkout,
    /// The committer's time of the commit.
    Commit,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GitScheme {
    /// Unencrypted HTTP.
    Http,
    /// HTTPS.
    Https,
    /// SSH, written as a URL or as `user@host:path`.
    Ssh,
    /// git's own protocol, unencrypted.
    Git,
}

/// A repository's address. Printing it hides the credentials in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitRemote {
    address: Address,
}

/// A text that names a git repository, but wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitRefError {
    /// The address can't be read.
    #[error("`{address}` is not a valid git address: {reason}")]
    Address {
        /// The address without credentials, fragment and query.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An option that does not exist.
    #[error(
        "unknown option `{0}` of a git address: known are `ref`, `tag`, `branch`, `subdir`, `checksum`, `commit`, `keep-git-dir`, `submodules`, `mtime` and `fetch-by-commit`"
    )]
    UnknownOption(String),
    /// An option without a value.
    #[error("option `{0}` of a git address needs a value")]
    NoValue(String),
    /// An option given twice.
    #[error("option `{0}` of a git address is given more than once")]
    Repeated(String),
    /// An option whose value it can't have.
    #[error("`{value}` is not a value of the git address's option `{option}`: {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// Two parts of the address that say different things.
    #[error("the git address asks for both {what} `{first}` and `{second}`: leave one out")]
    Conflict {
        /// `ref`, `subdir` or `checksum`.
        what: &'static str,
        /// The one that comes first.
        first: String,
        /// The one that contradicts it.
        second: String,
    },
    /// A query that is not made of `name=value`.
    #[error("`{0}` in the git address's query is not percent-encoded text")]
    Encoding(String),
    /// A name that no branch, tag or commit can have.
    #[error("`{0}` can't be the name of a git branch, tag or commit")]
    Reference(String),
}

impl GitRef {
    /// Reads a reference; `None` for a text that does not name a git repository: a path, an image,
    /// or an HTTP address whose path does not end in `.git`.
    pub fn parse(text: &str) -> Result<Option<Self>, GitRefError> {
        if text.starts_with("./") || text.starts_with("../") {
            return Ok(None);
        }
        let is_ambiguous = text.starts_with("github.com/");
        let split = if is_ambiguous {
            url::split_url(&format!("https://{text}"), HttpPath::Any)
        } else {
            url::split(text, HttpPath::EndsInGit)
        };
        let Some(parts) = split else {
            return Ok(None);
        };
        let parts = parts?;
        let (reference, subdir) = match parts.fragment.split_once(':') {
            Some((reference, subdir)) => (reference, url::clean(subdir)),
            None => (parts.fragment.as_str(), None),
        };
        let mut result = Self {
            remote: GitRemote {
                address: parts.address,
            },
            reference: (!reference.is_empty()).then(|| reference.to_owned()),
            subdir,
            checksum: None,
            keep_git_dir: None,
            submodules: None,
            mtime: GitMtime::Checkout,
            fetch_by_commit: false,
            is_ambiguous,
        };
        Query::default().apply(&parts.query, &mut result)?;
        if let Some(reference) = &result.reference {
            check_reference(reference)?;
        }
        Ok(Some(result))
    }

    /// The commit, where the reference is one.
    pub fn commit(&self) -> Option<&str> {
        self.reference.as_deref().filter(|text| is_commit(text))
    }
}

/// The reference as `address#ref:folder`, without credentials.
impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.fmt(f)?;
        match (&self.reference, &self.subdir) {
            (None, None) => Ok(()),
            (reference, None) => write!(f, "#{}", reference.as_deref().unwrap_or_default()),
            (reference, Some(subdir)) => {
                write!(f, "#{}:{subdir}", reference.as_deref().unwrap_or_default())
            }
        }
    }
}

impl GitRemote {
    /// Reads an address alone, as a list of submodules has them: no fragment, no query, and an HTTP
    /// address need not end in `.git`. `None` for a path or a protocol that is not spoken.
    pub fn parse(text: &str) -> Result<Option<Self>, GitRefError> {
        let Some(parts) = url::split(text, HttpPath::Any) else {
            return Ok(None);
        };
        let parts = parts?;
        let remote = Self {
            address: parts.address,
        };
        if !parts.fragment.is_empty() || !parts.query.is_empty() {
            return Err(GitRefError::Address {
                address: remote.without_credentials(),
                reason: "a fragment or a query has no meaning here",
            });
        }
        Ok(Some(remote))
    }

    /// How the repository is reached.
    pub fn scheme(&self) -> GitScheme {
        self.address.scheme
    }

    /// The host, without user and port.
    pub fn host(&self) -> &str {
        let host = &self.address.host;
        let end = match host.rfind(']') {
            Some(end) => end + 1,
            None => host.rfind(':').unwrap_or(host.len()),
        };
        &host[..end]
    }

    /// The host with its port, where one is written: what secrets for one host are named after.
    pub fn host_and_port(&self) -> &str {
        &self.address.host
    }

    /// The user name and password in the address, percent-decoded. Over SSH a user is part of the
    /// address and no secret.
    pub fn credentials(&self) -> Option<(String, Option<String>)> {
        let user = self.address.user.as_ref()?;
        Some((user.name.clone(), user.password.clone()))
    }

    /// The address with the credentials in it, exactly as it is to be handed to git where they
    /// can't be handed over otherwise. Not to be printed or stored.
    pub fn with_credentials(&self) -> String {
        self.address.text(url::Credentials::Shown)
    }

    /// The address without what is secret in it: over HTTP without user and password, over SSH
    /// without the password.
    pub fn without_credentials(&self) -> String {
        self.address.text(url::Credentials::Removed)
    }

    /// The last part of the path without `.git`.
    pub fn short_name(&self) -> &str {
        let path = &self.address.path;
        let name = path.rsplit(['/', ':']).next().unwrap_or(path);
        name.strip_suffix(".git").unwrap_or(name)
    }

    /// Whether what is fetched, and what authorises it, crosses the network unencrypted.
    pub fn is_unencrypted(&self) -> bool {
        matches!(self.scheme(), GitScheme::Http | GitScheme::Git)
    }
}

/// The address with `xxxxx` for user name and password.
impl fmt::Display for GitRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address.text(url::Credentials::Masked))
    }
}

impl fmt::Debug for GitRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitRemote({self})")
    }
}

/// Whether the text is a whole commit hash: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Refuses what git would take for an option, a refspec, a pattern or an expression.
pub fn check_reference(reference: &str) -> Result<(), GitRefError> {
    let is_strange = |c: char| {
        c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\' | '\u{7f}')
    };
    let is_wrong = reference.is_empty()
        || reference.starts_with(['-', '+', '/'])
        || reference.ends_with(['/', '.'])
        || reference.contains("..")
        || reference.contains("@{")
        || reference.contains("//")
        || reference.contains(is_strange);
    if is_wrong {
        return Err(GitRefError::Reference(reference.to_owned()));
    }
    Ok(())
}
