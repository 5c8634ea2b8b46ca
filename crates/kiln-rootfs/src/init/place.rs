//! Adding to a tree as to a disk whose root it is: links on the way are followed, and what is added
//! is noted.

use std::collections::{BTreeMap, BTreeSet};

use kiln_disk::{Attributes, Contents, File, Inode, Node, NodeId, Tree};
use kiln_sys::fs::{Device, FileTime};
use serde_json::json;

use super::{InitError, RunConfig};
use crate::paths::{self, Last, LookupError, ReadError};

/// A tree that is being added to.
pub(super) struct Disk<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) contents: &'a dyn Contents,
    time: FileTime,
    added: BTreeSet<String>,
    warnings: Vec<String>,
}

/// Directories that every machine mounts something on, with their modes.
const MOUNT_POINTS: &[(&str, u32)] = &[
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
];

/// Devices that the kernel opens before anything is mounted.
const DEVICES: &[(&str, u32, u32, u32)] =
    &[("/dev/console", 0o600, 5, 1), ("/dev/null", 0o666, 1, 3)];

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl<'a> Disk<'a> {
    pub(super) fn new(tree: &'a mut Tree, contents: &'a dyn Contents, time: FileTime) -> Self {
        Self {
            tree,
            contents,
            time,
            added: BTreeSet::new(),
            warnings: Vec::new(),
        }
    }

    /// What was added, sorted, and what is to be told.
    pub(super) fn finish(self) -> (Vec<String>, Vec<String>) {
        (self.added.into_iter().collect(), self.warnings)
    }

    pub(super) fn warn(&mut self, message: String) {
        self.warnings.push(message);
    }

    /// What every machine needs, and builderd's two files.
    pub(super) fn install_common(&mut self, run: &RunConfig) -> Result<(), InitError> {
        for (path, mode) in MOUNT_POINTS {
            self.make_directory(path, *mode)?;
        }
        for (path, mode, major, minor) in DEVICES {
            let device = Device {
                major: *major,
                minor: *minor,
            };
            self.put(path, *mode, Node::CharDevice(device))?;
        }
        for directory in run.volumes.iter().chain([&run.working_dir]) {
            if !directory.is_empty() {
                self.make_directory(&absolute(directory)?, 0o755)?;
            }
        }
        self.install_names(run)?;
        self.install_builderd(run)
    }

    /// Names of machines: container engines write these files for each container, so images have
    /// none that is of use.
    fn install_names(&mut self, run: &RunConfig) -> Result<(), InitError> {
        if let Some(text) = &run.hosts {
            self.put_file(HOSTS, 0o644, text.as_bytes())?;
        } else if self.read(HOSTS)?.is_empty() {
            let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n".to_owned();
            if let Some(name) = &run.hostname {
                text.extend(["127.0.1.1 ", name, "\n"]);
            }
            self.put_file(HOSTS, 0o644, text.as_bytes())?;
        }
        match &run.resolv_conf {
            Some(text) => self.put_file(RESOLV_CONF, 0o644, text.as_bytes()),
            // A place for what the network says, also where nothing can be written.
            None if paths::name(self.tree, RESOLV_CONF.as_bytes()).is_none() => {
                self.put_file(RESOLV_CONF, 0o644, b"")
            }
            None => Ok(()),
        }
    }

    fn install_builderd(&mut self, run: &RunConfig) -> Result<(), InitError> {
        let command = json!(run.args).to_string();
        let env: BTreeMap<&str, &str> = run
            .env
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .collect();
        let environment = json!({
            "working_dir": run.working_dir,
            "env": env,
            "exposed_ports": run.exposed_ports,
        });
        // Secrets may be among the variables.
        self.put_file("/container.cmd", 0o600, command.as_bytes())?;
        self.put_file("/container.env", 0o600, environment.to_string().as_bytes())
    }

    /// A directory with all above it; what is there stays as it is.
    pub(super) fn make_directory(&mut self, path: &str, mode: u32) -> Result<NodeId, InitError> {
        loop {
            let missing = match paths::find(self.tree, b"", path.as_bytes(), Last::Follow) {
                Ok(found) => return self.expect_directory(path, found.id),
                Err(LookupError::Missing(missing)) => missing,
                Err(cause) => {
                    return Err(InitError::Way {
                        path: path.to_owned(),
                        cause,
                    });
                }
            };
            // Each turn makes one of the path's directories.
            let is_last = missing.len() >= path.trim_matches('/').len();
            let node = Node::Directory(Vec::new());
            let inode = self.inode(if is_last { mode } else { 0o755 }, node);
            self.add(&missing, inode)?;
        }
    }

    fn expect_directory(&self, path: &str, id: NodeId) -> Result<NodeId, InitError> {
        match self.tree.inode(id).node {
            Node::Directory(_) => Ok(id),
            _ => Err(InitError::Way {
                path: path.to_owned(),
                cause: LookupError::NotADirectory(path.trim_matches('/').into()),
            }),
        }
    }

    /// A file of root's, in place of what has that name.
    pub(super) fn put_file(
        &mut self,
        path: &str,
        mode: u32,
        bytes: &[u8],
    ) -> Result<(), InitError> {
        self.put(path, mode, Node::File(File::of_bytes(bytes)))
    }

    pub(super) fn put_link(&mut self, path: &str, target: &str) -> Result<(), InitError> {
        self.put(path, 0o777, Node::Symlink(target.as_bytes().into()))
    }

    fn put(&mut self, path: &str, mode: u32, node: Node) -> Result<(), InitError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.make_directory(parent, 0o755)?;
        if let Some(old) = self.tree.child(parent, name.as_bytes()) {
            if let Node::Directory(_) = self.tree.inode(old).node {
                return Err(InitError::IsDirectory(path.to_owned()));
            }
            self.tree.unlink(parent, name.as_bytes());
        }
        let inode = self.inode(mode, node);
        self.tree
            .add(parent, name.as_bytes(), inode)
            .map_err(|cause| InitError::Add {
                path: path.to_owned(),
                cause,
            })?;
        self.added.insert(path.to_owned());
        Ok(())
    }

    /// Adds something at a path without links, whose parent is there.
    fn add(&mut self, path: &[u8], inode: Inode) -> Result<(), InitError> {
        let shown = format!("/{}", path.escape_ascii());
        let end = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = end.map_or((&b""[..], path), |end| (&path[..end], &path[end + 1..]));
        let parent = paths::find(self.tree, b"", parent, Last::Follow);
        let parent = parent.map_err(|cause| InitError::Way {
            path: shown.clone(),
            cause,
        })?;
        self.tree
            .add(parent.id, name, inode)
            .map_err(|cause| InitError::Add {
                path: shown.clone(),
                cause,
            })?;
        self.added.insert(shown);
        Ok(())
    }

    fn inode(&self, mode: u32, node: Node) -> Inode {
        Inode {
            attributes: Attributes {
                mode,
                mtime: self.time,
                ..Attributes::default()
            },
            node,
        }
    }

    /// The bytes of a small file; none where there is no such file.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, InitError> {
        /// As BuildKit has it for `/etc/passwd`.
        const LIMIT: u64 = 10 << 20;
        paths::read_or_empty(self.tree, self.contents, path.as_bytes(), LIMIT)
            .map_err(|cause| read_error(path, cause))
    }
}

pub(super) fn read_error(path: &str, cause: ReadError) -> InitError {
    InitError::Read {
        path: path.to_owned(),
        cause,
    }
}

/// A path of an image; `WORKDIR` and volumes are absolute in all that builders write.
fn absolute(path: &str) -> Result<String, InitError> {
    if path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err(InitError::Relative(path.to_owned()))
    }
}
