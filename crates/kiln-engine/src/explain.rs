//! Why a step was not found in the cache: its key's parts beside those of the last build.

use std::collections::BTreeMap;

use kiln_graph::Part;
use kiln_store::KeyPart;

/// The label of the part that covers all inputs: named only where nothing else differs.
pub(crate) const EARLIER: &str = "the result of an earlier step";

/// Parts as the store keeps them: the value as its digest.
pub(crate) fn digested(parts: &[Part]) -> Vec<KeyPart> {
    parts
        .iter()
        .map(|part| KeyPart {
            label: part.label.clone(),
            digest: *blake3::hash(&part.value).as_bytes(),
        })
        .collect()
}

/// What differs, in the words of the parts' labels.
pub(crate) fn difference(last: Option<&[KeyPart]>, now: &[KeyPart]) -> String {
    let Some(last) = last else {
        return "this step was not built before".to_owned();
    };
    let before: BTreeMap<&str, &[u8; 32]> = last
        .iter()
        .map(|part| (part.label.as_str(), &part.digest))
        .collect();
    let after: BTreeMap<&str, &[u8; 32]> = now
        .iter()
        .map(|part| (part.label.as_str(), &part.digest))
        .collect();
    let mut changes = Vec::new();
    for part in now {
        match before.get(part.label.as_str()) {
            None => changes.push(format!("{} is new", part.label)),
            Some(digest) if **digest != part.digest => {
                changes.push(format!("{} changed", part.label));
            }
            Some(_) => {}
        }
    }
    let gone = last
        .iter()
        .filter(|part| !after.contains_key(part.label.as_str()));
    changes.extend(gone.map(|part| format!("{} is gone", part.label)));
    if changes.len() > 1 {
        changes.retain(|change| !change.starts_with(EARLIER));
    }
    if changes.is_empty() {
        return "nothing changed, but the earlier result is no longer in the store".to_owned();
    }
    changes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: Option<&[(&str, &str)]>, after: &[(&str, &str)], expected: &str) {
        let parts = |list: &[(&str, &str)]| {
            let parts: Vec<_> = list
                .iter()
                .map(|(label, value)| Part::new(*label, *value))
                .collect();
            digested(&parts)
        };
        let before = before.map(parts);
        assert_eq!(difference(before.as_deref(), &parts(after)), expected);
    }

    #[test]
    fn names_what_differs() {
        check(
            None,
            &[("command", "make")],
            "this step was not built before",
        );
        check(
            Some(&[("command", "make"), ("variable `A`", "1"), ("user", "")]),
            &[("command", "make all"), ("user", ""), ("variable `B`", "2")],
            "command changed, variable `B` is new, variable `A` is gone",
        );
        check(
            Some(&[("command", "make"), (EARLIER, "1")]),
            &[("command", "make"), (EARLIER, "2")],
            "the result of an earlier step changed",
        );
        check(
            Some(&[("command", "make"), (EARLIER, "1")]),
            &[("command", "make all"), (EARLIER, "2")],
            "command changed",
        );
        check(
            Some(&[("command", "make")]),
            &[("command", "make")],
            "nothing changed, but the earlier result is no longer in the store",
        );
    }
}
