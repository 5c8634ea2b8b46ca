//! `ADD`: archives that are unpacked, and sources that are fetched.
//!
//! What a URL or a branch leads to is asked for as data, so a step's definition names the content
//! and not the address.

use kiln_base::Timestamp;
use kiln_dockerfile::ast::{self, Add, Command};
use kiln_dockerfile::gitref::{GitRef, parse_checksum};
use kiln_dockerfile::{Diagnostic, Span};
use kiln_graph::{CopyFrom, CopyOp, CopySource, GitOp, HttpOp, Op, StepIndex, StepMeta, Unpack};
use kiln_oci::Digest;

use crate::copy::{Parts, excluded};
use crate::lower::{Lowerer, Source};
use crate::paths;
use crate::scope::refuse;
use crate::stage::StageState;
use crate::text::Result;
use crate::{RemoteSource, SourceFacts, SourceRequest};

/// A source that is not a path of the context.
pub(crate) enum Remote {
    /// A URL.
    Http,
    /// A git repository.
    Git(Box<GitRef>),
}

/// Whether a source is fetched, and where it is written.
type Place = Option<(Remote, Span)>;

impl Remote {
    /// What a source is; `None` for a path.
    pub(crate) fn of(source: &str, span: Span) -> Result<Option<Self>> {
        match GitRef::parse(source) {
            Ok(Some(git)) if !git.is_ambiguous => return Ok(Some(Self::Git(Box::new(git)))),
            Ok(_) => {}
            Err(error) => return refuse(Diagnostic::error(span, error.to_string())),
        }
        let is_http = source.starts_with("http://") || source.starts_with("https://");
        Ok(is_http.then_some(Self::Http))
    }
}

/// The flags of an `ADD` that speak of fetched sources, expanded.
struct Flags {
    checksum: Option<(String, Span)>,
    keep_git_dir: Option<(bool, Span)>,
    unpack: Option<bool>,
}

/// A source once it is known where its files are.
struct Found {
    root: StepIndex,
    pattern: String,
    unpack: Unpack,
}

impl Lowerer<'_> {
    pub(crate) fn add(
        &mut self,
        state: &mut StageState,
        command: &Command,
        add: &Add,
    ) -> Result<()> {
        let sources = self.sources(state, command, &add.paths)?;
        let flags = Flags {
            checksum: match &add.checksum {
                None => None,
                Some(text) => Some((self.word(text, state)?, text.span)),
            }
            .filter(|(checksum, _)| !checksum.is_empty()),
            keep_git_dir: add
                .keep_git_dir
                .as_ref()
                .map(|keep| (keep.value, keep.span)),
            unpack: add.unpack.as_ref().map(|unpack| unpack.value),
        };
        let mut remotes = Vec::new();
        for (source, written) in sources.iter().zip(&add.paths.sources) {
            remotes.push(match (source, written) {
                (CopySource::Path(path), ast::CopySource::Path(text)) => {
                    Remote::of(path, text.span)?.map(|remote| (remote, text.span))
                }
                _ => None,
            });
        }
        check_flags(&flags, &sources, &remotes)?;
        let local = match flags.unpack {
            None | Some(true) => Unpack::Archives,
            Some(false) => Unpack::Never,
        };
        let exclude = excluded(&add.options)?;
        let mut parts = Parts {
            name: "ADD",
            paths: &add.paths,
            options: &add.options,
            shown: sources.clone(),
            sources: sources.clone(),
            from: Source::Files(self.options.context),
            parents: false,
            exclude,
            unpack: local,
        };
        if let ([CopySource::Path(path)], [Some((remote, span))]) =
            (sources.as_slice(), remotes.as_slice())
        {
            let found = self.fetched(state, path, (remote, *span), &flags)?;
            parts.sources = vec![CopySource::Path(found.pattern)];
            parts.from = Source::Root(found.root);
            parts.unpack = found.unpack;
        } else if remotes.iter().any(Option::is_some) {
            let gathered = self.gather(state, (&sources, &remotes), &parts, &flags)?;
            let folders = (0..sources.len()).map(|n| CopySource::Path(format!("/{n}")));
            parts.sources = folders.collect();
            parts.from = Source::Root(gathered);
            parts.unpack = Unpack::Never;
            parts.exclude = Vec::new();
        }
        self.copy_parts(state, command, parts)
    }

    /// Sources of several kinds, each in a numbered folder of one root, so that a single step can
    /// copy them all.
    fn gather(
        &mut self,
        state: &StageState,
        (sources, remotes): (&[CopySource], &[Place]),
        parts: &Parts<'_>,
        flags: &Flags,
    ) -> Result<StepIndex> {
        let title = state.progress.title.clone();
        let mut root = self.scratch(&title);
        let remotes = remotes.iter().map(Option::as_ref);
        let remotes = remotes.chain(std::iter::repeat(None));
        for (number, (source, remote)) in sources.iter().zip(remotes).enumerate() {
            let (from, input, source, unpack) = match (source, remote) {
                (CopySource::Path(path), Some((remote, span))) => {
                    let found = self.fetched(state, path, (remote, *span), flags)?;
                    let pattern = CopySource::Path(found.pattern);
                    (CopyFrom::Root, Some(found.root), pattern, found.unpack)
                }
                (CopySource::Path(_), None) => {
                    let context = self.context(&title, self.options.context);
                    let from = CopyFrom::Context;
                    (from, Some(context), source.clone(), parts.unpack)
                }
                (CopySource::Inline(_), _) => {
                    (CopyFrom::Nothing, None, source.clone(), Unpack::Never)
                }
            };
            let op = CopyOp {
                sources: vec![source],
                from,
                dest: format!("/{number}/"),
                chown: None,
                owners: 0,
                chmod: None,
                parents: false,
                exclude: parts.exclude.clone(),
                unpack,
                link: true,
            };
            let meta = StepMeta {
                name: format!("[internal] gather source {}", number + 1),
                ..self.internal(&title)
            };
            let inputs = std::iter::once(root).chain(input).collect();
            root = self.builder.add(Op::Copy(op), inputs, meta);
        }
        Ok(root)
    }

    /// Where the files of a fetched source are. Where that is not known yet it is asked for, and an
    /// empty root stands in its place.
    fn fetched(
        &mut self,
        state: &StageState,
        path: &str,
        (remote, span): (&Remote, Span),
        flags: &Flags,
    ) -> Result<Found> {
        let source = match remote {
            Remote::Http => RemoteSource::Http {
                url: path.to_owned(),
                checksum: match &flags.checksum {
                    None => None,
                    Some((text, span)) => Some(digest(text, *span)?),
                },
            },
            Remote::Git(git) => RemoteSource::Git(with_flags(git, flags)?),
        };
        let title = state.progress.title.clone();
        let Some(facts) = self.facts.source(&source).cloned() else {
            self.want(SourceRequest { source, span });
            return Ok(Found {
                root: self.scratch(&title),
                pattern: "/".to_owned(),
                unpack: Unpack::Never,
            });
        };
        let (op, pattern, unpack) = match (source, facts) {
            (
                RemoteSource::Http { url, .. },
                SourceFacts::Http {
                    digest,
                    name,
                    modified,
                },
            ) => {
                let pattern = format!("/{}", paths::literal(&name));
                let unpack = match flags.unpack {
                    Some(true) => Unpack::Archives,
                    None | Some(false) => Unpack::Never,
                };
                let op = HttpOp {
                    url,
                    digest,
                    name,
                    modified: modified.map_or(0, Timestamp::seconds),
                };
                (Op::Http(op), pattern, unpack)
            }
            (
                RemoteSource::Git(git),
                SourceFacts::Git {
                    commit,
                    reference,
                    tag,
                },
            ) => {
                let op = GitOp {
                    git,
                    commit,
                    reference,
                    tag,
                };
                (Op::Git(op), "/".to_owned(), Unpack::Never)
            }
            (RemoteSource::Http { .. } | RemoteSource::Git(_), _) => {
                let message = "what is known of the source is not of its kind";
                return refuse(Diagnostic::error(span, message));
            }
        };
        let meta = StepMeta {
            name: format!("fetch {}", shown(&op)),
            span: Some(span.start..span.end),
            ignore_cache: state.ignore_cache,
            ..self.internal(&title)
        };
        let root = self.builder.add(op, Vec::new(), meta);
        Ok(Found {
            root,
            pattern,
            unpack,
        })
    }
}

