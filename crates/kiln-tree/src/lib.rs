//! File trees as `COPY` and `ADD` see them: select by name and pattern, digest by content, copy
//! into a root; and the users and groups of a root.
//!
//! ```text
//! Source + CopySpec ──select──> Selection ──digest──> ContentDigest     (the slow cache key)
//!                                    └──────copy────> files in a root
//! ```
//!
//! The rules are BuildKit's, also where they surprise: a copied directory stands for its contents,
//! a link that is named is followed while links inside a copied directory are kept, an octal
//! `--chmod` holds for directories too, and `COPY --from` without `--chown` keeps owners. The one
//! deliberate difference: `--exclude` also holds for files that a wildcard names, as BuildKit's
//! reference says and its code does not do.
//!
//! A [`Selection`] is a snapshot of attributes. Content is read later, by its digest and its copy,
//! and both fail when a file is not the one that was selected any more: a cache key never stands
//! for other bytes than those copied.
//!
//! Deliberately absent: archives (`kiln-layer` unpacks them; see [`CopyItem::open_file`]), layers
//! and whiteouts, and raw paths: every access goes through an open directory of `kiln-sys`.

mod copy;
mod digest;
mod error;
mod filter;
mod glob;
mod hasher;
mod lexical;
mod name;
mod nodes;
mod parallel;
mod scan;
mod select;
mod stat_cache;
pub mod users;
mod xattrs;

pub use copy::{
    Contents, CopyOptions, NewAttributes, NewOwner, Sources, copy, copy_item, make_dest_dir,
};
pub use digest::{ContentDigest, DigestOptions};
pub use error::{CopyError, DigestError, SelectError};
pub use glob::{BadPattern, Pattern};
pub use select::{CopyItem, CopySpec, InlineFile, Selection, Source, SourceSpec, select};
pub use stat_cache::{FileDigest, FileStamp, NoStatCache, StatCache};
