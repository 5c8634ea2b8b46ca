//! The calls that a step's helper process makes on its way to `exec`.
