//! What becomes of a build's result, from the solved graph to the outputs.
//!
//! * [`packing`]: how an output wants its image written, all decided.
//! * [`queues`]: where the layers are packed, one queue for each way of compressing them.
//! * [`preflight`]: what is refused before anything is built.
//! * [`make`]: images and indexes from chains of layers.
//! * [`attest`]: what is said of them.
//! * [`files`]: results as folders and tar archives.
//!
//! Outputs that want the same get the same manifest; what differs only in the words of its media
//! types shares the layers.

pub(crate) mod attest;
mod files;
pub(crate) mod make;
pub(crate) mod packing;
mod preflight;
pub(crate) mod queues;

pub(crate) use attest::Attester;
pub(crate) use make::Made;
pub(crate) use packing::Packing;
pub(crate) use queues::{BuildQueues, Queues};
