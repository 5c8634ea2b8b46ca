//! Mounts as values: every mount here is made *detached*, as a descriptor that nobody can see by a
//! path, and attached later, if at all, in the mount namespace that needs it.
//!
//! File work on a detached mount goes through `openat2` relative to its descriptor
//! ([`crate::fs::Dir`]). When the last descriptor is closed, and it was never attached, the mount is
//! gone: there is no clean-up to forget.
//!
//! Deliberately absent: mounts in the namespace the process was started in. Callers have been
//! through [`crate::namespace::enter`].

mod bind;
mod filesystem;
mod overlay;

pub use bind::{
    Attached, Recursion, attach, attach_at, attach_on_root, bind, bind_fd, create_in_root,
    make_private, open_in_root, pivot_into, set_attributes,
};
pub use filesystem::{Filesystem, mount_filesystem};
pub use overlay::{Durability, MAX_LOWERS, Overlay, OverlayError, OverlayMethod, Upper};
pub use rustix::mount::MountAttrFlags as Attributes;
