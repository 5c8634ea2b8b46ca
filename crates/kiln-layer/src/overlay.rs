//! How overlayfs marks things in a layer's directory.

/// Which extended attributes overlayfs keeps its marks in: those of the mount that a directory is
/// made for, or was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattrs {
    /// `trusted.overlay.*`: mounts by root.
    Trusted,
    /// `user.overlay.*`: mounts with the option `userxattr`.
    User,
}

impl OverlayXattrs {
    /// On a directory: nothing below it shows through. The value is `y`.
    pub const fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    /// On an empty regular file: the name is not here any more.
    pub const fn whiteout(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.whiteout",
            Self::User => "user.overlay.whiteout",
        }
    }

    /// On a directory that was renamed (`redirect_dir`).
    pub(crate) const fn redirect(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.redirect",
            Self::User => "user.overlay.redirect",
        }
    }

    /// Whether an attribute is a mark: about the layer it is in, and not part of the tree. What a
    /// process in the tree names so is kept under a longer name.
    pub(crate) fn is_mark(self, name: &std::ffi::OsStr) -> bool {
        let prefix = match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        };
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_bytes());
        rest.is_some_and(|rest| !rest.starts_with(b"overlay."))
    }

    /// On a file whose content stayed below (`metacopy`).
    pub(crate) const fn metacopy(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.metacopy",
            Self::User => "user.overlay.metacopy",
        }
    }
}

/// The value of [`OverlayXattrs::opaque`].
pub const OPAQUE: &[u8] = b"y";

/// Whether an extended attribute belongs into a layer: `security.capability` and `user.*`, but
/// not what overlayfs or kiln wrote. Labels and access lists of this machine stay here.
pub fn belongs_into_layer(name: &std::ffi::OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    name == CAPABILITY
        || (name.starts_with("user.")
            && !name.starts_with("user.overlay.")
            && !name.starts_with("user.kiln."))
}

/// The attribute that holds a file's capabilities.
pub(crate) const CAPABILITY: &str = "security.capability";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_calls_a_mark_is_none() {
        let is_mark = |name: &str| OverlayXattrs::User.is_mark(name.as_ref());
        assert!(is_mark("user.overlay.origin"));
        assert!(!is_mark("user.overlay.overlay.opaque"));
        assert!(!is_mark("trusted.overlay.opaque"));
        assert!(!is_mark("user.kiln.owner"));
    }
}
