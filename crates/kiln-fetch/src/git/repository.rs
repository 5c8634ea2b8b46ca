//! The bare repositories that are kept between builds, one for each remote.
//!
//! What was fetched completely has the reference `refs/kiln/objects/<hash>`; only that counts as
//! being there, since a fetch over plain files of a server leaves commits before their content.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_dockerfile::gitref::{GitRemote, is_commit};
use kiln_oci::Digest;
use kiln_sys::files;
use kiln_sys::fs::{Dir, FileType};
use kiln_sys::lock::{FileLock, LockKind};

use super::GitRequest;
use super::error::GitError;
use super::run::{Git, Invocation, Outcome, Source};

/// How often a lock that another process holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A bare repository of the cache, locked for this process.
pub(super) struct Repository<'a> {
    git: Git<'a>,
    path: PathBuf,
    _lock: FileLock,
}

/// What has to be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// A commit or an annotated tag.
    pub(super) object: &'a str,
    /// The full name of a reference that has it, for servers that serve only those.
    pub(super) reference: Option<&'a str>,
}

/// How a fetch by name or hash ended.
enum Fetched {
    Done,
    /// The server serves only what a reference points to.
    Refused,
}

impl<'a> Repository<'a> {
    /// Opens the repository that is kept for `remote`, and makes it at the first time. Waits while
    /// another process uses it.
    pub(super) fn open(
        request: &'a GitRequest<'a>,
        remote: &'a GitRemote,
        object: &str,
        cancel: &CancelToken,
    ) -> Result<Self, GitError> {
        let git = Git::new(request, remote, cancel)?;
        let key = Digest::sha256(remote.without_credentials().as_bytes());
        // The two formats of hashes don't mix in one repository.
        let format = if object.len() == 64 { "sha256" } else { "sha1" };
        let name = format!("{}-{format}", key.hex());
        let lock = take(&request.cache_dir.join(format!("{name}.lock")), cancel)?;
        let repository = Self {
            git,
            path: request.cache_dir.join(format!("{name}.git")),
            _lock: lock,
        };
        if files::exists(&repository.path) {
            repository.sweep()?;
        } else {
            repository.make(format, cancel)?;
        }
        Ok(repository)
    }

    /// Removes what a killed git left: locks, which would stop the next one, and unfinished packs.
    fn sweep(&self) -> Result<(), GitError> {
        let is_lock = |name: &OsStr| name.as_bytes().ends_with(b".lock");
        let is_unfinished = |name: &OsStr| name.as_bytes().starts_with(b"tmp_");
        let root = Dir::open(&self.path)?;
        remove_those(&root, &is_lock)?;
        let objects = root.open_dir("objects")?;
        remove_those(&objects, &is_unfinished)?;
        remove_those(&objects.open_dir("pack")?, &is_unfinished)?;
        let mut pending = vec![root.open_dir("refs")?];
        while let Some(folder) = pending.pop() {
            remove_those(&folder, &is_lock)?;
            for entry in folder.entries()? {
                if entry.file_type == FileType::Dir {
                    pending.push(folder.open_dir(&entry.name)?);
                }
            }
        }
        Ok(())
    }

    /// Makes it under another name, so that one that is there is whole.
    fn make(&self, format: &str, cancel: &CancelToken) -> Result<(), GitError> {
        let folder = Dir::open(self.git.request.cache_dir)?;
        let path = self.path.with_extension("new");
        let name = path.file_name().unwrap_or_default();
        folder.remove_tree(name)?;
        let format = format!("--object-format={format}");
        let path = plain(&path)?;
        let arguments = [
            "init",
            "--quiet",
            "--bare",
            "--template=",
            &format,
            "--",
            path,
        ];
        let invocation = Invocation {
            action: "make the local repository for",
            cwd: self.git.request.cache_dir,
            variables: &[],
            source: Source::Remote,
        };
        self.git.run(invocation, &arguments, cancel)?;
        Ok(files::rename(path, &self.path)?)
    }

