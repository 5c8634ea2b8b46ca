//! A disk of any format that kiln knows, read without trust and without mounting anything.
//!
//! [`Image::open`] looks at what a disk begins with. [`Image::tree`] is everything that is on it, and
//! [`Image::read_at`] reads the contents of its files.
//!
//! Deliberately absent: partitions, images of virtual disks (qcow2 and others), compressed files.

use crate::ext4::Checksums;
use crate::tree::{Content, File};
use crate::{DiskSource, ReadError, Tree, cpio, erofs, ext4, squashfs, verity};

/// A file system's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Read and written.
    Ext4,
    /// Read only.
    Erofs,
    /// Read only and compressed.
    Squashfs,
    /// An initial file system.
    Cpio,
}

/// What a disk says of itself; what its format has no place for is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The file system's format.
    pub format: Format,
    /// How many bytes of the disk the file system has.
    pub size: u64,
    /// Bytes of a block.
    pub block_size: Option<u32>,
    /// Its name.
    pub label: Option<Vec<u8>>,
    /// Its identifier.
    pub uuid: Option<[u8; 16]>,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// When it was written last, in seconds since 1970.
    pub written: Option<i64>,
    /// How many inodes it has room for; in formats that can't be written to, has.
    pub inodes: Option<u64>,
    /// What is free.
    pub free: Option<Free>,
    /// Whether there is a journal.
    pub has_journal: Option<bool>,
    /// Whether it was unmounted, and no errors were found.
    pub is_clean: Option<bool>,
    /// How contents are compressed; empty for not at all.
    pub compression: Vec<&'static str>,
    /// The names of its features.
    pub features: Vec<&'static str>,
    /// The dm-verity tree behind it.
    pub verity: Option<verity::Facts>,
    /// How many bytes follow all this.
    pub rest: u64,
}

/// What can still be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// In bytes.
    pub bytes: u64,
    /// How many files.
    pub inodes: u64,
}

/// An open disk.
#[derive(Debug)]
pub struct Image<D> {
    facts: Facts,
    reader: Reader<D>,
}

/// A file that was found, for [`Image::read_at`].
#[derive(Debug)]
pub struct OpenFile {
    size: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Reader<D> {
    Ext4(ext4::Reader<D>),
    Erofs(erofs::Reader<D>),
    Squashfs(squashfs::Reader<D>),
    Cpio(cpio::Reader<D>),
}

#[derive(Debug)]
enum Kind {
    Ext4(ext4::OpenFile),
    Erofs(erofs::OpenFile),
    Squashfs(squashfs::OpenFile),
    Cpio(u64),
    Bytes(Box<[u8]>),
}

/// So many bytes tell every format.
const START: u64 = 2048;

impl Format {
    /// Whether its times are finer than seconds.
    pub const fn has_nanoseconds(self) -> bool {
        matches!(self, Self::Ext4 | Self::Erofs)
    }

    /// As `kiln rootfs` and `mount` call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Cpio => "cpio",
        }
    }
}

