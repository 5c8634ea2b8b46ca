//! Annotations as flags and outputs write them: `index:org.example=1`,
//! `annotation-manifest[linux/arm64].org.example=1`.

use kiln_engine::{Annotation, AnnotationLevel};
use kiln_oci::{Platform, PlatformError};

/// What an attribute of an output begins with when it is an annotation.
const ATTRIBUTE: &str = "annotation";

/// A text that is no annotation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnnotationError {
    #[error("`{0}` is not an annotation: expected `NAME=VALUE`")]
    NotAssigned(String),
    #[error("`{0}` is not an annotation: its name is empty")]
    NoName(String),
    #[error(
        "an annotation can't be put on `{0}`: expected manifest, index, manifest-descriptor or index-descriptor"
    )]
    Level(String),
    #[error("an annotation of `{0}` is for all platforms: leave `[…]` out")]
    IndexPlatform(&'static str),
    #[error("`{0}` has no closing bracket")]
    Bracket(String),
    #[error("`{text}` is not a platform for an annotation")]
    Platform {
        text: String,
        #[source]
        cause: PlatformError,
    },
}

/// What one `--annotation` asks for: `[ON[,ON…]:]NAME=VALUE`.
pub(crate) fn parse_flag(text: &str) -> Result<Vec<Annotation>, AnnotationError> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| AnnotationError::NotAssigned(text.to_owned()))?;
    let (places, key) = match name.split_once(':') {
        Some((places, key)) => (places.split(',').collect(), key),
        None => (vec!["manifest"], name),
    };
    if key.is_empty() {
        return Err(AnnotationError::NoName(text.to_owned()));
    }
    let annotation = |place| {
        let (level, platform) = parse_place(place)?;
        Ok(Annotation {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    };
    places.into_iter().map(annotation).collect()
}

/// An attribute of an output, `annotation[-ON][[PLATFORM]].NAME`; `None` for other attributes.
pub(crate) fn parse_attribute(
    name: &str,
    value: &str,
) -> Option<Result<Annotation, AnnotationError>> {
    let rest = name.strip_prefix(ATTRIBUTE)?;
    if !rest.starts_with(['.', '-', '[']) {
        return None;
    }
    // A platform has no point in it, so the first one begins the annotation's name.
    let (place, key) = rest.split_once('.')?;
    let place = place.strip_prefix('-').unwrap_or(place);
    if key.is_empty() {
        return Some(Err(AnnotationError::NoName(name.to_owned())));
    }
    let place = match place {
        "" => "manifest".to_owned(),
        place if place.starts_with('[') => format!("manifest{place}"),
        place => place.to_owned(),
    };
    Some(parse_place(&place).map(|(level, platform)| Annotation {
        level,
        platform,
        key: key.to_owned(),
        value: value.to_owned(),
    }))
}

/// `manifest`, or `manifest[linux/arm64]`.
fn parse_place(text: &str) -> Result<(AnnotationLevel, Option<Platform>), AnnotationError> {
    let (level, platform) = match text.split_once('[') {
        None => (text, None),
        Some((level, rest)) => {
            let platform = rest
                .strip_suffix(']')
                .ok_or_else(|| AnnotationError::Bracket(text.to_owned()))?;
            (level, Some(platform))
        }
    };
    let level = match (level, platform) {
        ("manifest", _) => AnnotationLevel::Manifest,
        ("manifest-descriptor", _) => AnnotationLevel::ManifestDescriptor,
        ("index", None) => AnnotationLevel::Index,
        ("index-descriptor", None) => AnnotationLevel::IndexDescriptor,
        ("index", Some(_)) => return Err(AnnotationError::IndexPlatform("index")),
        ("index-descriptor", Some(_)) => {
            return Err(AnnotationError::IndexPlatform("index-descriptor"));
        }
        (other, _) => return Err(AnnotationError::Level(other.to_owned())),
    };
    let platform = platform.map(|text| {
        text.parse().map_err(|cause| AnnotationError::Platform {
            text: text.to_owned(),
            cause,
        })
    });
    Ok((level, platform.transpose()?))
}

/// Adds an annotation; of two with the same name in the same place the last counts.
pub(crate) fn add(annotations: &mut Vec<Annotation>, annotation: Annotation) {
    annotations.retain(|known| {
        (known.level, &known.platform, &known.key)
            != (annotation.level, &annotation.platform, &annotation.key)
    });
    annotations.push(annotation);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn line(annotation: &Annotation) -> String {
        let platform = match &annotation.platform {
            Some(platform) => format!(" {platform}"),
            None => String::new(),
        };
        let Annotation { key, value, .. } = annotation;
        format!("{:?}{platform}: {key} = {value}\n", annotation.level)
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(flags: &[&str], expected: Expect) {
        let text: String = flags
            .iter()
            .map(|flag| match parse_flag(flag) {
                Ok(annotations) => annotations.iter().map(line).collect(),
                Err(error) => format!("error: {error}\n"),
            })
            .collect();
        expected.assert_eq(&text);
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check_attributes(names: &[&str], expected: Expect) {
        let text: String = names
            .iter()
            .map(|name| match parse_attribute(name, "v") {
                Some(Ok(annotation)) => line(&annotation),
                Some(Err(error)) => format!("error: {error}\n"),
                None => "not one\n".to_owned(),
            })
            .collect();
        expected.assert_eq(&text);
    }

    #[test]
    fn flags() {
        check(
            &[
                "a=1=2",
                "manifest:a=1",
                "index,manifest-descriptor[linux/arm64]:a=b:c",
                "index-descriptor:a=",
            ],
            expect![[r#"
                Manifest: a = 1=2
                Manifest: a = 1
                Index: a = b:c
                ManifestDescriptor linux/arm64: a = b:c
                IndexDescriptor: a = 
            "#]],
        );
    }

    #[test]
    fn wrong_flags() {
        check(
            &[
                "a",
                "=1",
                "index:=1",
                "image:a=1",
                "index[linux/amd64]:a=1",
                "manifest[linux:a=1",
                "manifest[a//b]:a=1",
            ],
            expect![[r#"
                error: `a` is not an annotation: expected `NAME=VALUE`
                error: `=1` is not an annotation: its name is empty
                error: `index:=1` is not an annotation: its name is empty
                error: an annotation can't be put on `image`: expected manifest, index, manifest-descriptor or index-descriptor
                error: an annotation of `index` is for all platforms: leave `[…]` out
                error: `manifest[linux` has no closing bracket
                error: `a//b` is not a platform for an annotation
            "#]],
        );
    }

    #[test]
    fn attributes() {
        check_attributes(
            &[
                "annotation.a.b",
                "annotation[linux/amd64].a",
                "annotation-index.a",
                "annotation-manifest-descriptor[linux/arm/v7].a",
                "annotation-index-descriptor.a",
                "annotations.a",
                "annotation",
                "annotation-image.a",
                "annotation-index[linux/amd64].a",
                "annotation.",
            ],
            expect![[r#"
                Manifest: a.b = v
                Manifest linux/amd64: a = v
                Index: a = v
                ManifestDescriptor linux/arm/v7: a = v
                IndexDescriptor: a = v
                not one
                not one
                error: an annotation can't be put on `image`: expected manifest, index, manifest-descriptor or index-descriptor
                error: an annotation of `index` is for all platforms: leave `[…]` out
                error: `annotation.` is not an annotation: its name is empty
            "#]],
        );
    }
}
