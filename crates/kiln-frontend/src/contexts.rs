//! Named contexts: what `--build-context` puts in the place of an image or a stage.

use std::collections::BTreeMap;

use kiln_oci::{Platform, Reference};

use crate::NamedContext;

/// What the named contexts say a name stands for.
///
/// The name of an image is looked up in its short form, without `:latest`, and first with the
/// platform (`name::linux/arm64`), as BuildKit does.
pub(crate) fn find<'a>(
    contexts: &'a BTreeMap<String, NamedContext>,
    name: &str,
    platform: &Platform,
) -> Option<&'a NamedContext> {
    if contexts.is_empty() {
        return None;
    }
    let wanted = normal(name);
    let platform = platform.normalized();
    let mut general = None;
    for (key, context) in contexts {
        let (key, only) = match key.split_once("::") {
            Some((key, only)) => (key, Some(only)),
            None => (key.as_str(), None),
        };
        if normal(key) != wanted {
            continue;
        }
        match only {
            None => general = Some(context),
            Some(only) => {
                let only = only.parse::<Platform>();
                if only.is_ok_and(|only| only.normalized() == platform) {
                    return Some(context);
                }
            }
        }
    }
    general
}

/// The form in which names are compared.
fn normal(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => {
            let familiar = reference.familiar();
            let short = familiar.strip_suffix(":latest").map(str::to_owned);
            short.unwrap_or(familiar)
        }
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[&str], name: &str, expected: Option<usize>) {
        let contexts = keys
            .iter()
            .enumerate()
            .map(|(number, key)| ((*key).to_owned(), NamedContext::Files(number)))
            .collect();
        let platform = Platform::new("linux", "arm64");
        let found = match find(&contexts, name, &platform) {
            Some(NamedContext::Files(number)) => Some(*number),
            Some(NamedContext::Image(_)) | None => None,
        };
        assert_eq!(found, expected, "{keys:?} {name}");
    }

    #[test]
    fn names_are_compared_in_their_short_form() {
        check(&["alpine"], "alpine", Some(0));
        check(&["alpine"], "docker.io/library/alpine:latest", Some(0));
        check(&["docker.io/library/alpine"], "alpine", Some(0));
        check(&["alpine"], "alpine:3.20", None);
        check(&["alpine:3.20"], "alpine:3.20", Some(0));
        check(&["alpine"], "debian", None);
        check(&["Base"], "Base", Some(0));
        check(&["Base"], "base", None);
    }

    #[test]
    fn a_context_of_the_platform_wins() {
        check(&["a", "a::linux/arm64"], "a", Some(1));
        check(&["a", "a::linux/amd64"], "a", Some(0));
        check(&["a::linux/arm64/v8"], "a", Some(0));
        check(&["a::linux/amd64"], "a", None);
    }
}
