//! OCI and Docker documents: digest, reference, platform, media type, descriptor, manifest, index
//! and image configuration; parse and print.
//!
//! Everything here is a value. A document read from bytes and printed again keeps what it means,
//! not its bytes: whoever needs the digest of a document that came from elsewhere keeps the bytes
//! it came in. Fields that kiln does not know survive in the image configuration, since a builder
//! hands its base's configuration on.
//!
//! Deliberately absent: input, output, clocks, and serialisation traits on the public types. The
//! JSON forms are private wire types, converted at the edge.

mod config;
mod descriptor;
mod digest;
mod document;
mod media_type;
mod platform;
mod reference;
mod wire;

pub use config::{Healthcheck, History, ImageConfig, RuntimeConfig, Unknown, chain_ids};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Digester};
pub use document::{Document, DocumentError, Index, MAX_DOCUMENT_SIZE, Manifest};
pub use media_type::{Compression, Family, LayerType, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{DEFAULT_REGISTRY, DEFAULT_TAG, Reference, ReferenceError};
