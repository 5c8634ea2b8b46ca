//! The manifest that holds an image's attestations and stands beside the image in its index.
//!
//! The layout is BuildKit's: one blob for each statement, a platform `unknown/unknown` that no
//! runtime chooses, and annotations that say which image is meant.

use kiln_oci::{Descriptor, Digest, Family, ImageConfig, Manifest, MediaType, Platform};

use crate::Statement;

/// The media type of a statement.
pub const IN_TOTO_MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The annotation of a layer that says what its predicate is.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The annotation of the manifest's descriptor that says what the manifest is.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The annotation of the manifest's descriptor that says which image is meant.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

const REFERENCE_TYPE_VALUE: &str = "attestation-manifest";
const ARTIFACT_TYPE: &str = "application/vnd.docker.attestation.manifest.v1+json";
const EMPTY_JSON: &[u8] = b"{}";

/// The two forms of an attestation manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AttestationForm {
    /// With an image configuration, which every registry takes.
    #[default]
    Image,
    /// An OCI artifact with a subject and an empty configuration: `oci-artifact=true`.
    Artifact,
}

/// An attestation manifest and everything that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationImage {
    /// What stands in the image's index.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's bytes, which have the digest of the descriptor.
    pub manifest_bytes: Vec<u8>,
    /// Configuration and statements, each once.
    pub blobs: Vec<(Digest, Vec<u8>)>,
}