    /// The repository's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// git for its remote.
    pub(super) fn git(&self) -> &Git<'a> {
        &self.git
    }

    /// Runs git in this repository.
    pub(super) fn run(
        &self,
        action: &'static str,
        arguments: &[&str],
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, GitError> {
        let variables = [("GIT_DIR", self.path.as_path())];
        self.git
            .run(self.invocation(action, &variables), arguments, cancel)
    }

    fn attempt(
        &self,
        action: &'static str,
        arguments: &[&str],
        cancel: &CancelToken,
    ) -> Result<Outcome, GitError> {
        let variables = [("GIT_DIR", self.path.as_path())];
        let invocation = self.invocation(action, &variables);
        self.git.attempt(invocation, arguments, cancel)
    }

    fn invocation<'b>(
        &'b self,
        action: &'static str,
        variables: &'b [(&'b str, &'b Path)],
    ) -> Invocation<'b> {
        Invocation {
            action,
            cwd: &self.path,
            variables,
            source: Source::Remote,
        }
    }

    /// Makes sure that the object is there with all that belongs to it, but not its history: by
    /// its hash, else by its reference, else with everything.
    pub(super) fn ensure(&self, wanted: Wanted<'_>, cancel: &CancelToken) -> Result<(), GitError> {
        let marker = marker(wanted.object);
        let arguments = ["rev-parse", "--verify", "--quiet", &marker];
        if let Outcome::Done(_) = self.attempt("look into", &arguments, cancel)? {
            return Ok(());
        }
        let by_hash = format!("+{}:{marker}", wanted.object);
        if let Fetched::Done = self.fetch(&by_hash, cancel)? {
            return Ok(());
        }
        if let Some(reference) = wanted.reference {
            let by_name = format!("+{reference}:refs/kiln/tip");
            if matches!(self.fetch(&by_name, cancel)?, Fetched::Done)
                && self.mark(wanted.object, cancel)?
            {
                return Ok(());
            }
        }
        self.fetch_everything(wanted, cancel)?;
        if self.mark(wanted.object, cancel)? {
            return Ok(());
        }
        Err(self.no_commit(wanted.object))
    }

    fn no_commit(&self, object: &str) -> GitError {
        GitError::NoCommit {
            remote: self.git.remote.to_string(),
            commit: object.to_owned(),
        }
    }

    /// Fetches one thing without its history, and with it from servers that can't leave it out.
    fn fetch(&self, refspec: &str, cancel: &CancelToken) -> Result<Fetched, GitError> {
        let address = self.git.remote.without_credentials();
        let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        arguments.extend(["--depth=1", "--", &address, refspec]);
        let mut outcome = self.attempt("fetch", &arguments, cancel)?;
        let is_depth_refused =
            |output: &str| output.contains("--depth") || output.contains("shallow");
        if matches!(&outcome, Outcome::Failed(output) if is_depth_refused(output)) {
            arguments.retain(|argument| *argument != "--depth=1");
            outcome = self.attempt("fetch", &arguments, cancel)?;
        }
        let is_refused = |output: &str| {
            [
                "not our ref",
                "unadvertised object",
                "couldn't find remote ref",
                "Server does not allow request",
                "no matching remote head",
                "Cannot obtain needed",
                "Unable to find",
            ]
            .iter()
            .any(|words| output.contains(words))
        };
        match outcome {
            Outcome::Done(_) => Ok(Fetched::Done),
            Outcome::Failed(output) if is_refused(&output) => Ok(Fetched::Refused),
            Outcome::Failed(output) => Err(self.git.failed("fetch", output)),
        }
    }

    /// Fetches all branches and tags with their history.
    fn fetch_everything(&self, wanted: Wanted<'_>, cancel: &CancelToken) -> Result<(), GitError> {
        let address = self.git.remote.without_credentials();
        let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        arguments.extend(["--prune", "--force"]);
        if files::exists(self.path.join("shallow")) {
            arguments.push("--unshallow");
        }
        arguments.extend(["--", &address]);
        arguments.extend([
            "+refs/heads/*:refs/kiln/remote/heads/*",
            "+refs/tags/*:refs/kiln/remote/tags/*",
        ]);
        let other = wanted
            .reference
            .filter(|name| !name.starts_with("refs/heads/") && !name.starts_with("refs/tags/"))
            .map(|name| format!("+{name}:refs/kiln/remote/other"));
        arguments.extend(other.as_deref());
        self.run("fetch", &arguments, cancel)?;
        Ok(())
    }

    /// Notes that the object is there with all that belongs to it, if that is so.
    fn mark(&self, object: &str, cancel: &CancelToken) -> Result<bool, GitError> {
        let arguments = [
            "rev-list",
            "--objects",
            "--no-walk",
            "--quiet",
            object,
            "--",
        ];
        if let Outcome::Failed(_) = self.attempt("look into", &arguments, cancel)? {
            return Ok(false);
        }
        let arguments = ["update-ref", &marker(object), object];
        self.run("mark what was fetched of", &arguments, cancel)?;
        Ok(true)
    }

    /// The commit that the object is, or that it names as an annotated tag.
    pub(super) fn peel(&self, object: &str, cancel: &CancelToken) -> Result<String, GitError> {
        let peeled = format!("{object}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", &peeled];
        match self.attempt("look into", &arguments, cancel)? {
            Outcome::Failed(_) => Err(self.no_commit(object)),
            Outcome::Done(output) => {
                let commit = String::from_utf8(output).unwrap_or_default();
                let commit = commit.trim_end().to_owned();
                if is_commit(&commit) {
                    Ok(commit)
                } else {
                    Err(self.no_commit(object))
                }
            }
        }
    }
}

/// The reference that keeps an object.
pub(super) fn marker(object: &str) -> String {
    format!("refs/kiln/objects/{object}")
}

fn remove_those(folder: &Dir, is_meant: &dyn Fn(&OsStr) -> bool) -> Result<(), GitError> {
    for entry in folder.entries()? {
        if is_meant(&entry.name) {
            folder.remove_tree(&entry.name)?;
        }
    }
    Ok(())
}

/// A path as an argument.
pub(super) fn plain(path: &Path) -> Result<&str, GitError> {
    path.to_str().ok_or_else(|| GitError::Path(path.to_owned()))
}

/// Waits for a lock, but not longer than until the build is cancelled.
fn take(path: &Path, cancel: &CancelToken) -> Result<FileLock, GitError> {
    loop {
        cancel.check()?;
        if let Some(lock) = FileLock::try_lock(path, LockKind::Exclusive)? {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_POLL);
    }
}
