//! Whether what is to be started can be: as the machine's first process would find it.

use kiln_disk::{Node, NodeId};
use kiln_init::interpreter;
use kiln_init::users::{Accounts, Identity};

use super::place::{Disk, read_error};
use super::{InitError, RunConfig};
use crate::paths::{self, Last, Reader};

pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who the program runs as.
pub(super) fn identity(disk: &Disk<'_>, run: &RunConfig) -> Result<Identity, InitError> {
    let (passwd, group) = (disk.read("/etc/passwd")?, disk.read("/etc/group")?);
    let accounts = Accounts {
        passwd: &passwd,
        group: &group,
    };
    Ok(accounts.resolve(&run.user, &run.groups)?)
}

/// The absolute path of the image's program.
pub(super) fn program(disk: &Disk<'_>, run: &RunConfig) -> Result<String, InitError> {
    let name = run.args.first().ok_or(InitError::NoCommand)?;
    let path = run.variable("PATH").unwrap_or(DEFAULT_PATH);
    if name.contains('/') {
        let path = join(&run.working_dir, name);
        executable(disk, &path)?;
        return Ok(path);
    }
    let mut refused = None;
    for directory in path.split(':') {
        let path = join(&join(&run.working_dir, directory), name);
        match executable(disk, &path) {
            Ok(()) => return Ok(path),
            Err(InitError::NoProgram(_)) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| InitError::NotOnPath {
        name: name.clone(),
        path: path.to_owned(),
    }))
}

/// Fails if the file can't be executed, or what would have to run it is not there.
pub(super) fn executable(disk: &Disk<'_>, path: &str) -> Result<(), InitError> {
    let id = executable_file(disk, path).ok_or_else(|| InitError::NoProgram(path.to_owned()))??;
    let head = Reader::open(disk.tree, disk.contents, id)
        .and_then(|file| file.head(4096))
        .map_err(|cause| read_error(path, cause))?;
    let Some(interpreter) = interpreter::of(&head) else {
        return Ok(());
    };
    match executable_file(disk, &interpreter) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error),
        None => Err(InitError::NoInterpreter {
            interpreter,
            program: path.to_owned(),
        }),
    }
}

/// `None` where there is nothing.
fn executable_file(disk: &Disk<'_>, path: &str) -> Option<Result<NodeId, InitError>> {
    let found = paths::find(disk.tree, b"", path.as_bytes(), Last::Follow).ok()?;
    let inode = disk.tree.inode(found.id);
    let is_executable = inode.attributes.mode & 0o111 != 0;
    Some(match inode.node {
        Node::File(_) if is_executable => Ok(found.id),
        _ => Err(InitError::NotExecutable(path.to_owned())),
    })
}

/// An absolute path stays; another one is below a directory, which is itself below the root.
fn join(directory: &str, path: &str) -> String {
    let slash = |text: &str| text.trim_end_matches('/').to_owned();
    if path.starts_with('/') {
        path.to_owned()
    } else if directory.starts_with('/') || directory.is_empty() {
        format!("{}/{path}", slash(directory))
    } else {
        format!("/{}/{path}", slash(directory))
    }
}
