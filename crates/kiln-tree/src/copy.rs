//! Writing a selection into a root.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_dockerfile::mode::Mode;
use kiln_sys::fs::{
    Device, Dir, FileTime, FileType, LastLink, Metadata, NewDirs, NodeKind as SpecialKind, Owner,
    copy_file_contents, file_metadata, set_file_mode, set_file_owner, set_file_times,
};
use kiln_sys::xattr::{self, Xattr};

use crate::error::CopyError;
use crate::lexical::{components, names_a_directory};
use crate::scan::{Node, NodeKind};
use crate::select::{Content, CopyItem, InlineFile, Selection};
use crate::stat_cache::FileStamp;
use crate::xattrs::is_kept;

/// Of directories that are made on the way, unless an octal `--chmod` says otherwise.
const DIR_MODE: u32 = 0o755;

/// How a selection is written.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The absolute destination. A trailing slash makes it a directory.
    pub dest: String,
    /// Owner and mode.
    pub attributes: NewAttributes,
    /// The modification time of what has none from the source: inline files, directories made on
    /// the way, and existing directories that get a new name in them.
    pub now: FileTime,
    /// Later times become this one: `SOURCE_DATE_EPOCH`.
    pub clamp: Option<FileTime>,
}

/// The attributes that `--chown` and `--chmod` decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttributes {
    /// The owner.
    pub owner: NewOwner,
    /// `--chmod`; an octal one holds for directories made on the way, too.
    pub mode: Option<Mode>,
}

/// Who owns what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewOwner {
    /// Who owned it in the source: `COPY --from` without `--chown`. Directories made on the way
    /// and inline files belong to 0:0.
    Keep,
    /// This owner: `--chown`, and 0:0 for files of a build context.
    Set(Owner),
}

impl NewAttributes {
    pub(crate) fn owner_of(&self, metadata: &Metadata) -> Owner {
        match self.owner {
            NewOwner::Keep => metadata.owner(),
            NewOwner::Set(owner) => owner,
        }
    }

    pub(crate) fn mode_of(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.mode {
            Some(change) => change.apply(mode, is_dir),
            None => mode,
        }
    }

    fn owner_of_new(&self) -> Owner {
        match self.owner {
            NewOwner::Keep => Owner::ROOT,
            NewOwner::Set(owner) => owner,
        }
    }

    fn mode_of_new_dirs(&self) -> u32 {
        match self.mode {
            Some(Mode::Octal(mode)) => mode,
            Some(Mode::Symbolic(_)) | None => DIR_MODE,
        }
    }
}

impl CopyOptions {
    fn clamped(&self, time: FileTime) -> FileTime {
        self.clamp.map_or(time, |clamp| time.min(clamp))
    }

    fn new_dirs(&self, mode: u32) -> NewDirs {
        NewDirs {
            mode,
            owner: self.attributes.owner_of_new(),
            mtime: Some(self.clamped(self.now)),
        }
    }
}

/// Copies all items in their order into the root `root`. Links in the destination are followed
/// inside the root.
///
/// On an error what was written so far stays.
pub fn copy(
    selection: &Selection,
    root: &Dir,
    options: &CopyOptions,
    cancel: &CancelToken,
) -> Result<(), CopyError> {
    for item in &selection.items {
        copy_item(item, root, options, cancel)?;
    }
    Ok(())
}

/// Copies one item, as [`copy`] does for all.
pub fn copy_item(
    item: &CopyItem,
    root: &Dir,
    options: &CopyOptions,
    cancel: &CancelToken,
) -> Result<(), CopyError> {
    let mut writer = Writer {
        options,
        cancel,
        top: None,
        links: HashMap::new(),
    };
    match &item.content {
        Content::Inline(file) => {
            let place = Place::for_file(root, options, &item.name)?;
            let written = writer.put_inline(file, &place.dir, &place.name);
            written.map_err(|error| error.within(Path::new(""), &place.path))?;
            place.settle(options)
        }
        Content::Tree { dir, path, node } => match &node.kind {
            NodeKind::Dir(children) => writer.put_contents(root, (dir, path), node, children),
            _ => {
                let place = Place::for_file(root, options, &item.name)?;
                let source = path.parent().unwrap_or(Path::new(""));
                writer
                    .put_file(dir, node, &place.dir, &place.name, Path::new(""))
                    .map_err(|error| error.within(source, &place.path))?;
                place.settle(options)
            }
        },
    }
}

