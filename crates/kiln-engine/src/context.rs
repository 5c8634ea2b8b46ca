//! The build context and the Dockerfile: a directory that is read in place.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_base::Timestamp;
use kiln_dockerfile::Span;
use kiln_dockerfile::ignore::Ignore;
use kiln_store::{ContextId, StatCache};
use kiln_sys::files;
use kiln_sys::fs::{Device, Dir, FileTime, FsError};
use kiln_tree::{FileDigest, FileStamp};

use crate::Engine;
use crate::error::{BuildError, SourcePlace};
use crate::request::Dockerfile;

/// The largest Dockerfile or ignore file that is read, in bytes.
const MAX_TEXT: u64 = 4 << 20;

/// Where links in a context may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Anywhere: the directory is the user's own.
    Follow,
    /// Not out of it: a stranger made it.
    StayInside,
}

/// A Dockerfile as it was read.
#[derive(Debug)]
pub(crate) struct DockerfileText {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Where it is, if it is a file.
    path: Option<PathBuf>,
}

/// The context's files.
#[derive(Debug)]
pub(crate) struct ContextFiles {
    pub(crate) root: Dir,
    pub(crate) ignore: Ignore,
    digests: Digests,
    /// When the context was opened, which is before any of its files were looked at.
    opened: Timestamp,
}

/// The store's memory of file digests, as `kiln-tree` asks for it.
#[derive(Debug)]
struct Digests(StatCache);

impl DockerfileText {
    /// Finds and reads the Dockerfile.
    ///
    /// A path in a context that was fetched may not lead out of it by a link.
    pub(crate) fn read(
        wanted: &Dockerfile,
        context: Option<&Path>,
        trust: Links,
    ) -> Result<Self, BuildError> {
        let path = match (wanted, context) {
            (Dockerfile::Text(text), _) => return Ok(Self::from_text("Dockerfile", text.clone())),
            (Dockerfile::Path(path), _) => path.clone(),
            (Dockerfile::InContext(path), Some(dir)) => {
                return Self::read_beneath(dir, path);
            }
            (Dockerfile::Default, Some(dir)) if trust == Links::StayInside => {
                return match Self::read_beneath(dir, "Dockerfile") {
                    Err(BuildError::ReadDockerfile { source, .. }) if source.is_not_found() => {
                        Self::read_beneath(dir, "dockerfile")
                    }
                    result => result,
                };
            }
            (Dockerfile::Default, Some(dir)) => {
                let lower = dir.join("dockerfile");
                let usual = dir.join("Dockerfile");
                if !files::exists(&usual) && files::exists(&lower) {
                    lower
                } else {
                    usual
                }
            }
            (Dockerfile::InContext(path) | Dockerfile::Http(path), _) => PathBuf::from(path),
            (Dockerfile::Default, None) => PathBuf::from("Dockerfile"),
        };
        let bytes =
            files::read_limited(&path, MAX_TEXT).map_err(|source| BuildError::ReadDockerfile {
                path: path.clone(),
                source,
            })?;
        Self::from_bytes(path, bytes)
    }

    /// A Dockerfile that is no file.
    pub(crate) fn from_text(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            text,
            path: None,
        }
    }

    fn from_bytes(path: PathBuf, bytes: Vec<u8>) -> Result<Self, BuildError> {
        let text = String::from_utf8(bytes).map_err(|_| BuildError::NotADockerfile {
            path: path.clone(),
            reason: "it is not UTF-8 text",
        })?;
        let name = path.file_name().unwrap_or(OsStr::new("Dockerfile"));
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            text,
            path: Some(path),
        })
    }

    fn read_beneath(dir: &Path, path: &str) -> Result<Self, BuildError> {
        let whole = dir.join(path.trim_start_matches('/'));
        let failed = |source| BuildError::ReadDockerfile {
            path: whole.clone(),
            source,
        };
        match read_inside(dir, Path::new(path)).map_err(failed)? {
            Some(bytes) => Self::from_bytes(whole, bytes),
            None => Err(BuildError::NotADockerfile {
                path: whole,
                reason: "it is larger than 4 MiB, or can't be read",
            }),
        }
    }

    /// The ignore file of its own, `NAME.dockerignore` beside it, which wins over the context's.
    pub(crate) fn ignore_file(&self) -> Option<PathBuf> {
        let mut name = self.path.as_ref()?.as_os_str().to_owned();
        name.push(".dockerignore");
        Some(PathBuf::from(name))
    }
}

impl DockerfileText {
    /// The number, from 1, of the line that the byte at `offset` is on.
    pub(crate) fn line_number(&self, offset: usize) -> u32 {
        let before = self.text.as_bytes().iter().take(offset);
        let newlines = before.filter(|byte| **byte == b'\n').count();
        u32::try_from(newlines + 1).unwrap_or(u32::MAX)
    }

