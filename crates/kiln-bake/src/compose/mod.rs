//! Compose files: the services that are built, as targets.

use crate::config::Config;
use crate::input::BakeInput;
use crate::source::{Fault, Outcome};

pub(crate) fn looks_like(_text: &str) -> bool {
    false
}

pub(crate) fn read(_input: &BakeInput, _files: &[usize], _config: &mut Config) -> Outcome<()> {
    Err(Fault::new("compose"))
}
