//! What is said about an image or a disk: bills of materials, SLSA provenance, and how both are
//! attached to an image.
//!
//! * [`AttestRequest`] is what `--attest`, `--sbom` and `--provenance` ask for.
//! * [`scan`] finds the packages in a root file system, [`Inventory::spdx`] prints them as an SPDX
//!   2.3 document, [`Inventory::cyclonedx`] as one of `CycloneDX` 1.6.
//! * [`Build`] describes how an image was made, [`Build::predicate`] prints it as SLSA provenance.
//! * [`Statement`] says that a predicate is about an image, [`attestation_manifest`] makes the
//!   manifest that stands beside the image in its index.
//! * [`SigningKey`] signs statements, [`Envelope`] is what it makes of them.
//!
//! Deliberately absent: every effect but reading the tree that is scanned. Times,
//! namespaces and invocation ids are given by the caller, so equal inputs give equal bytes.

mod bill;
mod csv;
mod cyclonedx;
mod dsse;
mod inventory;
mod licence;
mod manifest;
mod provenance;
mod purl;
mod request;
mod scan;
mod spdx;
mod statement;

pub use bill::{BillInfo, BillSubject};
pub use dsse::{Envelope, EnvelopeError, KeyError, SigningKey, VerifyingKey};
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
pub use scan::{Bytes, ScanError, Source, SourceEntry, scan};
pub use spdx::SPDX_PREDICATE;
pub use statement::{Predicate, PredicateError, Statement, StatementVersion, Subject};
