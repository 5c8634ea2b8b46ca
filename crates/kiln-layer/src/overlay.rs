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
    pub(crate) const fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    /// On an empty regular file: the name is not here any more.
    pub(crate) const fn whiteout(self) -> &'static str {
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

    /// On a file whose content stayed below (`metacopy`).
    pub(crate) const fn metacopy(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.metacopy",
            Self::User => "user.overlay.metacopy",
        }
    }
}

/// The value of [`OverlayXattrs::opaque`].
pub(crate) const OPAQUE: &[u8] = b"y";

/// Whether an extended attribute belongs into a layer: `security.capability` and `user.*`, but
/// not what overlayfs or kiln wrote. Labels and access lists of this machine stay here.
pub(crate) fn belongs_into_layer(name: &std::ffi::OsStr) -> bool {
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
