//! Trees in, trees and listings out: diff, write, unpack, merge and export against each other, the
//! kernel's overlayfs and other programs.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "that is how `UPDATE_EXPECT=1` writes what it expects"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod craft;
mod diff;
mod export;
mod flatten;
mod hostile;
mod merge;
mod peers;
mod round_trip;
mod tree;
mod unpack;
mod write;

use std::num::NonZeroUsize;

use kiln_base::CancelToken;
use kiln_layer::{
    BlobFormat, Changes, DiffOptions, LayerCompression, LayerOptions, LayerSummary, OverlayXattrs,
    UnpackError, UnpackOptions, UnpackReport,
};
use kiln_sys::fs::Dir;

/// Tests keep overlayfs' marks where an ordinary user may set them, too.
const DIFF: DiffOptions = DiffOptions {
    xattrs: OverlayXattrs::User,
    clamp_mtime: None,
};

fn changes(upper: &Dir, lowers: &[Dir]) -> Changes {
    kiln_layer::diff(upper, lowers, &DIFF, &CancelToken::new()).expect("a diff")
}

fn options(compression: LayerCompression, threads: usize) -> LayerOptions {
    LayerOptions {
        compression,
        clamp_mtime: None,
        threads: NonZeroUsize::new(threads).expect("threads"),
    }
}

fn write(changes: &Changes, options: &LayerOptions) -> (Vec<u8>, LayerSummary) {
    let mut blob = Vec::new();
    let summary =
        kiln_layer::write_layer(changes, &mut blob, options, &CancelToken::new()).expect("a layer");
    (blob, summary)
}

fn unpack_options() -> UnpackOptions {
    UnpackOptions {
        format: BlobFormat::Detect,
        xattrs: OverlayXattrs::User,
        expected: None,
        diff_id: None,
    }
}

fn unpack(blob: &[u8], into: &Dir) -> Result<UnpackReport, UnpackError> {
    kiln_layer::unpack(blob, into, &unpack_options(), &CancelToken::new())
}

/// An error with its causes, as the user sees it.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
