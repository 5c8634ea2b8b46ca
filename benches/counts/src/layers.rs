//! A tree to a layer, and back.

use std::hint::black_box;
use std::num::NonZeroUsize;

use kiln_base::CancelToken;
use kiln_layer::{
    BlobFormat, DiffOptions, LayerCompression, LayerOptions, LayerSummary, OverlayXattrs,
    UnpackOptions, diff, unpack, write_layer,
};
use kiln_sys::files;
use kiln_sys::fs::Dir;

use crate::path::Walk;
use crate::{Failure, input};

/// Where overlayfs' marks are looked for and put: where every kind of user may.
const XATTRS: OverlayXattrs = OverlayXattrs::User;

const TREE: &str = "tree";
const LAYER: &str = "layer.tar.gz";
const TARGET: &str = "unpacked";

pub(crate) fn prepare_tree() -> Result<(), Failure> {
    input::make_sources(&format!("{TREE}/src"), 2_000)?;
    input::make_large(&format!("{TREE}/lib"), 4, 500_000)
}

pub(crate) fn prepare_layer() -> Result<(), Failure> {
    prepare_tree()?;
    let mut blob = Vec::new();
    write(&Dir::open(TREE)?, &mut blob)?;
    files::write(LAYER, &blob)?;
    files::create_dir(TARGET, 0o755)?;
    Ok(())
}

pub(crate) fn load_tree() -> Result<Walk, Failure> {
    let tree = Dir::open(TREE)?;
    Ok(Box::new(move || {
        black_box(write(&tree, std::io::sink())?);
        Ok(())
    }))
}

fn write(tree: &Dir, sink: impl std::io::Write) -> Result<LayerSummary, Failure> {
    let cancel = CancelToken::new();
    let options = DiffOptions {
        xattrs: XATTRS,
        clamp_mtime: None,
    };
    let changes = diff(tree, &[], &options, &cancel)?;
    let options = LayerOptions {
        compression: LayerCompression::default(),
        clamp_mtime: None,
        threads: NonZeroUsize::MIN,
    };
    Ok(write_layer(&changes, sink, &options, &cancel)?)
}

pub(crate) fn load_layer() -> Result<Walk, Failure> {
    let blob = files::open(LAYER)?;
    let target = Dir::open(TARGET)?;
    Ok(Box::new(move || {
        let options = UnpackOptions {
            format: BlobFormat::Detect,
            xattrs: XATTRS,
            expected: None,
            diff_id: None,
        };
        black_box(unpack(blob, &target, &options, &CancelToken::new())?);
        Ok(())
    }))
}