/// Opens the directory that is the destination of an archive, and makes it where it is missing:
/// mode 0755, whatever `--chmod` says. Whoever unpacks into it sets its time afterwards.
pub fn make_dest_dir(root: &Dir, options: &CopyOptions) -> Result<Dir, CopyError> {
    let (dir, above) = make_dirs(root, options, &components(&options.dest), DIR_MODE)?;
    above.settle(root, options)?;
    Ok(dir)
}

/// Where a file goes.
struct Place<'a> {
    root: &'a Dir,
    /// The path of `dir`, for messages.
    path: PathBuf,
    dir: Dir,
    name: OsString,
    above: Above,
}

impl<'a> Place<'a> {
    fn for_file(
        root: &'a Dir,
        options: &CopyOptions,
        source_name: &OsStr,
    ) -> Result<Self, CopyError> {
        let dest = components(&options.dest);
        let mode = options.attributes.mode_of_new_dirs();
        let parents = match dest.split_last() {
            Some((_, parents)) if !names_a_directory(&options.dest) => parents,
            _ => &dest,
        };
        let (parent, above) = make_dirs(root, options, parents, mode)?;
        let mut place = Self {
            root,
            path: Path::new("/").join(parents.join("/")),
            dir: parent,
            name: source_name.to_os_string(),
            above,
        };
        if parents.len() < dest.len() {
            let missing = options.new_dirs(mode);
            let dest = dest.join("/");
            let found = root.resolve_or_make_in_root(dest, LastLink::Follow, &missing)?;
            if found.metadata.is_some_and(|metadata| metadata.is_dir()) {
                place.dir = root.open_dir_beneath(&found.path)?;
                place.path = Path::new("/").join(found.path);
            } else {
                place.dir = found.dir;
                place.name = found.name;
            }
        }
        Ok(place)
    }

    /// Sets the times that writing has changed.
    fn settle(&self, options: &CopyOptions) -> Result<(), CopyError> {
        self.above.settle(self.root, options)?;
        let now = options.clamped(options.now);
        Ok(self.dir.set_times(Dir::ITSELF, now)?)
    }
}

/// The directories above the destination whose times change by what is made below: paths in the
/// root.
struct Above(Vec<String>);

impl Above {
    fn settle(&self, root: &Dir, options: &CopyOptions) -> Result<(), CopyError> {
        let now = options.clamped(options.now);
        for path in &self.0 {
            root.open_dir_in_root(path)?.set_times(Dir::ITSELF, now)?;
        }
        Ok(())
    }
}

fn make_dirs(
    root: &Dir,
    options: &CopyOptions,
    names: &[&str],
    mode: u32,
) -> Result<(Dir, Above), CopyError> {
    let exists = |names: &[&str]| {
        root.resolve_in_root(names.join("/"), LastLink::Follow)
            .is_ok_and(|found| found.metadata.is_some())
    };
    let missing = names.len()
        - (0..=names.len())
            .rev()
            .find(|&count| exists(&names[..count]))
            .unwrap_or(0);
    let path = names.join("/");
    let dir = root.make_dirs_in_root(&path, &options.new_dirs(mode));
    let dir = dir.map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            CopyError::NotADirectory(Path::new("/").join(&path))
        }
        _ => error.into(),
    })?;
    // The last is settled by whoever writes into it.
    let above = (names.len() - missing..names.len()).map(|count| names[..count].join("/"));
    Ok((dir, Above(above.collect())))
}

struct Writer<'a> {
    options: &'a CopyOptions,
    cancel: &'a CancelToken,
    /// The destination directory of an item that is a directory.
    top: Option<Dir>,
    /// The path below `top` of the first name of each file that has several.
    links: HashMap<(Device, u64), PathBuf>,
}

