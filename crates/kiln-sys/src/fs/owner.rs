//! Who owns a file, and how that is kept where the system can't.

use std::fmt;
use std::str::FromStr;

/// The extended attribute that holds `uid:gid` (decimal) where owners are recorded.
pub const OWNER_XATTR: &str = "user.kiln.owner";

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// How a tree keeps the owners of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// In the inode, as usual.
    Native,
    /// In [`OWNER_XATTR`], on regular files and directories, where it differs from 0:0: for user
    /// namespaces with a single id.
    Recorded,
}

impl Owner {
    /// 0:0.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A text that is not `uid:gid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an owner of the form `uid:gid`")]
pub struct ParseOwnerError;

impl FromStr for Owner {
    type Err = ParseOwnerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (uid, gid) = text.split_once(':').ok_or(ParseOwnerError)?;
        Ok(Self {
            uid: uid.parse().map_err(|_| ParseOwnerError)?,
            gid: gid.parse().map_err(|_| ParseOwnerError)?,
        })
    }
}
