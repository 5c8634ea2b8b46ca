//! Trees as text, and `COPY` lines that are carried out on them.
//!
//! ```text
//! dir/                  a directory
//! dir/file 600 7:8 text a file; mode, owner and content may be left out
//! dir/link -> target    a symbolic link
//! dir/other = dir/file  a hard link
//! pipe |                a named pipe
//! socket %              a socket
//! ```
//!
//! Each line of a source is ten seconds younger than the one above, counted from the epoch; lines
//! of a destination begin at 5000. Owners are recorded in an extended attribute, so that this works
//! without privileges.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use expect_test::Expect;
use kiln_base::CancelToken;
use kiln_dockerfile::ignore::Ignore;
use kiln_sys::fs::{Dir, FileTime, FileType, NodeKind, Owner, Ownership};
use kiln_tree::{
    Contents, CopyOptions, CopySpec, InlineFile, NewAttributes, NewOwner, Selection, Source,
    SourceSpec, Sources, copy, copy_item, select,
};
use tempfile::TempDir;

/// What [`CopyOptions::now`] is.
pub(crate) const NOW: FileTime = FileTime::from_seconds(9000);

/// A tree on disk.
pub(crate) struct Tree {
    pub(crate) temp: TempDir,
    pub(crate) dir: Dir,
}

impl Tree {
    pub(crate) fn source(text: &str) -> Self {
        Self::new(text, 0)
    }

    pub(crate) fn dest(text: &str) -> Self {
        Self::new(text, 5000)
    }

    fn new(text: &str, start: i64) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let dir = dir.with_ownership(Ownership::Recorded);
        let mut times = vec![(".".to_owned(), start)];
        for (index, line) in text.trim().lines().map(str::trim).enumerate() {
            if line.is_empty() {
                continue;
            }
            let path = make(temp.path(), &dir, line);
            times.push((path, start + 10 * (i64::try_from(index).unwrap() + 1)));
        }
        // The deepest first: making an entry changes its directory.
        for (path, seconds) in times.iter().rev() {
            let (parent, name) = parent_of(&dir, path);
            parent
                .set_times(name, FileTime::from_seconds(*seconds))
                .unwrap();
        }
        Self { temp, dir }
    }

    /// The same tree with owners in its inodes.
    pub(crate) fn native(self) -> Self {
        let dir = self.dir.with_ownership(Ownership::Native);
        Self { dir, ..self }
    }

    /// One line for each name: path, mode, owner, time, and what it is.
    pub(crate) fn list(&self) -> String {
        let mut text = String::new();
        list(&self.dir, &self.dir, Path::new(""), &mut text);
        text
    }
}

fn parent_of<'a>(root: &Dir, path: &'a str) -> (Dir, &'a OsStr) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some((parent, name)) => (root.open_dir_beneath(parent).unwrap(), name.as_ref()),
        None => (root.try_clone().unwrap(), path.as_ref()),
    }
}