impl Writer<'_> {
    /// Copies what is in the directory `node` of `dir` into the destination, which becomes one.
    /// `path` is the source directory's, for messages.
    fn put_contents(
        &mut self,
        root: &Dir,
        (dir, path): (&Dir, &Path),
        node: &Node,
        children: &[Node],
    ) -> Result<(), CopyError> {
        let options = self.options;
        let mode = options.attributes.mode_of_new_dirs();
        let (top, above) = make_dirs(root, options, &components(&options.dest), mode)?;
        self.top = Some(top.try_clone()?);
        let from = if node.name == Dir::ITSELF {
            dir.try_clone()?
        } else {
            open_source(dir, &node.name).map_err(|error| match path.parent() {
                Some(parent) => error.within(parent, parent),
                None => error,
            })?
        };
        self.put_children(&from, children, &top, Path::new(""))
            .map_err(|error| error.within(path, Path::new(&options.dest)))?;
        above.settle(root, options)?;
        Ok(top.set_times(Dir::ITSELF, options.clamped(node.metadata.mtime))?)
    }

    /// `below` is the path of both directories from the item's. Errors tell paths from there.
    fn put_children(
        &mut self,
        from: &Dir,
        children: &[Node],
        to: &Dir,
        below: &Path,
    ) -> Result<(), CopyError> {
        for child in children {
            match &child.kind {
                NodeKind::Dir(grandchildren) => {
                    self.put_dir(from, child, grandchildren, to, below)?;
                }
                _ => self.put_file(from, child, to, &child.name, below)?,
            }
        }
        Ok(())
    }

    fn put_dir(
        &mut self,
        from: &Dir,
        node: &Node,
        children: &[Node],
        to: &Dir,
        below: &Path,
    ) -> Result<(), CopyError> {
        let name = &node.name;
        let is_new = match to.try_metadata(name)? {
            None => {
                to.mkdir(name, 0o700)?;
                true
            }
            Some(there) if there.is_dir() => false,
            Some(_) => return Err(CopyError::NotADirectory(name.into())),
        };
        let dir = to.open_dir(name)?;
        self.put_children(&open_source(from, name)?, children, &dir, &below.join(name))
            .map_err(|error| error.within(Path::new(name), Path::new(name)))?;
        if is_new || !node.implied {
            self.set_attributes(&dir, Dir::ITSELF.as_ref(), node)?;
        } else {
            dir.set_mode(Dir::ITSELF, node.metadata.mode)?;
        }
        let mtime = self.options.clamped(node.metadata.mtime);
        Ok(dir.set_times(Dir::ITSELF, mtime)?)
    }

    /// Copies anything but a directory. `below` is the path of `to` from [`Writer::top`].
    fn put_file(
        &mut self,
        from: &Dir,
        node: &Node,
        to: &Dir,
        name: &OsStr,
        below: &Path,
    ) -> Result<(), CopyError> {
        self.cancel.check()?;
        match &node.kind {
            NodeKind::File => return self.put_regular(from, node, to, name, below),
            NodeKind::Dir(_) => return Ok(()),
            NodeKind::Symlink(target) => {
                make_room(to, name)?;
                to.symlink(target, name)?;
                to.set_owner(name, self.options.attributes.owner_of(&node.metadata))?;
            }
            NodeKind::Fifo | NodeKind::Device => {
                let kind = match node.metadata.file_type {
                    FileType::CharDevice => SpecialKind::CharDevice(node.metadata.rdev),
                    FileType::BlockDevice => SpecialKind::BlockDevice(node.metadata.rdev),
                    _ => SpecialKind::Fifo,
                };
                make_room(to, name)?;
                to.mknod(name, kind, 0o600)?;
                self.set_attributes(to, name, node)?;
            }
            NodeKind::Socket => {
                // Nobody listens in an image. BuildKit leaves an empty file, too.
                create(to, name)?;
                self.set_attributes(to, name, node)?;
            }
        }
        Ok(to.set_times(name, self.options.clamped(node.metadata.mtime))?)
    }

    fn put_regular(
        &mut self,
        from: &Dir,
        node: &Node,
        to: &Dir,
        name: &OsStr,
        below: &Path,
    ) -> Result<(), CopyError> {
        if node.metadata.nlink > 1 && self.put_link(node, to, name, below)? {
            return Ok(());
        }
        let content = |cause| CopyError::Content {
            path: (&node.name).into(),
            cause,
        };
        let source = from.open_file(&node.name);
        let source = source.map_err(|error| content(error.into()))?;
        let check = || match file_metadata(&source, from.ownership()) {
            Ok(metadata) if FileStamp::of(&metadata) == FileStamp::of(&node.metadata) => Ok(()),
            Ok(_) => Err(CopyError::Changed((&node.name).into())),
            Err(error) => Err(content(error.into())),
        };
        check()?;
        let target = create(to, name)?;
        copy_file_contents(&source, &target).map_err(content)?;
        let xattrs = xattr::all_of_file(&source).map_err(content)?;
        check()?;
        let attributes = &self.options.attributes;
        let attributes = FileAttributes {
            owner: attributes.owner_of(&node.metadata),
            mode: attributes.mode_of(node.metadata.mode, false),
            mtime: self.options.clamped(node.metadata.mtime),
            xattrs: &xattrs,
        };
        attributes.set(to, &target, name)
    }

    fn put_inline(&self, file: &InlineFile, to: &Dir, name: &OsStr) -> Result<(), CopyError> {
        let mut target = create(to, name)?;
        let written = target.write_all(&file.content);
        written.map_err(|cause| CopyError::Content {
            path: name.into(),
            cause,
        })?;
        let attributes = &self.options.attributes;
        let attributes = FileAttributes {
            owner: attributes.owner_of_new(),
            mode: attributes.mode_of(file.mode, false),
            mtime: self.options.clamped(self.options.now),
            xattrs: &[],
        };
        attributes.set(to, &target, name)
    }

    /// Owner, mode and extended attributes by name: of anything but a symbolic link.
    fn set_attributes(&self, dir: &Dir, name: &OsStr, node: &Node) -> Result<(), CopyError> {
        let attributes = &self.options.attributes;
        dir.set_owner(name, attributes.owner_of(&node.metadata))?;
        let is_dir = node.metadata.is_dir();
        dir.set_mode(name, attributes.mode_of(node.metadata.mode, is_dir))?;
        for (key, value) in &node.xattrs {
            dir.set_xattr(name, key, value)?;
        }
        Ok(())
    }

    /// Links to an earlier name of the same file; `false` where this is the first.
    fn put_link(
        &mut self,
        node: &Node,
        to: &Dir,
        name: &OsStr,
        below: &Path,
    ) -> Result<bool, CopyError> {
        let inode = (node.metadata.dev, node.metadata.ino);
        let (Some(top), Some(first)) = (&self.top, self.links.get(&inode)) else {
            self.links.insert(inode, below.join(name));
            return Ok(false);
        };
        let parent = first.parent().unwrap_or(Path::new(""));
        let parent = top.open_dir_beneath(parent)?;
        make_room(to, name)?;
        parent.link_to(first.file_name().unwrap_or_default(), to, name)?;
        Ok(true)
    }
}

