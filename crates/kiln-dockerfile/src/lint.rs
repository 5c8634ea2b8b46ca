//! The checks of a Dockerfile's style: their names, and which of them a file asks for.
//!
//! Names and conditions are those of BuildKit, so that `# check=skip=…` lines mean the same here.
//! This module has the words only. What looks at a file is in `kiln-frontend`, since most checks
//! need the values of variables.

mod config;
mod rule;

pub use config::{CheckConfig, CheckConfigError};
pub use rule::LintRule;
