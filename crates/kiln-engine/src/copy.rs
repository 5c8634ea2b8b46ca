//! `COPY` and `ADD`: files selected in a context or a root, and written into a root.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use kiln_base::trace::Tracer;
use kiln_base::{CancelToken, Timestamp};
use kiln_dockerfile::ignore::Ignore;
use kiln_dockerfile::mode::Mode;
use kiln_graph::{CopyFrom, CopyOp, CopySource, Unpack};
use kiln_layer::{MergeOptions, is_archive, untar_merge};
use kiln_sys::fs::{Dir, FileTime, Owner};
use kiln_tree::{
    ContentDigest, Contents, CopyItem, CopyOptions, CopySpec, DigestOptions, InlineFile,
    NewAttributes, NewOwner, NoStatCache, Selection, Source, SourceSpec, Sources, copy_item,
    make_dest_dir,
};

use crate::Engine;
use crate::chain::Chain;
use crate::context::ContextFiles;
use crate::error::StepError;
use crate::layers::Packer;
use crate::packed::{self, LeftContents};
use crate::roots::{FilesIn, WritableRoot};

/// Where a copy's sources are.
pub(crate) enum From<'a> {
    /// Nowhere: all are inline.
    Nothing,
    /// In the build context.
    Context(&'a ContextFiles),
    /// In the root of a stage or an image.
    Root(&'a Chain),
}

/// What a copy takes, and the digest of it.
#[derive(Debug)]
pub(crate) struct Selected {
    selection: Selection,
    digest: ContentDigest,
    /// The mounted root that the selection reads from.
    _mount: Option<OwnedFd>,
}

impl Selected {
    /// What the copy takes.
    pub(crate) const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The digest of all that the copy writes, owners given by name aside.
    pub(crate) const fn digest(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }
}

/// Finds what a copy takes.
pub(crate) fn select(
    engine: &Engine,
    op: &CopyOp,
    from: &From<'_>,
    tracer: &Tracer,
    cancel: &CancelToken,
) -> Result<Selected, StepError> {
    let spec = spec(op)?;
    let select = |source| tracer.within("select", || kiln_tree::select(source, &spec));
    // Who owns the files is decided by `--chown` and the root's users; the key has both, so
    // that a name need not be resolved before the root exists.
    let attributes = NewAttributes {
        owner: owner(op, Owner::ROOT),
        mode: mode(op)?,
    };
    let digest = |selection: &Selection, cache: &dyn kiln_tree::StatCache| {
        let now = file_time(engine.now());
        let _span = tracer.span("digest");
        selection.digest(
            &DigestOptions {
                attributes: &attributes,
                cache,
                now,
            },
            cancel,
        )
    };
    match from {
        From::Nothing => {
            let selection = select(Source::Nothing)?;
            let digest = digest(&selection, &NoStatCache)?;
            Ok(Selected {
                selection,
                digest,
                _mount: None,
            })
        }
        From::Context(context) => {
            let source = Source::Context {
                root: &context.root,
                ignore: &context.ignore,
            };
            let selection = select(source)?;
            let digest = digest(&selection, context.digests())?;
            Ok(Selected {
                selection,
                digest,
                _mount: None,
            })
        }
        From::Root(chain) => {
            let mount = tracer.within("mount", || engine.readable_root(chain))?;
            let root = mount.try_clone().map_err(crate::error::RootError::Handle)?;
            let root = engine.machine.tree(Dir::from_fd(root));
            let selection = select(Source::Root(&root))?;
            let digest = digest(&selection, &NoStatCache)?;
            Ok(Selected {
                selection,
                digest,
                _mount: Some(mount),
            })
        }
    }
}

/// The digest of what lies at a path of a root.
pub(crate) fn digest_of(
    engine: &Engine,
    chain: &Chain,
    path: &str,
    tracer: &Tracer,
    cancel: &CancelToken,
) -> Result<[u8; 32], StepError> {
    let pattern: String = path
        .chars()
        .flat_map(|ch| {
            matches!(ch, '*' | '?' | '[' | '\\')
                .then_some('\\')
                .into_iter()
                .chain([ch])
        })
        .collect();
    let op = CopyOp {
        sources: vec![CopySource::Path(pattern)],
        from: CopyFrom::Root,
        dest: "/".to_owned(),
        chown: None,
        owners: 0,
        chmod: None,
        parents: false,
        exclude: Vec::new(),
        unpack: Unpack::Never,
        link: false,
    };
    let selected = select(engine, &op, &From::Root(chain), tracer, cancel)?;
    Ok(*selected.digest())
}

/// Writes what was selected on top of `below`, and returns the chain with it on top. `owners` is
/// the root whose users `--chown` names.
pub(crate) fn copy(
    (engine, tracer): (&Engine, &Tracer),
    op: &CopyOp,
    selected: &Selected,
    roots: (&Chain, &Chain),
    cancel: &CancelToken,
) -> Result<Chain, StepError> {
    let root = tracer.within("mount", || engine.writable_root(roots.0))?;
    let taken = (selected, Contents::Copied);
    write((engine, tracer, &root), op, taken, roots, cancel)?;
    Ok(root.commit_traced(engine.now(), tracer)?)
}

/// The same where nobody will read the files: only the layer's blob is kept, as `queue` packs it.
pub(crate) fn copy_packed(
    (engine, tracer): (&Engine, &Tracer),
    op: &CopyOp,
    (selected, packer): (Arc<Selected>, Packer<'_, '_>),
    roots: (&Chain, &Chain),
    cancel: &CancelToken,
) -> Result<Chain, StepError> {
    let files = if selected.selection.count() <= MOST_IN_MEMORY {
        FilesIn::Memory
    } else {
        FilesIn::Store
    };
    let root = tracer.within("mount", || engine.packed_root(roots.0, files))?;
    let taken = (&*selected, Contents::Left);
    let sources = write((engine, tracer, &root), op, taken, roots, cancel)?;
    let contents = Arc::new(LeftContents { selected, sources });
    let kept = root.commit_packed((engine, packer), contents, engine.now(), tracer);
    kept.map_err(packed::step_error)
}

/// The largest tree whose files are made in memory, without their contents: the kernel takes about a
/// kilobyte for each.
const MOST_IN_MEMORY: usize = 50_000;

/// Writes what was selected into a root that stands on `below`.
fn write(
    (engine, tracer, root): (&Engine, &Tracer, &WritableRoot),
    op: &CopyOp,
    (selected, contents): (&Selected, Contents),
    (below, owners): (&Chain, &Chain),
    cancel: &CancelToken,
) -> Result<Sources, StepError> {
    let dir = root.dir(engine)?;
    let owner = match &op.chown {
        None => owner(op, Owner::ROOT),
        Some(name) if below == owners => {
            NewOwner::Set(kiln_tree::users::resolve_owner(&dir, name)?)
        }
        Some(name) => {
            let users = engine
                .machine
                .tree(Dir::from_fd(engine.readable_root(owners)?));
            NewOwner::Set(kiln_tree::users::resolve_owner(&users, name)?)
        }
    };
    let options = CopyOptions {
        dest: op.dest.clone(),
        attributes: NewAttributes {
            owner,
            mode: mode(op)?,
        },
        now: file_time(engine.now()),
        // Times are clamped when the layer is written: the result is kept for builds that clamp
        // to another time, and its key does not say to which.
        clamp: None,
        contents,
    };
    // Files of a context belong to root, but an archive says itself who owns what.
    let named = match owner {
        NewOwner::Set(owner) if op.chown.is_some() => Some(owner),
        NewOwner::Set(_) | NewOwner::Keep => None,
    };
    let merge = MergeOptions {
        owner: named,
        clamp_mtime: None,
    };
    let _span = tracer.span("copy");
    let mut sources = Sources::default();
    for (number, item) in selected.selection.items().iter().enumerate() {
        match op.unpack {
            Unpack::Archives if unpacked(item, &dir, &options, &merge, cancel)? => {}
            Unpack::Archives | Unpack::Never => {
                sources.push(number, copy_item(item, &dir, &options, cancel)?);
            }
        }
    }
    Ok(sources)
}

/// Unpacks the item into the destination, if it is an archive.
fn unpacked(
    item: &CopyItem,
    root: &Dir,
    options: &CopyOptions,
    merge: &MergeOptions,
    cancel: &CancelToken,
) -> Result<bool, StepError> {
    let Some(file) = item.open_file()? else {
        return Ok(false);
    };
    if !is_archive(file) {
        return Ok(false);
    }
    let Some(file) = item.open_file()? else {
        return Ok(false);
    };
    make_dest_dir(root, options)?;
    untar_merge(file, root, Path::new(&options.dest), merge, cancel).map_err(|source| {
        StepError::Archive {
            path: options.dest.clone(),
            source,
        }
    })?;
    Ok(true)
}

fn spec(op: &CopyOp) -> Result<CopySpec, StepError> {
    let source = |source: &CopySource| match source {
        CopySource::Path(path) => SourceSpec::Path(path.clone()),
        CopySource::Inline(file) => SourceSpec::Inline(InlineFile {
            name: file.path.clone(),
            mode: file.mode,
            content: file.content.clone(),
        }),
    };
    Ok(CopySpec {
        sources: op.sources.iter().map(source).collect(),
        parents: op.parents,
        exclude: Ignore::from_patterns(&op.exclude)?,
    })
}

/// Who will own the files, where a name given by `--chown` stands for `named`.
fn owner(op: &CopyOp, named: Owner) -> NewOwner {
    match (&op.chown, op.from) {
        (None, CopyFrom::Root) => NewOwner::Keep,
        (None, CopyFrom::Context | CopyFrom::Nothing) => NewOwner::Set(Owner::ROOT),
        (Some(_), _) => NewOwner::Set(named),
    }
}

fn mode(op: &CopyOp) -> Result<Option<Mode>, StepError> {
    Ok(op.chmod.as_deref().map(str::parse).transpose()?)
}

/// A time as file systems have it.
pub(crate) fn file_time(time: Timestamp) -> FileTime {
    FileTime {
        seconds: time.seconds(),
        nanoseconds: time.nanoseconds(),
    }
}
