//! What a store promises, seen from outside.

mod blobs;
mod cache;
mod images;
mod opening;
mod processes;
mod pruning;
mod script;
mod snapshots;
mod support;
mod usage;
