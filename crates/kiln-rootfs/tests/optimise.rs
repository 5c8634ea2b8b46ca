//! Optimising, hardening and what programs need: trees as text in, reports as text out.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::format_push_string, reason = "the texts are short")]
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

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
