//! A file's name, kept where the file's other data is: a tree has as many names as files, and few
//! of them are long.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many bytes fit without memory of their own.
const SHORT: usize = 22;

/// One component of a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Name(Bytes);

#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Name {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(match &self.0 {
            Bytes::Short(length, bytes) => &bytes[..usize::from(*length)],
            Bytes::Long(bytes) => bytes,
        })
    }
}

impl From<&OsStr> for Name {
    fn from(name: &OsStr) -> Self {
        let name = name.as_bytes();
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(name);
                Self(Bytes::Short(length, bytes))
            }
            _ => Self(Bytes::Long(name.into())),
        }
    }
}

impl Deref for Name {
    type Target = OsStr;

    fn deref(&self) -> &OsStr {
        self.as_os_str()
    }
}

impl AsRef<OsStr> for Name {
    fn as_ref(&self) -> &OsStr {
        self.as_os_str()
    }
}

impl AsRef<Path> for Name {
    fn as_ref(&self) -> &Path {
        Path::new(self.as_os_str())
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_os_str() == OsStr::new(other)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_os_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255, 300] {
            let text = "n".repeat(length);
            let name = Name::from(OsStr::new(&text));
            assert_eq!(name.as_os_str(), OsStr::new(&text));
            assert_eq!(name, text.as_str());
            assert_eq!(matches!(name.0, Bytes::Short(..)), length <= SHORT);
        }
    }

    #[test]
    fn a_short_name_is_no_larger_than_a_string() {
        assert_eq!(size_of::<Name>(), 24);
    }
}