/// Makes the attestation manifest for the image whose manifest `subject` names.
pub fn attestation_manifest(
    subject: &Descriptor,
    statements: &[Statement],
    form: AttestationForm,
) -> AttestationImage {
    let mut blobs: Vec<(Digest, Vec<u8>)> = Vec::new();
    let mut layers = Vec::new();
    for statement in statements {
        let bytes = statement.to_bytes();
        let layer = Descriptor::of(MediaType::Other(IN_TOTO_MEDIA_TYPE.into()), &bytes)
            .with_annotation(PREDICATE_TYPE, statement.predicate.kind());
        if !blobs.iter().any(|(digest, _)| *digest == layer.digest) {
            blobs.push((layer.digest.clone(), bytes));
        }
        layers.push(layer);
    }
    let (config, config_bytes) = match form {
        AttestationForm::Image => {
            let mut config = ImageConfig::empty(Platform::new("unknown", "unknown"));
            config.diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
            let bytes = config.to_bytes();
            (
                Descriptor::of(MediaType::Config(Family::Oci), &bytes),
                bytes,
            )
        }
        AttestationForm::Artifact => (
            Descriptor::of(MediaType::Empty, EMPTY_JSON),
            EMPTY_JSON.to_vec(),
        ),
    };
    blobs.insert(0, (config.digest.clone(), config_bytes));
    let mut manifest = Manifest::new(Family::Oci, config, layers);
    if form == AttestationForm::Artifact {
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        manifest.subject = Some(Descriptor::new(
            subject.media_type.clone(),
            subject.digest.clone(),
            subject.size,
        ));
    }
    let manifest_bytes = manifest.to_bytes();
    let descriptor = Descriptor::of(manifest.media_type(), &manifest_bytes)
        .with_platform(Platform::new("unknown", "unknown"))
        .with_annotation(REFERENCE_TYPE, REFERENCE_TYPE_VALUE)
        .with_annotation(REFERENCE_DIGEST, subject.digest.as_str());
    AttestationImage {
        descriptor,
        manifest,
        manifest_bytes,
        blobs,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::{Predicate, Subject};

    #[track_caller]
    fn check(form: AttestationForm, expected: &Expect) {
        let image = Descriptor::of(MediaType::Manifest(Family::Oci), b"an image")
            .with_platform(Platform::new("linux", "amd64"));
        let statement = |kind: &str| {
            let subjects = Subject::of_image(&[], &Platform::new("linux", "amd64"), &image.digest);
            Statement::new(subjects, Predicate::new(kind, "{}").unwrap())
        };
        let statements = [
            statement("https://spdx.dev/Document"),
            statement("https://slsa.dev/provenance/v1"),
        ];
        let made = attestation_manifest(&image, &statements, form);
        assert!(made.descriptor.is_attestation());
        assert_eq!(made.descriptor.digest, Digest::sha256(&made.manifest_bytes));
        let mut text = String::from_utf8(made.manifest_bytes).unwrap();
        for (digest, bytes) in &made.blobs {
            assert!(digest.verifies(bytes));
            let _ = write!(text, "\n{digest} {}", String::from_utf8_lossy(bytes));
        }
        let _ = write!(text, "\n{:#?}", made.descriptor);
        expected.assert_eq(&text);
    }

    #[test]
    fn as_an_image() {
        check(
            AttestationForm::Image,
            &expect![[r#"
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:3072ebc73436e0fdd063235480f717f58422ff887306933505e6a36adc5ac892","size":241},"layers":[{"mediaType":"application/vnd.in-toto+json","digest":"sha256:54d04eb401563a9a991508780a1259965d861f284ebf19a0648d095eb8e34760","size":214,"annotations":{"in-toto.io/predicate-type":"https://spdx.dev/Document"}},{"mediaType":"application/vnd.in-toto+json","digest":"sha256:70ade89e67a0a527483e973488ed2ac740e2b2dfc5c566eb66c87e7cb591e346","size":219,"annotations":{"in-toto.io/predicate-type":"https://slsa.dev/provenance/v1"}}]}
            sha256:3072ebc73436e0fdd063235480f717f58422ff887306933505e6a36adc5ac892 {"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:54d04eb401563a9a991508780a1259965d861f284ebf19a0648d095eb8e34760","sha256:70ade89e67a0a527483e973488ed2ac740e2b2dfc5c566eb66c87e7cb591e346"]}}
            sha256:54d04eb401563a9a991508780a1259965d861f284ebf19a0648d095eb8e34760 {"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","subject":[{"digest":{"sha256":"a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"},"name":"_"}],"predicate":{}}
            sha256:70ade89e67a0a527483e973488ed2ac740e2b2dfc5c566eb66c87e7cb591e346 {"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{"digest":{"sha256":"a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"},"name":"_"}],"predicate":{}}
            Descriptor {
                media_type: Manifest(
                    Oci,
                ),
                digest: Digest(sha256:8066184a1b4f2b13a6237a8fafe2c1eff1ce37f02e93a9cd7adb7e8233ef6a03),
                size: 674,
                platform: Some(
                    Platform {
                        os: "unknown",
                        architecture: "unknown",
                        variant: None,
                        os_version: None,
                        os_features: [],
                    },
                ),
                artifact_type: None,
                urls: [],
                annotations: {
                    "vnd.docker.reference.digest": "sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9",
                    "vnd.docker.reference.type": "attestation-manifest",
                },
            }"#]],
        );
    }

    #[test]
    fn as_an_artifact() {
        check(
            AttestationForm::Artifact,
            &expect![[r#"
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.docker.attestation.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.in-toto+json","digest":"sha256:54d04eb401563a9a991508780a1259965d861f284ebf19a0648d095eb8e34760","size":214,"annotations":{"in-toto.io/predicate-type":"https://spdx.dev/Document"}},{"mediaType":"application/vnd.in-toto+json","digest":"sha256:70ade89e67a0a527483e973488ed2ac740e2b2dfc5c566eb66c87e7cb591e346","size":219,"annotations":{"in-toto.io/predicate-type":"https://slsa.dev/provenance/v1"}}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9","size":8}}
            sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a {}
            sha256:54d04eb401563a9a991508780a1259965d861f284ebf19a0648d095eb8e34760 {"_type":"https://in-toto.io/Statement/v1","predicateType":"https://spdx.dev/Document","subject":[{"digest":{"sha256":"a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"},"name":"_"}],"predicate":{}}
            sha256:70ade89e67a0a527483e973488ed2ac740e2b2dfc5c566eb66c87e7cb591e346 {"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{"digest":{"sha256":"a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"},"name":"_"}],"predicate":{}}
            Descriptor {
                media_type: Manifest(
                    Oci,
                ),
                digest: Digest(sha256:2fb99dcb2dea0552ce006361cdffba0d2fa5a99e66f09dadc8fc510c5a25d245),
                size: 895,
                platform: Some(
                    Platform {
                        os: "unknown",
                        architecture: "unknown",
                        variant: None,
                        os_version: None,
                        os_features: [],
                    },
                ),
                artifact_type: None,
                urls: [],
                annotations: {
                    "vnd.docker.reference.digest": "sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9",
                    "vnd.docker.reference.type": "attestation-manifest",
                },
            }"#]],
        );
    }
}
