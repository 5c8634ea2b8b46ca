//! Build caches that travel between machines: in a registry, a folder, an image's configuration,
//! an S3 bucket, or GitHub's cache service; in BuildKit's formats.
//!
//! ```text
//! flag's text ──parse_from──> CacheSource ──import──> Imported ──find(key)──> Found { layers, extra }
//!                                                        └──fetch_blob──> bytes
//! flag's text ──parse_to────> CacheTarget ──export(Exported, blobs)──> Summary
//! ```
//!
//! A travelling cache is one document (`application/vnd.buildkit.cacheconfig.v0`, [`mod@format`]) and
//! the layers that it names. kiln's own records are in it as records without inputs, whose digest
//! is kiln's key with `sha256:` before it, and which carry a member `kiln` with what BuildKit has
//! no place for. BuildKit reads such a document, finds no key of its own in these records, and
//! leaves them alone.
//!
//! Only the document is fetched by [`import`]; layers come when a step asks for them. What BuildKit
//! wrote is found through [`buildkit`], by the digests that it has for the same steps.
//!
//! Deliberately absent: which records a build exports (`mode=min` or `max` is data here), how
//! layers are made and unpacked, and the environment, whose values are passed in.

mod attributes;
pub mod buildkit;
mod chunks;
mod context;
mod error;
mod export;
pub mod format;
mod gha;
mod http;
mod import;
pub mod inline;
mod local;
mod manifest;
mod options;
mod parse;
mod plan;
mod record;
mod registry;
mod s3;
mod sink;
mod wire;

pub use attributes::OptionError;
pub use context::Context;
pub use error::CacheError;
pub use export::{Blobs, Summary, export};
pub use http::HttpError;
pub use import::{Imported, import};
pub use options::{
    CacheSource, CacheTarget, CompressionChoice, Environment, Gha, GhaAccess, GhaApi, LocalSource,
    LocalTarget, Mode, RegistrySource, RegistryTarget, S3, S3Credentials, Shape, Target,
};
pub use parse::{parse_from, parse_to};
pub use record::{Exported, Found, Key, Layer, Record};
