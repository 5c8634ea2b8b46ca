//! Which extended attributes go along with a file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Whether a copy keeps the attribute. `security.capability` and the users' own do; what the file
/// system under a snapshot keeps for itself, what belongs to the host's security policy, and access
/// control lists, which images can't express, do not.
pub(crate) fn is_kept(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let own = [&b"user.overlay."[..], b"user.kiln.", b"user.fuseoverlayfs."];
    name == b"security.capability"
        || name.starts_with(b"user.") && !own.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_attributes_stay_behind() {
        for kept in ["user.comment", "security.capability"] {
            assert!(is_kept(kept.as_ref()), "{kept}");
        }
        for dropped in [
            "user.overlay.opaque",
            "user.kiln.owner",
            "trusted.overlay.redirect",
            "security.selinux",
            "system.posix_acl_access",
        ] {
            assert!(!is_kept(dropped.as_ref()), "{dropped}");
        }
    }
}
