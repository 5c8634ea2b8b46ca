//! Sources from elsewhere: what a URL or a branch leads to, and getting it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kiln_base::events::Silent;
use kiln_base::{CancelToken, Timestamp};
use kiln_dockerfile::gitref::{GitRef, GitScheme};
use kiln_fetch::Network;
use kiln_fetch::git::{self, GitAuth, GitCommit, GitRequest, KnownHosts, find_credential};
use kiln_fetch::http::{self, HttpOutcome, HttpRequest, Retry, Validators};
use kiln_frontend::{RemoteSource, SourceFacts};
use kiln_graph::{GitOp, HttpOp, KeyHasher, Op};
use kiln_oci::Digest;
use kiln_store::{CacheKey, KnownDownload};
use kiln_sys::files;
use kiln_sys::fs::{Dir, FileTime};

use crate::Engine;
use crate::chain::Chain;
use crate::error::{BuildError, SourceError};
use crate::reporter::Reporter;
use crate::request::{BuildRequest, Context, SshSource};

/// The folder of the store that holds bare repositories.
const REPOSITORIES: &str = "git";
/// How long one run of git may take.
const GIT_TIMEOUT: Duration = Duration::from_mins(30);
/// What servers are told of who asks.
const USER_AGENT: &str = concat!("kiln/", env!("CARGO_PKG_VERSION"));
/// The largest Dockerfile that is downloaded, in bytes.
const MAX_TEXT: u64 = 4 << 20;

/// Fetches for one request, with its secrets.
pub(crate) struct Fetcher<'a> {
    engine: &'a Engine,
    pub(crate) request: &'a BuildRequest,
    reporter: &'a Reporter<'a>,
    pub(crate) cancel: &'a CancelToken,
}

/// A download that is in the store.
#[derive(Debug, Clone)]
pub(crate) struct Downloaded {
    pub(crate) digest: Digest,
    pub(crate) name: String,
    pub(crate) modified: Option<Timestamp>,
}

/// Under what a download is remembered: an address may hold a password or a signature.
fn key(url: &str) -> String {
    Digest::sha256(url.as_bytes()).to_string()
}

impl Engine {
    pub(crate) const fn fetcher<'a>(
        &'a self,
        request: &'a BuildRequest,
        reporter: &'a Reporter<'a>,
        cancel: &'a CancelToken,
    ) -> Fetcher<'a> {
        Fetcher {
            engine: self,
            request,
            reporter,
            cancel,
        }
    }
}

impl Engine {
    /// The commit that a request's context is now; `None` where it is no git repository.
    ///
    /// # Errors
    ///
    /// If the repository can't be reached, or has no such commit.
    pub fn context_commit(
        &self,
        request: &BuildRequest,
        cancel: &CancelToken,
    ) -> Result<Option<String>, BuildError> {
        let Context::Git(text) = &request.context else {
            return Ok(None);
        };
        let Some(git) = GitRef::parse(text).map_err(|error| BuildError::Fetch(error.into()))?
        else {
            return Ok(None);
        };
        let reporter = Reporter::new(&Silent);
        let fetcher = self.fetcher(request, &reporter, cancel);
        let facts = fetcher.resolve(&RemoteSource::Git(git));
        match facts.map_err(BuildError::Fetch)? {
            SourceFacts::Git { commit, .. } => Ok(Some(commit)),
            SourceFacts::Http { .. } => Ok(None),
        }
    }

    /// A file in the store's file system that is gone when it is closed, also by a crash.
    fn nameless_file(&self) -> Result<File, SourceError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".download-{}-{number}", std::process::id());
        let path = self.store.root().join(name);
        let file = files::create_new(&path, 0o600)?;
        files::remove_file(&path)?;
        Ok(file)
    }
}

