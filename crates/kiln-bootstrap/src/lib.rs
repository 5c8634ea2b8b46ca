//! A base image from a distribution's packages, without a registry.
//!
//! [`bootstrap`] asks the host's own apt where packages come from, lets `mmdebstrap` install them
//! into an empty folder of the store, takes out what belongs to the host and not to an image, and
//! writes one layer, a configuration and a manifest under the name that was asked for. Images for
//! other platforms stand beside it under the same name, in an index.
//!
//! ```text
//!  host's sources ──select(suite)──> archives ──Release files──> epoch
//!        archives, epoch ──mmdebstrap──> tree ──clean──> tree ──diff, clamp──> layer ──publish──> name
//! ```
//!
//! The same packages from the same sources give the same bytes, as root and as an ordinary user:
//! no time is later than the newest Release file (or the epoch that was asked for), and nothing of
//! the host is in the tree.
//!
//! Deliberately absent: any name of a mirror (the host's configuration or the caller has it), any
//! package of our own choosing beyond the variant, and any registration on the host: programs of a
//! foreign architecture run by a `binfmt_misc` of the helper's own user namespace.

mod apt;
mod architecture;
mod bootstrap;
mod clean;
mod distribution;
mod error;
mod helper;
mod mmdebstrap;
mod publish;
mod release;
mod request;
mod select;
mod sources;

pub use bootstrap::{Bootstrapped, bootstrap};
pub use distribution::{Distribution, Named};
pub use error::BootstrapError;
pub use request::{BootstrapRequest, Documentation, Variant};
pub use sources::{Archive, parse_deb822, parse_list, print_deb822};
