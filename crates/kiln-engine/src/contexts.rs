//! The contexts of all builds of a call, opened when their files are first asked for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_base::{CancelToken, Timestamp};
use kiln_dockerfile::gitref::GitRef;
use kiln_frontend::{RemoteSource, SourceFacts};
use kiln_graph::GitOp;
use kiln_layer::{MergeOptions, is_archive, untar_merge};
use kiln_sys::files;
use kiln_sys::fs::{Dir, FileTime, FileType, FsError};

use crate::Engine;
use crate::chain::Chain;
use crate::context::{ContextFiles, DockerfileText, Links, ignore_text, open_context};
use crate::error::{BuildError, SourceError};
use crate::fetch::Fetcher;
use crate::reporter::Reporter;
use crate::request::{BuildRequest, Context, Dockerfile};

/// Contexts by number.
pub(crate) struct Contexts<'a> {
    engine: &'a Engine,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    /// Whose secrets fetch it.
    request: &'a BuildRequest,
    context: &'a Context,
    /// The ignore file of its own that the Dockerfile has.
    ignore: Option<PathBuf>,
    /// Where the files are, once they are fetched.
    place: Option<PathBuf>,
    opened: Mutex<Option<Arc<ContextFiles>>>,
}

/// A context that is there.
enum Place {
    /// A directory.
    Directory(PathBuf),
    /// A Dockerfile alone.
    Text(String),
    /// Nothing.
    Nothing,
}

