//! What bills of materials have in common, whatever their form.

use kiln_base::Timestamp;
use kiln_oci::Digest;

/// What a document says that is not in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillInfo {
    /// What was scanned: an image's name, most often.
    pub name: String,
    /// What kind of thing it is.
    pub subject: BillSubject,
    /// When the document was made; whole seconds are written.
    pub created: Timestamp,
    /// A URI that no other document has, for example `https://example.com/name-UUID`.
    pub namespace: String,
    /// What made the document: name and version, for example `kiln-0.1.0`.
    pub tool: String,
}

/// What a bill of materials is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillSubject {
    /// An image.
    Image,
    /// A disk that was made from one.
    Disk {
        /// The name of its file.
        file: String,
        /// The file's digest.
        digest: Digest,
        /// The digest of the image's manifest.
        image: Digest,
    },
}

/// Documents want an address, and a package may say anything.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://", "ftp://", "git://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = rest else {
        return false;
    };
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        && rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"<>\"`{}|\\^[]".contains(&b))
}

/// One line without control characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::is_url;

    #[test]
    fn homepages_are_addresses() {
        assert!(is_url("https://example.com/a?b#c"));
        assert!(is_url("http://example.com:80/"));
        for text in [
            "",
            "example.com",
            "https://",
            "https://a b",
            "https://a/\u{1}",
            "javascript:x",
            "https://a/<b>",
        ] {
            assert!(!is_url(text), "{text}");
        }
    }
}
