//! What a downloaded file is called.

use reqwest::Url;

use super::address::decode;

/// The name of a file whose address has none.
const UNNAMED: &str = "__unnamed__";

/// The name of a file by its address: the last part of the path, decoded; `__unnamed__` where there
/// is none. This is how `ADD` names a download.
pub fn url_file_name(url: &str) -> String {
    Url::parse(url)
        .ok()
        .and_then(|url| base(&decode(url.path())))
        .unwrap_or_else(|| UNNAMED.to_owned())
}

/// The name by the `Content-Disposition` header (RFC 6266), if it says one.
pub(super) fn disposition_name(header: &str) -> Option<String> {
    let mut plain = None;
    for (name, value) in parameters(header) {
        match name.as_str() {
            "filename*" => {
                // charset'language'percent-encoded
                let mut parts = value.splitn(3, '\'');
                let charset = parts.next().unwrap_or_default();
                if let (Some(_), Some(text)) = (parts.next(), parts.next())
                    && charset.eq_ignore_ascii_case("utf-8")
                {
                    return base_of_file(&decode(text));
                }
            }
            "filename" => plain = plain.or(Some(value)),
            _ => {}
        }
    }
    base_of_file(&plain?)
}

fn base_of_file(name: &str) -> Option<String> {
    // What ends in `/` is no file.
    if name.ends_with('/') {
        None
    } else {
        base(name)
    }
}

/// The last part of a path, where that can be a file's name.
fn base(path: &str) -> Option<String> {
    let name = path.trim().trim_end_matches('/').rsplit('/').next()?;
    let is_name = !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
    is_name.then(|| name.to_owned())
}

/// The parameters of a header: lower-case names, values without quotes.
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = header.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', '\t', ';']).to_ascii_lowercase();
        let after = after.trim_start();
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        parameters.push((name, value));
    }
    parameters
}

/// The text up to the closing quote, and what follows that.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_file() {
        let check = |url: &str, expected: &str| assert_eq!(url_file_name(url), expected, "{url}");
        check("https://example.com/a/b.tar.gz?x=/y#/z", "b.tar.gz");
        check("https://example.com/a%20b", "a b");
        check("https://example.com/a/b/", "b");
        check("https://example.com/a%2Fb", "b");
        check("https://example.com/a%00b", "__unnamed__");
        check("https://example.com/%2e%2e", "__unnamed__");
        check("https://example.com/100%", "100%");
        check("https://example.com", "__unnamed__");
        check("not an address", "__unnamed__");
    }

    #[test]
    fn a_header_names_its_file() {
        let check = |header: &str, expected: Option<&str>| {
            assert_eq!(disposition_name(header).as_deref(), expected, "{header}");
        };
        check("attachment", None);
        check("attachment; filename=a.txt", Some("a.txt"));
        check(
            "attachment; size=3; FileName = \"a; \\\"b\\\".txt\" ; x=y",
            Some("a; \"b\".txt"),
        );
        check("inline; filename=\"../../etc/passwd\"", Some("passwd"));
        check("inline; filename=\"a/\"", None);
        check("inline; filename=\"..\"", None);
        check(
            "inline; filename=x; filename*=UTF-8''%c3%a9.txt",
            Some("é.txt"),
        );
        check("inline; filename*=iso-8859-1''%e9; filename=x", Some("x"));
        check("inline; filename=\"a", Some("a"));
        check("inline; filename", None);
        check("é=\"é", None);
    }
}
