//! The document of `--metadata-file`, with buildx's names.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use kiln_engine::BuildOutcome;
use serde_json::{Value, json};

use crate::args::parse_switch;
use crate::error::CliError;
use crate::render::Progress;
use crate::settings::Environment;
use crate::settings::env::BUILDX_METADATA_WARNINGS;

/// Characters of a build's reference, as BuildKit's have them.
const REFERENCE_LENGTH: usize = 25;

/// What was built.
pub(super) fn of(outcome: &BuildOutcome) -> Value {
    let mut document = json!({"buildx.build.ref": format!("kiln/kiln/{}", reference())});
    for (platform, text) in &outcome.provenance {
        let key = match outcome.provenance.as_slice() {
            [_] => "buildx.build.provenance".to_owned(),
            _ => format!("buildx.build.provenance/{platform}"),
        };
        // The engine wrote it, so it is JSON.
        document[key] = serde_json::from_str(text).unwrap_or(Value::Null);
    }
    let Some(image) = &outcome.image else {
        return document;
    };
    let manifest = &image.manifest;
    let mut descriptor = json!({
        "mediaType": manifest.media_type.to_string(),
        "digest": manifest.digest.to_string(),
        "size": manifest.size,
    });
    if !manifest.annotations.is_empty() {
        descriptor["annotations"] = json!(manifest.annotations);
    }
    if let Some(platform) = &manifest.platform {
        descriptor["platform"] = json!({
            "architecture": platform.architecture,
            "os": platform.os,
        });
        if let Some(variant) = &platform.variant {
            descriptor["platform"]["variant"] = variant.as_str().into();
        }
    }
    // An index has no configuration of its own.
    if !image.is_index() {
        document["containerimage.config.digest"] = image.config.to_string().into();
    }
    document["containerimage.digest"] = manifest.digest.to_string().into();
    document["containerimage.descriptor"] = descriptor;
    let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        document["image.name"] = names.join(",").into();
    }
    document
}

/// Adds what was warned of, where the environment asks for it.
pub(super) fn add_warnings(document: &mut Value, progress: &Progress, environment: &Environment) {
    let asked = environment
        .get(&BUILDX_METADATA_WARNINGS)
        .is_some_and(|value| parse_switch(&value.to_string_lossy()) == Ok(true));
    let warnings = progress.warnings();
    if asked && !warnings.is_empty() {
        document["buildx.build.warnings"] = warnings.into();
    }
}

/// Writes the document; a reader never sees half of it.
pub(super) fn write(path: &Path, document: &Value) -> Result<(), CliError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    kiln_sys::files::replace(path, temporary, format!("{document:#}\n").as_bytes())?;
    Ok(())
}

/// A name for this build that no other has: digits and small letters.
fn reference() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let word = || u128::from(RandomState::new().hash_one(std::process::id()));
    let mut number = word() << 64 | word();
    let mut text = String::with_capacity(REFERENCE_LENGTH);
    for _ in 0..REFERENCE_LENGTH {
        let digit = usize::try_from(number % 36).unwrap_or(0);
        text.push(char::from(DIGITS[digit]));
        number /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_new_each_time() {
        let (one, two) = (reference(), reference());
        assert_eq!(one.len(), REFERENCE_LENGTH);
        assert_ne!(one, two);
    }

    #[test]
    fn a_build_without_an_image_has_a_reference_only() {
        let document = of(&BuildOutcome {
            image: None,
            provenance: Vec::new(),
        });
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["buildx.build.ref"]);
    }
}
