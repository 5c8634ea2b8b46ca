//! File tree changes to tar to compressed blob, and back; deterministic by construction.
//!
//! [`diff`] compares the upper directory of an overlay with what is below it and gives
//! [`Changes`]; [`write_layer`] turns those into a layer blob in one streaming pass; [`unpack`]
//! turns a blob from anywhere into a directory that overlayfs can stack; [`list_layer`] only tells
//! what is in it. [`untar_merge`] is `ADD`
//! of an archive, [`flatten`] makes one directory of several that are stacked, [`recompress`] gives a layer another compression, [`tar_tree`] and [`export_tree`] are outputs of a whole root file system, and [`TarWriter`] writes an archive of entries from anywhere.
//!
//! The same tree gives the same bytes: names in the order of their bytes, times in whole seconds,
//! no user names, no access times, block and member sizes that don't depend on the number of
//! threads.
//!
//! Deliberately absent: where blobs and trees are kept (`kiln-store`), which files a `COPY` selects
//! (`kiln-tree`), and sparse archives on writing (the image specification advises against them).

mod changes;
mod decode;
mod diff;
mod entries;
mod export;
mod flatten;
mod list;
mod lower;
mod merge;
mod names;
mod options;
mod overlay;
mod packed;
mod pax;
mod pipeline;
mod place;
mod reader;
mod recompress;
mod stream;
mod times;
mod trees;
mod unpack;
mod write;

pub use changes::{Change, Changes, Elsewhere, Entry, Node, Upper};
pub use decode::{ArchiveFormat, DecodeError, decompressed, detect_archive, is_archive};
pub use diff::{DiffError, DiffOptions, diff, diff_upper};
pub use entries::TarWriter;
pub use export::{ExportError, ExportOptions, export_tree, tar_tree};
pub use flatten::{FlattenError, flatten};
pub use list::{Member, MemberKind, list_layer};
pub use merge::{MergeError, MergeOptions, MergeReport, untar_merge};
pub use options::{GzipLevel, LayerCompression, LayerOptions, LayerSummary, ZstdLevel};
pub use overlay::{OPAQUE, OverlayXattrs, belongs_into_layer};
pub use reader::ArchiveError;
pub use recompress::{RecompressError, recompress};
pub use stream::TarSummary;
pub use times::{UnpackTimes, WriteTimes};
pub use trees::{ExportTree, common_file, remove_others, tar_trees};
pub use unpack::{
    BlobFormat, ExpectedBlob, ForeignLink, UnpackError, UnpackOptions, UnpackReport,
    resolve_against, unpack, unpack_timed,
};
pub use write::{WriteError, write_hashed_layer, write_layer};