impl<D: DiskSource> Image<D> {
    /// Opens a disk of any format.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open(disk: D, checksums: Checksums) -> Result<Self, ReadError> {
        let size = disk.size()?;
        let mut start = vec![0; usize::try_from(size.min(START)).unwrap_or(0)];
        disk.read_exact_at(&mut start, 0)?;
        let format = format_of(&start).ok_or_else(|| ReadError::Unknown(other(&start)))?;
        let reader = match format {
            Format::Ext4 => Reader::Ext4(ext4::Reader::open(disk, checksums)?),
            Format::Erofs => Reader::Erofs(erofs::Reader::open(disk, checksums)?),
            Format::Squashfs => Reader::Squashfs(squashfs::Reader::open(disk)?),
            Format::Cpio => Reader::Cpio(cpio::Reader::open(disk)?),
        };
        let mut facts = reader.facts();
        if format != Format::Cpio {
            // Where it ends is told by the file system only.
            let end = facts.size.checked_next_multiple_of(4096).unwrap_or(size);
            facts.verity = verity::find(reader.disk(), end)?;
            let end = facts.verity.as_ref().map_or(end, |verity| verity.end);
            facts.rest = size.saturating_sub(end);
        }
        Ok(Self { facts, reader })
    }

    /// What the disk says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Everything that names lead to. Contents of files have keys for [`Image::open_file`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn tree(&self) -> Result<Tree, ReadError> {
        match &self.reader {
            Reader::Ext4(reader) => reader.tree(),
            Reader::Erofs(reader) => reader.tree(),
            Reader::Squashfs(reader) => reader.tree(),
            Reader::Cpio(reader) => Ok(reader.tree()),
        }
    }

    /// Opens a file of the tree.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open_file(&self, file: &File) -> Result<OpenFile, ReadError> {
        let key = match &file.content {
            Content::Stored(key) | Content::Sparse(key, _) => *key,
            Content::Bytes(bytes) => {
                return Ok(OpenFile {
                    size: file.size,
                    kind: Kind::Bytes(bytes.clone()),
                });
            }
        };
        let kind = match &self.reader {
            Reader::Ext4(reader) => Kind::Ext4(reader.open_file(key)?),
            Reader::Erofs(reader) => Kind::Erofs(reader.open_file(key)?),
            Reader::Squashfs(reader) => Kind::Squashfs(reader.open_file(key)?),
            Reader::Cpio(_) => Kind::Cpio(key),
        };
        Ok(OpenFile {
            size: file.size,
            kind,
        })
    }

    /// Reads what is at `offset` of a file until the buffer is full or the file ends, and returns
    /// how many bytes. Holes are zeros.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read_at(
        &self,
        file: &mut OpenFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let left = file.size.saturating_sub(offset).min(buffer.len() as u64);
        let length = usize::try_from(left).unwrap_or(0);
        let mut filled = 0;
        while filled < length {
            let rest = &mut buffer[filled..length];
            let at = offset + filled as u64;
            let read = match (&self.reader, &mut file.kind) {
                (Reader::Ext4(reader), Kind::Ext4(file)) => reader.read_at(file, rest, at)?,
                (Reader::Erofs(reader), Kind::Erofs(file)) => reader.read_at(file, rest, at)?,
                (Reader::Squashfs(reader), Kind::Squashfs(file)) => {
                    reader.read_at(file, rest, at)?
                }
                (Reader::Cpio(reader), Kind::Cpio(key)) => {
                    reader.read_at(*key, rest, at)?;
                    rest.len()
                }
                (_, Kind::Bytes(bytes)) => {
                    let start = usize::try_from(at).unwrap_or(usize::MAX);
                    let bytes = bytes.get(start..).unwrap_or_default();
                    let length = rest.len().min(bytes.len());
                    rest[..length].copy_from_slice(&bytes[..length]);
                    length
                }
                _ => 0,
            };
            if read == 0 {
                // The tree was told another size, or is of another disk.
                return Err(crate::read::damaged(
                    "a file".to_owned(),
                    "it is shorter than it says",
                ));
            }
            filled += read;
        }
        Ok(filled)
    }
}

impl<D: DiskSource> Reader<D> {
    fn disk(&self) -> &D {
        match self {
            Self::Ext4(reader) => reader.disk(),
            Self::Erofs(reader) => reader.disk(),
            Self::Squashfs(reader) => reader.disk(),
            Self::Cpio(reader) => reader.disk(),
        }
    }

    fn facts(&self) -> Facts {
        match self {
            Self::Ext4(reader) => Facts::of_ext4(reader.facts()),
            Self::Erofs(reader) => Facts::of_erofs(reader.facts()),
            Self::Squashfs(reader) => Facts::of_squashfs(reader.facts()),
            Self::Cpio(reader) => Facts::of_cpio(&reader.facts()),
        }
    }
}

