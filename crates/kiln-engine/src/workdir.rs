//! `WORKDIR`: a directory that has to exist.

use std::path::Path;

use kiln_base::trace::Tracer;
use kiln_graph::WorkdirOp;
use kiln_sys::fs::Owner;
use kiln_tree::{CopyOptions, NewAttributes, NewOwner, make_dest_dir};

use crate::Engine;
use crate::chain::Chain;
use crate::copy::file_time;
use crate::error::StepError;

/// Makes the directory, and those above it, where they are missing: mode 0755, owned by the user
/// in force. Returns the chain with what that changed on top, which may be nothing.
pub(crate) fn make(
    (engine, tracer): (&Engine, &Tracer),
    op: &WorkdirOp,
    below: &Chain,
) -> Result<Chain, StepError> {
    let root = tracer.within("mount", || engine.writable_root(below))?;
    let dir = root.dir(engine)?;
    let owner = if op.user.is_empty() {
        Owner::ROOT
    } else {
        let user = kiln_tree::users::resolve_user(&dir, &op.user)?;
        Owner {
            uid: user.uid,
            gid: user.gid,
        }
    };
    let dest = Path::new(&op.path).join("").to_string_lossy().into_owned();
    let options = CopyOptions {
        dest,
        attributes: NewAttributes {
            owner: NewOwner::Set(owner),
            mode: None,
        },
        now: file_time(engine.now()),
        clamp: None,
        contents: kiln_tree::Contents::Copied,
    };
    tracer.within("copy", || make_dest_dir(&dir, &options))?;
    drop(dir);
    Ok(root.commit_traced(engine.now(), tracer)?)
}
