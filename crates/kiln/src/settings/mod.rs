//! What was decided: configuration files, environment and flags become one typed value.
//!
//! The order is `/etc/kiln/config.toml`, `$XDG_CONFIG_HOME/kiln/config.toml`, `KILN_*`, flags; the
//! later wins. `--config-file` or `KILN_CONFIG` names a file that stands in for both files. Nothing
//! below this module asks the environment, the home directory or a default again.

mod annotation;
pub(crate) mod bake;
pub(crate) mod build;
pub(crate) mod env;
mod file;
mod flags;
mod key;
mod layer;
mod locate;
mod outputs;
mod registry;
mod resolve;
pub(crate) mod show;
pub(crate) mod trust;

pub(crate) use annotation::parse_flag as parse_annotation;
pub(crate) use build::{BuildArgsError, source_date_epoch};
pub(crate) use env::Environment;
pub(crate) use flags::from_flags;
pub(crate) use layer::Layer;
pub(crate) use outputs::{
    Asked, OutputsError, Packing, is_stdout, parse_name, resolve as resolve_outputs,
};
pub(crate) use registry::client_config;
pub(crate) use resolve::{Settings, SettingsError, TrustChoice, flatten, read_files};
pub(crate) use trust::TrustError;
