//! From a commit to files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Timestamp};
use kiln_dockerfile::gitref::{GitMtime, GitRemote};
use kiln_sys::files;
use kiln_sys::fs::{Dir, FileTime, FileType};

use super::error::GitError;
use super::repository::{Repository, Wanted, marker, plain};
use super::run::{Invocation, Source};
use super::submodule::{self, Submodule};
use super::{Checkout, GitCommit, GitRequest};

/// How deep submodules may be in each other.
const MAX_DEPTH: usize = 32;

/// The folder that a whole repository is checked out to when only a part of it is wanted.
const STAGE: &str = ".kiln-checkout";

/// Checks the commit out into the folder `into`, an absolute path, which is made where it is missing and has to be
/// empty: files have mode 0644 or 0755, folders 0755.
///
/// A `.git` folder is kept where the reference says so and does not name a folder of the repository,
/// as in BuildKit. On error, `into` may have some of the files.
pub fn checkout(
    request: &GitRequest<'_>,
    commit: &GitCommit,
    into: &Path,
    cancel: &CancelToken,
) -> Result<Checkout, GitError> {
    if !into.is_absolute() {
        return Err(GitError::Path(into.to_owned()));
    }
    files::create_dir_all(into, 0o755)?;
    let target = Dir::open(into)?;
    if !target.entries()?.is_empty() {
        return Err(GitError::NotEmpty(into.to_owned()));
    }
    let git = request.git;
    let subdir = git.subdir.as_deref();
    let place = match subdir {
        None => into.to_owned(),
        Some(_) => {
            target.mkdir(STAGE, 0o755)?;
            into.join(STAGE)
        }
    };
    let populate = Populate {
        request,
        keeps_git_dir: git.keep_git_dir == Some(true) && subdir.is_none(),
        has_submodules: git.submodules != Some(false),
        cancel,
    };
    let wanted = Wanted {
        object: commit.tag.as_deref().unwrap_or(&commit.commit),
        reference: commit.reference.as_deref(),
    };
    let done = populate.populate(&git.remote, wanted, &place, 0)?;
    if let Some(subdir) = subdir {
        raise(&target, subdir, &git.remote)?;
    }
    if git.mtime == GitMtime::Commit {
        set_times(&target, done.commit_time, cancel)?;
    }
    Ok(done)
}

struct Populate<'a> {
    request: &'a GitRequest<'a>,
    keeps_git_dir: bool,
    has_submodules: bool,
    cancel: &'a CancelToken,
}