/// The attributes of a new regular file.
struct FileAttributes<'a> {
    owner: Owner,
    mode: u32,
    mtime: FileTime,
    xattrs: &'a [Xattr],
}

impl FileAttributes<'_> {
    /// Sets them in the order in which they survive each other.
    fn set(&self, to: &Dir, file: &File, name: &OsStr) -> Result<(), CopyError> {
        let set = || -> io::Result<()> {
            set_file_owner(file, to.ownership(), self.owner)?;
            set_file_mode(file, self.mode)?;
            for (key, value) in self.xattrs.iter().filter(|(key, _)| is_kept(key)) {
                xattr::set_of_file(file, key, value)?;
            }
            Ok(set_file_times(file, self.mtime)?)
        };
        set().map_err(|cause| CopyError::Attributes {
            path: name.into(),
            cause,
        })
    }
}

/// Opens a directory of the source.
fn open_source(from: &Dir, name: &OsStr) -> Result<Dir, CopyError> {
    from.open_dir(name).map_err(|error| CopyError::Content {
        path: name.into(),
        cause: error.into(),
    })
}

/// Makes an empty file, in the place of what is there.
fn create(to: &Dir, name: &OsStr) -> Result<File, CopyError> {
    match to.create_file(name, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            make_room(to, name)?;
            Ok(to.create_file(name, 0o600)?)
        }
        result => Ok(result?),
    }
}

/// Removes what is in the way of something that is not a directory.
fn make_room(to: &Dir, name: &OsStr) -> Result<(), CopyError> {
    match to.try_metadata(name)? {
        None => Ok(()),
        Some(there) if there.is_dir() => Err(CopyError::IsADirectory(name.into())),
        Some(_) => Ok(to.unlink(name)?),
    }
}
