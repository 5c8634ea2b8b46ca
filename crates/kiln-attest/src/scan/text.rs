//! What the text formats have in common.

use std::collections::BTreeMap;

/// The longest value that is kept, in bytes: names, versions, licences and addresses are short.
const MAX_VALUE: usize = 4096;

/// One paragraph of `Name: value` lines; names are in lower case, continuation lines are left out.
pub(super) type Fields = BTreeMap<String, String>;

/// The paragraphs of an RFC 822-like text: Debian's control files, Python's metadata.
///
/// Of two fields with the same name the first counts.
pub(super) fn paragraphs(text: &str) -> impl Iterator<Item = Fields> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut fields = Fields::new();
        for line in lines.by_ref() {
            if line.trim().is_empty() {
                if fields.is_empty() {
                    continue;
                }
                return Some(fields);
            }
            if line.starts_with([' ', '\t']) {
                continue;
            }
            if let Some((name, value)) = line.split_once(':') {
                let value = bounded(value.trim());
                fields
                    .entry(name.trim().to_ascii_lowercase())
                    .or_insert(value);
            }
        }
        (!fields.is_empty()).then_some(fields)
    })
}

/// The value of a field that is there and not empty.
pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// The text, cut where it is longer than any honest value.
pub(super) fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// `Name <mail>` as SPDX writes a person.
pub(super) fn person(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    // SPDX keeps the mail in parentheses, so that there must be no others.
    let plain = |part: &str| -> String {
        let part: String = part.chars().filter(|c| !matches!(c, '(' | ')')).collect();
        part.trim().to_owned()
    };
    let Some((name, mail)) = text.split_once('<') else {
        return Some(format!("Person: {}", plain(text)));
    };
    let mail = mail.split('>').next().unwrap_or_default();
    let name = plain(name.trim().trim_matches('"'));
    Some(match (name.as_str(), plain(mail).as_str()) {
        ("", "") => return None,
        ("", mail) => format!("Person: {mail}"),
        (name, "") => format!("Person: {name}"),
        (name, mail) => format!("Person: {name} ({mail})"),
    })
}

/// Bytes in base64 as lower-case hexadecimal, where there are `length` of them.
pub(super) fn base64_to_hex(text: &str, length: usize) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    (bytes.len() == length).then(|| hex(&bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(digits[usize::from(byte >> 4)]));
        text.push(char::from(digits[usize::from(byte & 15)]));
    }
    text
}
