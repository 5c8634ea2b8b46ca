//! Images as immutable values, and the media they travel on.
//!
//! A *source* opens blobs by digest ([`BlobSource`]); a *sink* takes them ([`BlobSink`]). The
//! store, an image layout directory and an archive being read are each other's equals here, so
//! that every transfer is *source → (convert) → sink*:
//!
//! | medium | read | write |
//! |---|---|---|
//! | image layout directory | [`Layout`] | [`write_layout`] |
//! | archive of a layout (`type=oci`) | [`read_archive`] | [`write_oci_archive`] |
//! | `docker save` archive (`type=docker`) | [`read_archive`] | [`write_docker_archive`] |
//! | memory | [`MemoryBlobs`] | [`MemoryBlobs`] |
//!
//! Deliberately absent: registries (`kiln-registry`), unpacking layers (`kiln-layer`), and any
//! knowledge of where kiln keeps images (`kiln-store`).

mod archive;
mod blob;
mod convert;
mod decode;
mod image;
mod layout;
mod tar_stream;
mod validate;

pub use archive::{
    Archive, ArchiveError, ArchiveKind, LoadedImage, NamedImage, WriteError, read_archive,
    write_docker_archive, write_oci_archive,
};
pub use blob::{BlobError, BlobSink, BlobSource, MemoryBlobs, PutError, read_blob};
pub use convert::{ConvertError, convert};
pub use decode::decoder;
pub use image::{Image, ImageError, reachable, select};
pub use layout::{Layout, LayoutError, write_layout};
pub use validate::{Problem, validate, verify_blobs};
