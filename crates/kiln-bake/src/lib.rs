//! Bake files: HCL, JSON and compose, to resolved targets.
