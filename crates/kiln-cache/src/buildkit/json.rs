//! JSON as Go prints it, whose bytes are what BuildKit digests.

use kiln_oci::Digest;
use serde::Serialize;

use super::BkPlatform;

/// The digest of a value as Go prints it. Members are in the order of their declaration.
pub(super) fn digest(value: &impl Serialize) -> Digest {
    Digest::sha256(print(value).as_bytes())
}

/// Go escapes what HTML has a meaning for, and two line ends that JavaScript has; none of them
/// occurs outside of strings.
pub(super) fn print(value: &impl Serialize) -> String {
    // Maps with keys that are not text, which is all that can fail, don't occur.
    let text = serde_json::to_string(value).unwrap_or_default();
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
pub(super) fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A number of something, as Go counts.
pub(super) fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// What an image is known by, by its manifest.
pub(super) fn manifest(digest: &Digest, platform: &BkPlatform) -> Digest {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Key<'a> {
        digest: &'a str,
        #[serde(rename = "OS")]
        os: &'a str,
        arch: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        variant: &'a str,
    }
    self::digest(&Key {
        digest: digest.as_str(),
        os: &platform.os,
        arch: &platform.architecture,
        variant: &platform.variant,
    })
}

/// The definition of a merge of so many inputs, each its own.
pub(super) fn merge(inputs: usize) -> Digest {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Definition {
        #[serde(rename = "Type")]
        kind: &'static str,
        merge: Merge,
    }
    #[derive(Serialize)]
    struct Merge {
        inputs: Vec<Input>,
    }
    #[derive(Serialize)]
    struct Input {
        #[serde(skip_serializing_if = "is_zero")]
        input: i64,
    }
    let inputs = (0..inputs).map(|input| Input {
        input: number(input),
    });
    digest(&Definition {
        kind: "buildkit.merge.v0",
        merge: Merge {
            inputs: inputs.collect(),
        },
    })
}
