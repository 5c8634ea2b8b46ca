//! The only door to the operating system, and the only crate with unsafe code.