/// Makes what one line says and returns its path.
fn make(temp: &Path, root: &Dir, line: &str) -> String {
    let (path, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (dir, name) = parent_of(root, path);
    let is_mode = |text: &str| matches!(text.len(), 3 | 4);
    let mode_of = |text: &str| u32::from_str_radix(text, 8).ok().filter(|_| is_mode(text));
    let mut words = rest.splitn(3, ' ').peekable();
    match words.peek().copied() {
        Some("->") => dir.symlink(rest.trim_start_matches("-> "), name).unwrap(),
        Some("=") => {
            let (from, from_name) = parent_of(root, rest.trim_start_matches("= "));
            from.link_to(from_name, &dir, name).unwrap();
        }
        Some("|") => dir.mknod(name, NodeKind::Fifo, 0o644).unwrap(),
        Some("%") => drop(UnixListener::bind(temp.join(path)).unwrap()),
        _ => {
            let is_dir = path.ends_with('/');
            let mode = words.next_if(|word| mode_of(word).is_some());
            let mode = mode
                .and_then(mode_of)
                .unwrap_or(if is_dir { 0o755 } else { 0o644 });
            let owner = words.next_if(|word| word.parse::<Owner>().is_ok());
            let content: Vec<_> = words.collect();
            if is_dir {
                dir.mkdir(name, 0o755).unwrap();
            } else {
                let file = dir.create_file(name, 0o600).unwrap();
                std::io::Write::write_all(&mut &file, content.join(" ").as_bytes()).unwrap();
            }
            if let Some(owner) = owner {
                dir.set_owner(name, owner.parse().unwrap()).unwrap();
            }
            dir.set_mode(name, mode).unwrap();
        }
    }
    path.trim_end_matches('/').to_owned()
}

fn list(root: &Dir, dir: &Dir, below: &Path, text: &mut String) {
    for entry in dir.entries().unwrap() {
        let name = &entry.name;
        let path = below.join(name);
        let found = dir.metadata(name).unwrap();
        let own = root.metadata(Dir::ITSELF).unwrap();
        // What nobody gave to anyone belongs to whoever runs the test: to root, in a build.
        let zero = |id: u32, own: u32| if id == own { 0 } else { id };
        let owner = format!("{}:{}", zero(found.uid, own.uid), zero(found.gid, own.gid));
        let attributes = format!("{:o} {owner} @{}", found.mode, found.mtime.seconds);
        let shown = path.display();
        match found.file_type {
            FileType::Dir => {
                writeln!(text, "{shown}/ {attributes}").unwrap();
                list(root, &dir.open_dir(name).unwrap(), &path, text);
            }
            FileType::Symlink => {
                let target = dir.read_link(name).unwrap();
                let target = target.to_string_lossy();
                writeln!(text, "{shown} {owner} @{} -> {target}", found.mtime.seconds).unwrap();
            }
            FileType::File => {
                let mut content = String::new();
                let mut file = dir.open_file(name).unwrap();
                std::io::Read::read_to_string(&mut file, &mut content).unwrap();
                let links = match found.nlink {
                    1 => String::new(),
                    links => format!(" ={links}"),
                };
                let line = format!("{shown} {attributes}{links} {content}");
                writeln!(text, "{}", line.trim_end()).unwrap();
            }
            other => writeln!(text, "{shown} {attributes} {other:?}").unwrap(),
        }
    }
}

/// Whether this process may read what modes forbid, as root may.
pub(crate) fn may_read_anything(test: &str) -> bool {
    let tree = Tree::source("closed/ 000");
    let may = tree.dir.open_dir("closed").is_ok();
    if !may {
        eprintln!("skipped: {test}: needs the right to read any directory");
    }
    may
}

/// A `COPY` line, understood. `--from` copies as from a stage, otherwise the source is a context
/// with the `.dockerignore` that is in it. `<<name` is an inline file.
pub(crate) struct CopyLine {
    pub(crate) spec: CopySpec,
    pub(crate) options: CopyOptions,
    from_stage: bool,
}

impl CopyLine {
    pub(crate) fn parse(line: &str) -> Self {
        let mut parents = false;
        let mut from_stage = false;
        let mut excludes = Vec::new();
        let (mut owner, mut mode, mut clamp) = (None, None, None);
        let mut words = Vec::new();
        for word in line.split(' ').skip(1) {
            match word.split_once('=').unwrap_or((word, "")) {
                ("--parents", _) => parents = true,
                ("--from", _) => from_stage = true,
                ("--exclude", pattern) => excludes.push(pattern.to_owned()),
                ("--chown", value) => owner = Some(value.parse().unwrap()),
                ("--chmod", value) => mode = Some(value.parse().unwrap()),
                ("--clamp", value) => clamp = Some(FileTime::from_seconds(value.parse().unwrap())),
                _ => words.push(word),
            }
        }
        let dest = words.pop().unwrap().to_owned();
        let default = if from_stage {
            NewOwner::Keep
        } else {
            NewOwner::Set(Owner::ROOT)
        };
        let sources = words.into_iter().map(|word| match word.strip_prefix("<<") {
            Some(name) => SourceSpec::Inline(InlineFile {
                name: name.to_owned(),
                mode: 0o644,
                content: b"inline".to_vec(),
            }),
            None => SourceSpec::Path(word.to_owned()),
        });
        Self {
            spec: CopySpec {
                sources: sources.collect(),
                parents,
                exclude: Ignore::from_patterns(&excludes).unwrap(),
            },
            options: CopyOptions {
                dest,
                attributes: NewAttributes {
                    owner: owner.map_or(default, NewOwner::Set),
                    mode,
                },
                now: NOW,
                clamp,
                contents: Contents::Copied,
            },
            from_stage,
        }
    }

    pub(crate) fn select(&self, tree: &Tree) -> Result<Selection, kiln_tree::SelectError> {
        let rules = std::fs::read_to_string(tree.temp.path().join(".dockerignore"));
        // One line of a text tree is one line of text.
        let rules = rules.unwrap_or_default().replace(' ', "\n");
        let ignore = Ignore::parse(&rules).unwrap();
        let source = if self.from_stage {
            Source::Root(&tree.dir)
        } else {
            Source::Context {
                root: &tree.dir,
                ignore: &ignore,
            }
        };
        select(source, &self.spec)
    }

    /// The same by a copy that leaves contents, which are put into place afterwards.
    fn run_in_two(&self, source: &Tree, dest: &Tree) -> Result<(), String> {
        let selection = self.select(source).map_err(|error| with_causes(&error))?;
        let options = CopyOptions {
            contents: Contents::Left,
            ..self.options.clone()
        };
        let mut sources = Sources::default();
        let mut result = Ok(());
        for (number, item) in selection.items().iter().enumerate() {
            match copy_item(item, &dest.dir, &options, &CancelToken::new()) {
                Ok(place) => sources.push(number, place),
                Err(error) => {
                    result = Err(with_causes(&error));
                    break;
                }
            }
        }
        fill(&dest.dir, Path::new(""), &selection, &sources);
        result
    }

    pub(crate) fn run(&self, source: &Tree, dest: &Tree) -> Result<(), String> {
        let selection = self.select(source).map_err(|error| with_causes(&error))?;
        copy(&selection, &dest.dir, &self.options, &CancelToken::new())
            .map_err(|error| with_causes(&error))
    }
}

/// Gives the files below their contents, and keeps all else as it is.
fn fill(dir: &Dir, below: &Path, selection: &Selection, sources: &Sources) {
    for entry in dir.entries().unwrap() {
        let path = below.join(&entry.name);
        let found = dir.metadata(&entry.name).unwrap();
        if found.is_dir() {
            fill(
                &dir.open_dir(&entry.name).unwrap(),
                &path,
                selection,
                sources,
            );
            dir.set_times(&entry.name, found.mtime).unwrap();
        } else if found.is_file()
            && let Some(mut source) = sources.open(selection, &path).unwrap()
        {
            dir.set_mode(&entry.name, 0o600).unwrap();
            let place =
                std::fs::read_link(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())).unwrap();
            let mut target = std::fs::File::options()
                .write(true)
                .open(place.join(&entry.name))
                .unwrap();
            let copied = std::io::copy(&mut source, &mut target).unwrap();
            assert_eq!(copied, found.size, "{}", path.display());
            sources.check(selection, &path, &source).unwrap();
            dir.set_mode(&entry.name, found.mode).unwrap();
            dir.set_times(&entry.name, found.mtime).unwrap();
        }
    }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => match error.downcast_ref() {
            Some(kiln_tree::SelectError::NotFound {
                did_you_mean: Some(near),
                ..
            }) => format!("{error} (did you mean `{near}`?)"),
            _ => error.to_string(),
        },
    }
}

/// Carries the `COPY` lines out and shows the destination, or the error.
#[track_caller]
pub(crate) fn check(source: &str, dest: &str, lines: &str, expected: &Expect) {
    let source = Tree::source(source);
    let result = |run: fn(&CopyLine, &Tree, &Tree) -> Result<(), String>| {
        let dest = Tree::dest(dest);
        let mut text = String::new();
        for line in lines.trim().lines().map(str::trim) {
            if let Err(error) = run(&CopyLine::parse(line), &source, &dest) {
                writeln!(text, "{line}: {error}").unwrap();
            }
        }
        text + &dest.list()
    };
    let text = result(CopyLine::run);
    expected.assert_eq(&text);
    assert_eq!(result(CopyLine::run_in_two), text, "contents left at first");
}