    /// A place in it, for an error.
    pub(crate) fn place(&self, span: Span) -> SourcePlace {
        SourcePlace {
            file: self.name.clone(),
            text: self.text.clone(),
            span,
        }
    }
}

impl ContextFiles {
    /// Opens a directory as a context, with the ignore file that belongs to it: the Dockerfile's
    /// own, if it has one and it exists, or else `.dockerignore` in the directory.
    pub(crate) fn open(
        engine: &Engine,
        path: &Path,
        (own_ignore, links): (Option<&Path>, Links),
    ) -> Result<Self, BuildError> {
        let root = open_context(path)?;
        let id = ContextId::of(canonical(path).as_os_str().as_encoded_bytes());
        Ok(Self {
            root: engine.machine.tree(root),
            ignore: ignore_rules(path, own_ignore, links)?,
            digests: Digests(engine.store.stat_cache(&id)?),
            opened: engine.now(),
        })
    }

    /// When the context was opened, which is before any of its files were looked at.
    pub(crate) const fn opened(&self) -> Timestamp {
        self.opened
    }

    /// What is known of the files' digests.
    pub(crate) fn digests(&self) -> &dyn kiln_tree::StatCache {
        &self.digests
    }

    /// Keeps what was found out for the next build.
    pub(crate) fn save_digests(&self, engine: &Engine) -> Result<(), BuildError> {
        Ok(engine.store.save_stat_cache(&self.digests.0, self.opened)?)
    }
}

/// Opens the directory of a context.
pub(crate) fn open_context(path: &Path) -> Result<Dir, BuildError> {
    Dir::open(path).map_err(|source| BuildError::Context {
        path: path.to_owned(),
        source,
    })
}

/// The path by which the same directory or file is known in each build.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The text of the ignore file that belongs to a context, and where it is.
pub(crate) fn ignore_text(
    context: &Path,
    own: Option<&Path>,
    links: Links,
) -> Result<Option<(PathBuf, String)>, BuildError> {
    for path in own
        .map(Path::to_owned)
        .into_iter()
        .chain([context.join(".dockerignore")])
    {
        let unusable = |source| BuildError::Ignore {
            path: path.clone(),
            source,
        };
        let read = match (links, path.strip_prefix(context)) {
            (Links::StayInside, Ok(inside)) => {
                let read = read_inside(context, inside);
                read.and_then(|bytes| bytes.ok_or_else(|| too_large(&path)))
            }
            (Links::StayInside, Err(_)) | (Links::Follow, _) => {
                files::read_limited(&path, MAX_TEXT)
            }
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(unusable(error.into())),
        };
        let text = String::from_utf8(bytes).map_err(|error| unusable(error.into()))?;
        return Ok(Some((path, text)));
    }
    Ok(None)
}

/// A file of up to 4 MiB in a directory that links don't lead out of; `None` where it is larger or
/// can't be read to its end.
fn read_inside(dir: &Path, path: &Path) -> Result<Option<Vec<u8>>, FsError> {
    let file = Dir::open(dir)?.open_file_in_root(path)?;
    let mut bytes = Vec::new();
    let mut limited = std::io::Read::take(file, MAX_TEXT + 1);
    let read = std::io::Read::read_to_end(&mut limited, &mut bytes);
    Ok(match read {
        Ok(size) if size as u64 <= MAX_TEXT => Some(bytes),
        Ok(_) | Err(_) => None,
    })
}

fn too_large(path: &Path) -> FsError {
    FsError::new(
        "read",
        path,
        std::io::Error::from(std::io::ErrorKind::FileTooLarge),
    )
}

fn ignore_rules(context: &Path, own: Option<&Path>, links: Links) -> Result<Ignore, BuildError> {
    let Some((path, text)) = ignore_text(context, own, links)? else {
        return Ok(Ignore::default());
    };
    Ignore::parse(&text).map_err(|error| BuildError::Ignore {
        path,
        source: error.into(),
    })
}

impl kiln_tree::StatCache for Digests {
    fn look_up(&self, path: &Path, stamp: &FileStamp) -> Option<FileDigest> {
        self.0
            .get(path.as_os_str().as_encoded_bytes(), &stored(stamp))
            .map(FileDigest)
    }

    fn record(&self, path: &Path, stamp: &FileStamp, digest: &FileDigest) {
        self.0
            .put(path.as_os_str().as_encoded_bytes(), stored(stamp), digest.0);
    }
}

fn stored(stamp: &FileStamp) -> kiln_store::FileStamp {
    let time = |time: FileTime| Timestamp::new(time.seconds, time.nanoseconds);
    let Device { major, minor } = stamp.dev;
    kiln_store::FileStamp {
        dev: (u64::from(major) << 32) | u64::from(minor),
        ino: stamp.ino,
        size: stamp.size,
        mtime: time(stamp.mtime),
        ctime: time(stamp.ctime),
    }
}
