//! Optimising, hardening and what programs need: trees as text in, reports as text out.

#[path = "optimise/debian.rs"]
mod debian;
#[path = "optimise/harden.rs"]
mod harden;
#[path = "optimise/packages.rs"]
mod packages;
#[path = "optimise/properties.rs"]
mod properties;
#[path = "optimise/reach.rs"]
mod reach;
#[path = "optimise/rules.rs"]
mod rules;
#[path = "optimise/tree.rs"]
mod tree;
