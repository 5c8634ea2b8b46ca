//! Helpers for tests: file trees as text, images flattened to something that can be compared, and
//! kiln and its peers as programs that a test starts and that are gone when it ends.
//!
//! Everything here panics when it can't do its job: it is only used by tests. What a machine may
//! lack is an [`Absent`] value instead, which a test turns into a loud skip.

mod craft;
mod disk;
mod docker;
mod flat;
mod http;
mod kiln;
mod program;
mod registry;
mod scratch;
mod server;
mod tree;
mod wait;

pub use craft::{Member, craft_config, craft_image, craft_tar};
pub use disk::{DiskFiles, Fidelity, Mounted, Random, Shape, differences, random_tree};
pub use docker::Docker;
pub use flat::{FlatImage, FlatNode};
pub use http::{get, wait_for};
pub use kiln::{Kiln, Who};
pub use program::{Absent, Finished, Program, find_program, is_root, skip};
pub use registry::Registry;
pub use scratch::Scratch;
pub use server::{Answer, Server};
pub use tree::make_tree;
pub use wait::wait_until;