impl<'a> Contexts<'a> {
    pub(crate) const fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            entries: Vec::new(),
        }
    }

    /// Adds a request's main context, and reads its Dockerfile.
    pub(crate) fn open_main(
        &mut self,
        request: &'a BuildRequest,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<(usize, DockerfileText), BuildError> {
        let fetcher = self.engine.fetcher(request, reporter, cancel);
        let place = self.fetch(&request.context, &fetcher)?;
        let dockerfile = match (&request.dockerfile, &place) {
            (Dockerfile::Http(url), _) => {
                let text = fetcher.text(url).map_err(BuildError::Fetch)?;
                DockerfileText::from_text(&kiln_fetch::http::url_file_name(url), text)
            }
            (Dockerfile::Default | Dockerfile::InContext(_), Place::Text(text)) => {
                DockerfileText::from_text("Dockerfile", text.clone())
            }
            (wanted, Place::Directory(path)) => {
                DockerfileText::read(wanted, Some(path), links(&request.context))?
            }
            (wanted, Place::Nothing | Place::Text(_)) => {
                DockerfileText::read(wanted, None, Links::Follow)?
            }
        };
        let place = match place {
            Place::Directory(path) => Some(path),
            Place::Text(_) | Place::Nothing => None,
        };
        let ignore = dockerfile.ignore_file();
        // The same directory with the same rules is the same context for all builds.
        let same = self.entries.iter().position(|entry| {
            entry.context == &request.context && entry.ignore == ignore && entry.place == place
        });
        let number = same.unwrap_or(self.entries.len());
        if same.is_none() {
            self.entries.push(Entry {
                request,
                context: &request.context,
                ignore,
                place,
                opened: Mutex::default(),
            });
        }
        Ok((number, dockerfile))
    }

    /// The text of a main context's ignore file; `None` where it has none.
    pub(crate) fn ignore_text(&self, number: usize) -> Result<Option<String>, BuildError> {
        let Some(entry) = self.entries.get(number) else {
            return Ok(None);
        };
        let Some(place) = &entry.place else {
            return Ok(None);
        };
        let found = ignore_text(place, entry.ignore.as_deref(), links(entry.context))?;
        Ok(found.map(|(_, text)| text))
    }

    /// Adds a named context. A directory has to be there; others are fetched when they are needed.
    pub(crate) fn add_named(
        &mut self,
        request: &'a BuildRequest,
        context: &'a Context,
    ) -> Result<usize, BuildError> {
        let place = match context {
            Context::Directory(path) => {
                open_context(path)?;
                Some(path.clone())
            }
            _ => None,
        };
        self.entries.push(Entry {
            request,
            context,
            ignore: None,
            place,
            opened: Mutex::default(),
        });
        Ok(self.entries.len() - 1)
    }

    /// The files of a context, fetched if need be; `None` where it has none.
    pub(crate) fn files(
        &self,
        number: usize,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Option<Arc<ContextFiles>>, BuildError> {
        let Some(entry) = self.entries.get(number) else {
            return Ok(None);
        };
        let mut opened = entry.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = opened.as_ref() {
            return Ok(Some(Arc::clone(files)));
        }
        let path = match &entry.place {
            Some(path) => path.clone(),
            None => {
                let fetcher = self.engine.fetcher(entry.request, reporter, cancel);
                match self.fetch(entry.context, &fetcher)? {
                    Place::Directory(path) => path,
                    Place::Text(_) | Place::Nothing => return Ok(None),
                }
            }
        };
        let files = Arc::new(ContextFiles::open(
            self.engine,
            &path,
            (entry.ignore.as_deref(), links(entry.context)),
        )?);
        *opened = Some(Arc::clone(&files));
        Ok(Some(files))
    }

    /// Keeps what was found out about files for the next build.
    pub(crate) fn save_digests(&self) -> Result<(), BuildError> {
        for entry in &self.entries {
            let opened = entry.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(files) = opened.as_ref() {
                files.save_digests(self.engine)?;
            }
        }
        Ok(())
    }

    /// The time that a context has of itself: of the commit, of the download, of the newest entry of
    /// an archive. A directory of this machine has none.
    pub(crate) fn time_of(
        &self,
        request: &BuildRequest,
        context: &Context,
        (reporter, cancel): (&Reporter<'_>, &CancelToken),
    ) -> Result<Option<Timestamp>, BuildError> {
        let fetcher = self.engine.fetcher(request, reporter, cancel);
        if let Context::Http(url) = context {
            let found = fetcher.download(url, None).map_err(BuildError::Fetch)?;
            return Ok(found.modified);
        }
        let (Context::Git(_) | Context::Archive(_)) = context else {
            return Ok(None);
        };
        let Place::Directory(path) = self.fetch(context, &fetcher)? else {
            return Ok(None);
        };
        let root = Dir::open(&path).map_err(|error| BuildError::Fetch(error.into()))?;
        let time = match context {
            // A checkout leaves the commit's time on its root.
            Context::Git(_) => root.metadata(Dir::ITSELF).map(|root| root.mtime),
            _ => newest(&root),
        };
        let time = time.map_err(|error| BuildError::Fetch(error.into()))?;
        Ok(Some(Timestamp::new(time.seconds, time.nanoseconds)))
    }

    fn fetch(&self, context: &Context, fetcher: &Fetcher<'_>) -> Result<Place, BuildError> {
        match context {
            Context::Empty => Ok(Place::Nothing),
            Context::Directory(path) => {
                open_context(path)?;
                Ok(Place::Directory(path.clone()))
            }
            Context::Git(text) => {
                let chain = git_context(text, fetcher).map_err(BuildError::Fetch)?;
                self.directory(&chain)
            }
            Context::Http(url) => {
                let found = fetcher.download(url, None).map_err(BuildError::Fetch)?;
                let file = fetcher.open(&found.digest).map_err(BuildError::Fetch)?;
                if is_archive(&file) {
                    let file = fetcher.open(&found.digest).map_err(BuildError::Fetch)?;
                    self.unpack(file, url, fetcher.cancel)
                } else {
                    let text = fetcher.text(url).map_err(BuildError::Fetch)?;
                    Ok(Place::Text(text))
                }
            }
            Context::Archive(path) => {
                let file = files::open(path).map_err(SourceError::Fs);
                let file = file.map_err(BuildError::Fetch)?;
                self.unpack(file, "standard input", fetcher.cancel)
            }
        }
    }

    /// Where the single layer of a chain is.
    fn directory(&self, chain: &Chain) -> Result<Place, BuildError> {
        match chain.top() {
            Some(layer) => Ok(Place::Directory(self.engine.layer_path(&layer.snapshot)?)),
            None => Ok(Place::Nothing),
        }
    }

    fn unpack(
        &self,
        archive: std::fs::File,
        name: &str,
        cancel: &CancelToken,
    ) -> Result<Place, BuildError> {
        let unpacked = || -> Result<Chain, SourceError> {
            let root = self.engine.writable_root(&Chain::default())?;
            let dir = root.dir(self.engine)?;
            let options = MergeOptions {
                owner: None,
                clamp_mtime: None,
            };
            untar_merge(archive, &dir, Path::new("/"), &options, cancel).map_err(|source| {
                SourceError::Archive {
                    name: name.to_owned(),
                    source,
                }
            })?;
            drop(dir);
            Ok(root.commit(self.engine.now())?)
        };
        self.directory(&unpacked().map_err(BuildError::Fetch)?)
    }
}

/// Where links in a context may lead.
const fn links(context: &Context) -> Links {
    match context {
        Context::Directory(_) => Links::Follow,
        Context::Empty | Context::Git(_) | Context::Http(_) | Context::Archive(_) => {
            Links::StayInside
        }
    }
}

/// The newest time below a directory, its own aside.
fn newest(dir: &Dir) -> Result<FileTime, FsError> {
    let mut newest = FileTime {
        seconds: 0,
        nanoseconds: 0,
    };
    // A list of paths and no open directories: an archive may be as deep and wide as it likes.
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let dir = if path.as_os_str().is_empty() {
            dir.try_clone()?
        } else {
            dir.open_dir_beneath(&path)?
        };
        for entry in dir.entries()? {
            let metadata = dir.metadata(&entry.name)?;
            let time = metadata.mtime;
            if (time.seconds, time.nanoseconds) > (newest.seconds, newest.nanoseconds) {
                newest = time;
            }
            if metadata.file_type == FileType::Dir {
                open.push(path.join(&entry.name));
            }
        }
    }
    Ok(newest)
}

fn git_context(text: &str, fetcher: &Fetcher<'_>) -> Result<Chain, SourceError> {
    let mut git = GitRef::parse(text)?.ok_or_else(|| SourceError::NotGit(text.to_owned()))?;
    let keep = fetcher
        .request
        .build_args
        .get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    if git.keep_git_dir.is_none() {
        git.keep_git_dir = keep.map(|keep| matches!(keep.as_str(), "1" | "true"));
    }
    let facts = fetcher.resolve(&RemoteSource::Git(git.clone()))?;
    let SourceFacts::Git {
        commit,
        reference,
        tag,
    } = facts
    else {
        return Err(SourceError::NotGit(text.to_owned()));
    };
    fetcher.checkout_once(&GitOp {
        git,
        commit,
        reference,
        tag,
    })
}
