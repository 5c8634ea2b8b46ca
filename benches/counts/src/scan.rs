//! The files of a build context: found, and digested by content.

use std::hint::black_box;
use std::path::Path;

use kiln_base::{CancelToken, Timestamp};
use kiln_dockerfile::ignore::Ignore;
use kiln_store::{ContextId, StatCache, Store};
use kiln_sys::files;
use kiln_sys::fs::{Device, Dir, FileTime, Owner};
use kiln_tree::{
    ContentDigest, CopySpec, DigestOptions, FileDigest, FileStamp, NewAttributes, NewOwner, Source,
    SourceSpec, select,
};

use crate::path::Walk;
use crate::{Failure, input};

const CONTEXT: &str = "context";
const STORE: &str = "store";

/// What many projects ignore.
const IGNORE: &str = "\
.git
**/node_modules
**/*.log
**/.DS_Store
build
!build/keep
docs/**/*.md
";

pub(crate) fn prepare_cold() -> Result<(), Failure> {
    input::make_sources(&format!("{CONTEXT}/src"), 2_000)?;
    input::make_sources(&format!("{CONTEXT}/node_modules"), 100)?;
    open_store()?;
    Ok(())
}

pub(crate) fn prepare_warm() -> Result<(), Failure> {
    prepare_cold()?;
    walk(&open_store()?, &Ignore::parse(IGNORE)?)?;
    Ok(())
}

pub(crate) fn load() -> Result<Walk, Failure> {
    let store = open_store()?;
    let ignore = Ignore::parse(IGNORE)?;
    Ok(Box::new(move || {
        black_box(walk(&store, &ignore)?);
        Ok(())
    }))
}

fn open_store() -> Result<Store, Failure> {
    files::create_dir_all(STORE, 0o700)?;
    Ok(Store::open(Path::new(STORE), input::clock())?)
}

/// `COPY . .`'s key, as the engine makes it, with what it remembers of the files.
fn walk(store: &Store, ignore: &Ignore) -> Result<ContentDigest, Failure> {
    let opened = input::later();
    let known = Known(store.stat_cache(&ContextId::of(CONTEXT.as_bytes()))?);
    let root = Dir::open(CONTEXT)?;
    let source = Source::Context {
        root: &root,
        ignore,
    };
    let spec = CopySpec {
        sources: vec![SourceSpec::Path(".".to_owned())],
        parents: false,
        exclude: Ignore::default(),
    };
    let options = DigestOptions {
        attributes: &NewAttributes {
            owner: NewOwner::Set(Owner::ROOT),
            mode: None,
        },
        cache: &known,
        now: FileTime {
            seconds: opened.seconds(),
            nanoseconds: opened.nanoseconds(),
        },
    };
    let digest = select(source, &spec)?.digest(&options, &CancelToken::new())?;
    store.save_stat_cache(&known.0, opened)?;
    Ok(digest)
}

/// The store's memory of files as `kiln-tree` asks for it; the engine has the same adapter.
struct Known(StatCache);

impl kiln_tree::StatCache for Known {
    fn look_up(&self, path: &Path, stamp: &FileStamp) -> Option<FileDigest> {
        let path = path.as_os_str().as_encoded_bytes();
        self.0.get(path, &stored(stamp)).map(FileDigest)
    }

    fn record(&self, path: &Path, stamp: &FileStamp, digest: &FileDigest) {
        let path = path.as_os_str().as_encoded_bytes();
        self.0.put(path, stored(stamp), digest.0);
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