fn shown(op: &Op) -> String {
    match op {
        Op::Http(http) => without_secrets(&http.url),
        Op::Git(git) => git.git.to_string(),
        _ => String::new(),
    }
}

/// A URL as progress may show it: without user, password and query, which may be secret.
fn without_secrets(url: &str) -> String {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = place.split_once("://") else {
        return place.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let end = if url.contains('?') { "?…" } else { "" };
    format!("{scheme}://{host}{path}{end}")
}

/// Flags that need a fetched source, or contradict each other.
fn check_flags(flags: &Flags, sources: &[CopySource], remotes: &[Place]) -> Result<()> {
    if let Some((_, span)) = &flags.checksum {
        if sources.len() != 1 {
            let message = "`--checksum` can't be used with several sources";
            return refuse(Diagnostic::error(*span, message));
        }
        if remotes.iter().all(Option::is_none) {
            let message = "`--checksum` needs a source that is fetched from elsewhere";
            return refuse(Diagnostic::error(*span, message));
        }
    }
    if let Some((_, span)) = flags.keep_git_dir {
        let is_git = |remote: &Place| matches!(remote, Some((Remote::Git(_), _)));
        if !remotes.iter().any(is_git) {
            let message = "`--keep-git-dir` needs a git repository as source";
            return refuse(Diagnostic::error(span, message));
        }
    }
    Ok(())
}

/// A reference with what the instruction's flags add to it.
fn with_flags(git: &GitRef, flags: &Flags) -> Result<GitRef> {
    let mut git = git.clone();
    if let Some((keep, span)) = flags.keep_git_dir {
        if git.keep_git_dir.is_some_and(|written| written != keep) {
            let message = "`--keep-git-dir` contradicts `keep-git-dir` of the address";
            return refuse(Diagnostic::error(span, message));
        }
        git.keep_git_dir = Some(keep);
    }
    if let Some((checksum, span)) = &flags.checksum {
        let checksum = match parse_checksum(checksum) {
            Ok(checksum) => checksum,
            Err(error) => return refuse(Diagnostic::error(*span, error.to_string())),
        };
        if git
            .checksum
            .as_ref()
            .is_some_and(|written| *written != checksum)
        {
            let message = "`--checksum` contradicts the checksum of the address";
            return refuse(Diagnostic::error(*span, message));
        }
        git.checksum = Some(checksum);
    }
    Ok(git)
}

fn digest(text: &str, span: Span) -> Result<Digest> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(error) => refuse(
            Diagnostic::error(span, format!("`{text}` is not a checksum: {error}"))
                .with_hint("write `sha256:` and 64 hexadecimal digits"),
        ),
    }
}