impl Populate<'_> {
    /// Fetches one repository, writes its files into `place`, and does the same with its submodules.
    fn populate(
        &self,
        remote: &GitRemote,
        wanted: Wanted<'_>,
        place: &Path,
        depth: usize,
    ) -> Result<Checkout, GitError> {
        let (done, submodules) = {
            let repository = Repository::open(self.request, remote, wanted.object, self.cancel)?;
            repository.ensure(wanted, self.cancel)?;
            let commit = repository.peel(wanted.object, self.cancel)?;
            if self.keeps_git_dir {
                self.write_with_git_dir(&repository, wanted, &commit, place)?;
            } else {
                self.write_files(&repository, &commit, place)?;
            }
            let submodules = if self.has_submodules {
                submodule::list(&repository, &commit, self.cancel)?
            } else {
                Vec::new()
            };
            let commit_time = self.commit_time(&repository, &commit)?;
            let done = Checkout {
                commit,
                commit_time,
            };
            // The repository is let go here: one of its submodules may be of the same remote.
            (done, submodules)
        };
        for submodule in &submodules {
            self.populate_submodule(remote, submodule, place, depth + 1)?;
        }
        Ok(done)
    }

    fn populate_submodule(
        &self,
        parent: &GitRemote,
        submodule: &Submodule,
        place: &Path,
        depth: usize,
    ) -> Result<(), GitError> {
        let wrong = |problem: String| GitError::Submodule {
            remote: parent.to_string(),
            path: submodule.path.clone(),
            problem,
        };
        if depth > MAX_DEPTH {
            return Err(wrong(format!("is more than {MAX_DEPTH} levels deep")));
        }
        // git has made this folder; a link in its place would lead elsewhere.
        let mut folder = Dir::open(place)?;
        for part in submodule.path.split('/') {
            folder = folder.open_dir(part)?;
        }
        if !folder.entries()?.is_empty() {
            return Err(wrong("is not an empty folder".to_owned()));
        }
        let wanted = Wanted {
            object: &submodule.commit,
            reference: None,
        };
        let place = place.join(&submodule.path);
        self.populate(&submodule.remote, wanted, &place, depth)?;
        Ok(())
    }

    /// Writes a commit's files with an index of its own, so that the cached repository stays bare.
    fn write_files(
        &self,
        repository: &Repository<'_>,
        commit: &str,
        place: &Path,
    ) -> Result<(), GitError> {
        let index = repository.path().join("kiln-index");
        files::remove_file(&index)?;
        let variables = [
            ("GIT_DIR", repository.path()),
            ("GIT_WORK_TREE", place),
            ("GIT_INDEX_FILE", &index),
        ];
        let invocation = Invocation {
            action: "check out",
            cwd: place,
            variables: &variables,
            source: Source::Remote,
        };
        let arguments = ["read-tree", "--reset", "-u", commit];
        repository.git().run(invocation, &arguments, self.cancel)?;
        Ok(files::remove_file(&index)?)
    }

    /// Makes a repository in `place` with this one commit, its reference, and the remote as `origin`.
    fn write_with_git_dir(
        &self,
        repository: &Repository<'_>,
        wanted: Wanted<'_>,
        commit: &str,
        place: &Path,
    ) -> Result<(), GitError> {
        let git = repository.git();
        let run = |arguments: &[&str], source| {
            let invocation = Invocation {
                action: "check out",
                cwd: place,
                variables: &[("GIT_DIR", &place.join(".git")), ("GIT_WORK_TREE", place)],
                source,
            };
            git.run(invocation, arguments, self.cancel)
        };
        let format = if commit.len() == 64 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        let invocation = Invocation {
            action: "check out",
            cwd: place,
            variables: &[],
            source: Source::Remote,
        };
        let init = ["init", "--quiet", "--template=", &format, "."];
        git.run(invocation, &init, self.cancel)?;
        let cached = format!("file://{}", plain(repository.path())?.replace('%', "%25"));
        let target = wanted.reference.unwrap_or_default();
        let refspec = format!("+{}:{target}", marker(wanted.object));
        let mut fetch = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--update-head-ok",
            "--depth=1",
        ];
        fetch.extend(["--no-write-fetch-head", "--", &cached]);
        fetch.push(refspec.strip_suffix(':').unwrap_or(&refspec));
        run(&fetch, Source::Cache)?;
        let address = git.remote.without_credentials();
        run(&["remote", "add", "origin", &address], Source::Remote)?;
        run(&["checkout", "--quiet", "--detach", commit], Source::Remote)?;
        Ok(())
    }

    fn commit_time(
        &self,
        repository: &Repository<'_>,
        commit: &str,
    ) -> Result<Timestamp, GitError> {
        let arguments = [
            "log",
            "-1",
            "--no-show-signature",
            "--format=%ct",
            commit,
            "--",
        ];
        let output = repository.run("read the time of the commit of", &arguments, self.cancel)?;
        let seconds = std::str::from_utf8(&output)
            .ok()
            .and_then(|text| text.trim_end().parse().ok());
        let seconds = seconds.ok_or_else(|| GitError::Answer {
            remote: repository.git().remote.to_string(),
            what: "the time of a commit",
        })?;
        Ok(Timestamp::from_seconds(seconds))
    }
}

/// Moves what is in one folder of the staged repository up into `target`, and removes the rest.
fn raise(target: &Dir, subdir: &str, remote: &GitRemote) -> Result<(), GitError> {
    let wrong = |reason| GitError::Subdir {
        remote: remote.to_string(),
        subdir: subdir.to_owned(),
        reason,
    };
    let mut folder = target.open_dir(STAGE)?;
    for part in subdir.split('/') {
        match folder
            .try_metadata(part)?
            .map(|metadata| metadata.file_type)
        {
            Some(FileType::Dir) => folder = folder.open_dir(part)?,
            Some(FileType::Symlink) => return Err(wrong("a symbolic link is on the way")),
            Some(_) => return Err(wrong("a file is on the way")),
            None => return Err(wrong("it does not exist")),
        }
    }
    for entry in folder.entries()? {
        folder.rename(&entry.name, target, &entry.name)?;
    }
    target.remove_tree(STAGE)?;
    Ok(())
}

/// Gives everything in the folder, and then the folder itself, one time.
fn set_times(root: &Dir, time: Timestamp, cancel: &CancelToken) -> Result<(), GitError> {
    let time = FileTime {
        seconds: time.seconds(),
        nanoseconds: 0,
    };
    let mut pending = vec![PathBuf::new()];
    let mut folders = Vec::new();
    while let Some(path) = pending.pop() {
        cancel.check()?;
        let folder = open(root, &path)?;
        for entry in folder.entries()? {
            if entry.file_type == FileType::Dir {
                pending.push(path.join(&entry.name));
            } else {
                folder.set_times(&entry.name, time)?;
            }
        }
        folders.push(path);
    }
    // Those inside come after those around them: backwards, nothing changes a folder that is done.
    for path in folders.iter().rev() {
        open(root, path)?.set_times(OsStr::new("."), time)?;
    }
    Ok(())
}

fn open(root: &Dir, path: &Path) -> Result<Dir, GitError> {
    if path.as_os_str().is_empty() {
        return Ok(root.try_clone()?);
    }
    Ok(root.open_dir_beneath(path)?)
}
