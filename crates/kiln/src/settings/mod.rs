//! What was decided: configuration files, environment and flags become one typed value.
//!
//! The order is `/etc/kiln/config.toml`, `$XDG_CONFIG_HOME/kiln/config.toml`, `KILN_*`, flags; the
//! later wins. `--config` or `KILN_CONFIG` names a file that stands in for both files. Nothing
//! below this module asks the environment, the home directory or a default again.

//pub(crate) mod build;
pub(crate) mod env;
mod file;
mod flags;
mod key;
mod layer;
mod locate;
mod resolve;
pub(crate) mod show;

pub(crate) use env::Environment;
pub(crate) use file::{FileError, RegistryEntry};
pub(crate) use flags::from_flags;
pub(crate) use key::{Key, ROWS};
pub(crate) use layer::{Layer, Origin};
pub(crate) use locate::{credential_files, engine_sockets};
pub(crate) use resolve::{Settings, SettingsError, TrustChoice, read_files};
