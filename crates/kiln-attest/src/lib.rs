//! What is said about an image: SPDX bills of materials and SLSA provenance, and how both are
//! attached to the image.
//!
//! * [`AttestRequest`] is what `--attest`, `--sbom` and `--provenance` ask for.
//! * [`scan`] finds the packages in a root file system, [`Inventory::spdx`] prints them as an SPDX
//!   2.3 document.
//! * [`Build`] describes how an image was made, [`Build::predicate`] prints it as SLSA provenance.
//! * [`Statement`] says that a predicate is about an image, [`attestation_manifest`] makes the
//!   manifest that stands beside the image in its index.
//!
//! Deliberately absent: signatures, and every effect but reading the tree that is scanned. Times,
//! namespaces and invocation ids are given by the caller, so equal inputs give equal bytes.

mod csv;
mod inventory;
mod licence;
mod manifest;
mod provenance;
mod purl;
mod request;
mod scan;
mod spdx;
mod statement;

pub use inventory::{Checksum, Ecosystem, Inventory, OsRelease, Package, Warning};
pub use manifest::{
    AttestationForm, AttestationImage, IN_TOTO_MEDIA_TYPE, PREDICATE_TYPE, REFERENCE_DIGEST,
    REFERENCE_TYPE, attestation_manifest,
};
pub use provenance::{
    Build, BuildStep, ConfigSource, DigestSet, FileAction, LineRange, Material, Mount,
    ProvenanceError, Request, SecretUse, SourceFile, StepInput, StepOp, steps_of,
};
pub use purl::{PackageUrl, image_purl};
pub use request::{
    AttestError, AttestRequest, ProvenanceMode, ProvenanceRequest, SbomRequest, SlsaVersion,
};
pub use scan::{ScanError, scan};
pub use spdx::{SPDX_PREDICATE, SpdxInfo};
pub use statement::{Predicate, PredicateError, Statement, StatementVersion, Subject};
