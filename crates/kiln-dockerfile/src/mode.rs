//! The value of `--chmod`: octal, or symbolic as `chmod(1)` has it.

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// All bits at once, `0` to `0o7777`.
    Octal(u32),
    /// Clauses, applied in order.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode, as `u=rwX`: who, then one or more changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    _private: (),
}

/// A text that is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode `{0}`")]
pub struct ModeError(pub String);

impl Mode {
    /// The mode of a file that had the permission bits `mode` (`0` to `0o7777`) before.
    pub fn apply(&self, _mode: u32, _is_dir: bool) -> u32 {
        unimplemented!()
    }
}

impl std::str::FromStr for Mode {
    type Err = ModeError;

    fn from_str(_text: &str) -> Result<Self, Self::Err> {
        unimplemented!()
    }
}
