//! Addresses, and what of them may be printed.

use reqwest::Url;

/// An address for messages: without user and password, and with `…` for the query, which may hold a
/// signature.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Only addresses without a host have no place for these, and they have none.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    let end = if url.query().is_some() { "?…" } else { "" };
    format!("{shown}{end}")
}

/// The same for a text that is no address.
pub(super) fn shown_text(text: &str) -> String {
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    let host_on = before_query.rsplit('@').next().unwrap_or_default();
    host_on.escape_debug().to_string()
}

/// Percent-encoded text, where it is that; else the text itself.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let mut value = || u8::try_from(digit()? * 16 + digit()?).ok();
        let Some(value) = value() else {
            return text.to_owned();
        };
        bytes.push(value);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let check = |text: &str, expected: &str| {
            let actual = Url::parse(text).map_or_else(|_| shown_text(text), |url| shown(&url));
            assert_eq!(actual, expected);
        };
        check(
            "https://me:pw@example.com/a?sig=x#y",
            "https://example.com/a?…",
        );
        check("http://example.com:80/a b", "http://example.com/a%20b");
        check("https://me:pw@exa mple/a?sig=x", "exa mple/a");
    }
}