impl Facts {
    fn new(format: Format, size: u64) -> Self {
        Self {
            format,
            size,
            block_size: None,
            label: None,
            uuid: None,
            created: None,
            written: None,
            inodes: None,
            free: None,
            has_journal: None,
            is_clean: None,
            compression: Vec::new(),
            features: Vec::new(),
            verity: None,
            rest: 0,
        }
    }

    fn of_ext4(facts: &ext4::Facts) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(facts.block_size.into());
        Self {
            block_size: Some(facts.block_size),
            label: Some(facts.label.clone()),
            uuid: Some(facts.uuid),
            created: Some(facts.created),
            written: Some(facts.written),
            inodes: Some(facts.inodes.into()),
            free: Some(Free {
                bytes: bytes(facts.free_blocks),
                inodes: facts.free_inodes.into(),
            }),
            has_journal: Some(facts.features.contains(&"has_journal")),
            is_clean: Some(facts.is_clean),
            features: facts.features.clone(),
            ..Self::new(Format::Ext4, bytes(facts.blocks))
        }
    }

    fn of_erofs(facts: &erofs::Facts) -> Self {
        Self {
            block_size: Some(facts.block_size),
            label: Some(facts.label.clone()),
            uuid: Some(facts.uuid),
            created: Some(facts.created),
            inodes: Some(facts.inodes),
            compression: facts.compressors.clone(),
            features: facts.features.clone(),
            ..Self::new(
                Format::Erofs,
                facts.blocks.saturating_mul(facts.block_size.into()),
            )
        }
    }

    fn of_squashfs(facts: &squashfs::Facts) -> Self {
        Self {
            block_size: Some(facts.block_size),
            created: Some(facts.created),
            inodes: Some(facts.inodes.into()),
            compression: vec![facts.compressor],
            features: facts.features.clone(),
            ..Self::new(Format::Squashfs, facts.size)
        }
    }

    fn of_cpio(facts: &cpio::Facts) -> Self {
        Self {
            inodes: Some(facts.members),
            rest: facts.rest,
            ..Self::new(Format::Cpio, facts.size)
        }
    }
}

/// The format of a disk that begins so.
fn format_of(start: &[u8]) -> Option<Format> {
    let has = |at: usize, magic: &[u8]| start.get(at..at + magic.len()) == Some(magic);
    if has(0, b"hsqs") {
        Some(Format::Squashfs)
    } else if has(0, b"070701") || has(0, b"070702") {
        Some(Format::Cpio)
    } else if has(1024, &[0xe2, 0xe1, 0xf5, 0xe0]) {
        Some(Format::Erofs)
    } else if has(1080, &[0x53, 0xef]) {
        Some(Format::Ext4)
    } else {
        None
    }
}

/// What else begins so.
fn other(start: &[u8]) -> &'static str {
    let has = |at: usize, magic: &[u8]| start.get(at..at + magic.len()) == Some(magic);
    if start.iter().all(|byte| *byte == 0) {
        "nothing but zeros at the beginning"
    } else if has(0, b"QFI\xfb") {
        "a qcow2 image (`qemu-img convert -O raw` makes a disk of it)"
    } else if has(257, b"ustar") {
        "a tar archive"
    } else if has(0, b"\x7fELF") {
        "a program"
    } else if has(0, b"XFSB") {
        "an XFS file system"
    } else if has(512, b"EFI PART") || has(510, &[0x55, 0xaa]) {
        "a disk with partitions"
    } else if has(0, b"{") {
        "a text"
    } else if has(0, &[0xc7, 0x71]) || has(0, b"07070") {
        "a cpio archive of another kind than newc"
    } else if has(0, &[0x1f, 0x8b]) || has(0, &[0x28, 0xb5, 0x2f, 0xfd]) || has(0, b"\xfd7zXZ") {
        "a compressed file"
    } else {
        "something unknown"
    }
}