impl Fetcher<'_> {
    /// What a source leads to now.
    pub(crate) fn resolve(&self, source: &RemoteSource) -> Result<SourceFacts, SourceError> {
        match source {
            RemoteSource::Http { url, checksum } => {
                let found = self.download(url, checksum.as_ref())?;
                Ok(SourceFacts::Http {
                    digest: found.digest,
                    name: found.name,
                    modified: found.modified,
                })
            }
            RemoteSource::Git(reference) => {
                let title = format!("resolve {reference}");
                let resolve =
                    |_| self.git(reference, |request| Ok(git::resolve(request, self.cancel)?));
                let commit = self.reporter.step(&title, self.cancel, resolve)?;
                Ok(SourceFacts::Git {
                    commit: commit.commit,
                    reference: commit.reference,
                    tag: commit.tag,
                })
            }
        }
    }

    /// Checks a commit out as a root of its own.
    pub(crate) fn checkout(&self, op: &GitOp) -> Result<Chain, SourceError> {
        let root = self.engine.writable_root(&Chain::default())?;
        let commit = GitCommit {
            commit: op.commit.clone(),
            reference: op.reference.clone(),
            tag: op.tag.clone(),
        };
        let done = self.git(&op.git, |request| {
            Ok(git::checkout(request, &commit, root.upper(), self.cancel)?)
        })?;
        // No image has the root's own time, so it keeps the commit's for who asks.
        let time = FileTime {
            seconds: done.commit_time.seconds(),
            nanoseconds: 0,
        };
        Dir::open(root.upper())?.set_times(Dir::ITSELF, time)?;
        Ok(root.commit(self.engine.now())?)
    }

    /// Like [`Fetcher::checkout`], unless the store has the files.
    pub(crate) fn checkout_once(&self, op: &GitOp) -> Result<Chain, SourceError> {
        let mut hasher = KeyHasher::new("git context");
        hasher.field("owners", self.engine.machine.scope());
        let key = CacheKey(hasher.parts(&Op::Git(op.clone()).parts()).finish());
        if let Some(record) = self.engine.store.cache_get(&key)?
            && let Some(chain) = Chain::from_bytes(&record.extra)
            && self.engine.is_unpacked(&chain)?
        {
            return Ok(chain);
        }
        let title = format!("fetch {}", op.git);
        let fetch = |_| self.checkout(op);
        let chain = self.reporter.step(&title, self.cancel, fetch)?;
        let top = chain.top().map(|layer| &layer.snapshot);
        self.engine.store.cache_put(&key, top, &chain.to_bytes())?;
        Ok(chain)
    }

    /// The file of a download as a root of its own.
    pub(crate) fn place(&self, op: &HttpOp) -> Result<Chain, SourceError> {
        if !self.engine.store.has_blob(&op.digest)? {
            self.download(&op.url, Some(&op.digest))?;
        }
        let mut source = self.open(&op.digest)?;
        let root = self.engine.writable_root(&Chain::default())?;
        let dir = root.dir(self.engine)?;
        let mut file = dir.create_file(&op.name, 0o600)?;
        std::io::copy(&mut source, &mut file).map_err(SourceError::Write)?;
        drop(file);
        let time = FileTime {
            seconds: op.modified,
            nanoseconds: 0,
        };
        dir.set_times(&op.name, time)?;
        dir.set_times(Dir::ITSELF, time)?;
        drop(dir);
        Ok(root.commit(self.engine.now())?)
    }

    /// A download's bytes.
    pub(crate) fn open(&self, digest: &Digest) -> Result<File, SourceError> {
        let blob = self.engine.store.open_blob(digest)?;
        let blob = blob.ok_or_else(|| SourceError::BlobGone(digest.clone()))?;
        Ok(blob.into_file())
    }

    /// A download as text: a Dockerfile.
    pub(crate) fn text(&self, url: &str) -> Result<String, SourceError> {
        let found = self.download(url, None)?;
        let mut text = String::new();
        let mut file = self.open(&found.digest)?.take(MAX_TEXT + 1);
        let read = file.read_to_string(&mut text);
        match read {
            Ok(size) if size as u64 <= MAX_TEXT => Ok(text),
            _ => Err(SourceError::NotText(http::shown(url))),
        }
    }

    /// Downloads a file, unless the store has it and the server says that it has not changed. With
    /// a checksum that the store has, nobody is asked.
    pub(crate) fn download(
        &self,
        url: &str,
        checksum: Option<&Digest>,
    ) -> Result<Downloaded, SourceError> {
        let name = http::url_file_name(url);
        // What the request carries besides decides about the answer, but may be secret.
        let known = self.engine.store.known_download(&key(url))?;
        let known = match known {
            Some(known) if self.engine.store.has_blob(&known.digest)? => Some(known),
            Some(_) | None => None,
        };
        if let (Some(known), Some(checksum)) = (&known, checksum)
            && known.digest == *checksum
        {
            return Ok(Downloaded {
                digest: known.digest.clone(),
                name,
                modified: known.last_modified.as_deref().and_then(http::parse_date),
            });
        }
        let title = format!("download {}", http::shown(url));
        self.reporter.step(&title, self.cancel, |_| {
            self.transfer(url, checksum, known.as_ref(), name)
        })
    }

    fn transfer(
        &self,
        url: &str,
        checksum: Option<&Digest>,
        known: Option<&KnownDownload>,
        name: String,
    ) -> Result<Downloaded, SourceError> {
        let lookup = |name: &str| self.request.secrets.get(name);
        let credential = http::find_credential(url, &lookup)?;
        let validators = known.map(|known| Validators {
            etag: known.etag.clone(),
            last_modified: known.last_modified.clone(),
            digest: known.digest.clone(),
        });
        let request = HttpRequest {
            url,
            credential: credential.as_ref(),
            checksum,
            validators: validators.as_ref(),
            size_limit: None,
            retry: Retry::STANDARD,
        };
        let client = http::Client::new(self.network(), USER_AGENT.to_owned());
        let mut file = self.engine.nameless_file()?;
        let outcome = client.fetch(&request, &mut file, self.cancel)?;
        let (digest, last_modified, modified) = match (outcome, known) {
            (HttpOutcome::Downloaded(done), _) => {
                file.rewind().map_err(SourceError::Write)?;
                let expected = Some((&done.digest, done.size));
                self.engine.store.import_blob(&mut file, expected)?;
                let known = KnownDownload {
                    etag: done.etag,
                    last_modified: done.last_modified,
                    digest: done.digest,
                    file_name: Some(done.file_name),
                };
                self.engine.store.remember_download(&key(url), &known)?;
                (known.digest, known.last_modified, done.modified)
            }
            (HttpOutcome::NotModified, Some(known)) => {
                (known.digest.clone(), known.last_modified.clone(), None)
            }
            (HttpOutcome::NotModified, None) => {
                return Err(SourceError::NotAsked(http::shown(url)));
            }
        };
        let from_header = || last_modified.as_deref().and_then(http::parse_date);
        Ok(Downloaded {
            digest,
            name,
            modified: modified.or_else(from_header),
        })
    }

    /// Runs `work` with what a repository needs: credentials, the agent, proxies.
    fn git<T>(
        &self,
        reference: &kiln_dockerfile::gitref::GitRef,
        work: impl FnOnce(&GitRequest<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let lookup = |name: &str| self.request.secrets.get(name);
        let mut agent = None;
        if reference.remote.scheme() == GitScheme::Ssh {
            agent = match self.request.ssh.get("default") {
                Some(SshSource::Agent(socket)) => Some(socket.clone()),
                Some(SshSource::Keys(_)) => {
                    return Err(SourceError::KeysForGit(reference.to_string()));
                }
                None => None,
            };
        }
        let auth = GitAuth {
            credential: find_credential(&reference.remote, &lookup)?,
            ssh_agent: agent,
            known_hosts: KnownHosts::AcceptAny,
        };
        let network = self.network();
        let cache = self.engine.store.root().join(REPOSITORIES);
        work(&GitRequest {
            git: reference,
            auth: &auth,
            network: &network,
            cache_dir: &cache,
            timeout: GIT_TIMEOUT,
        })
    }

    fn network(&self) -> Network {
        Network {
            proxies: self.request.proxies.clone(),
            ca_files: Vec::new(),
        }
    }
}
