//! What a disk is asked to be: plain values, decided by whoever asks.

use std::path::Path;

/// A file system that a disk can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskFormat {
    /// Read and written; what every microVM monitor's kernel knows.
    Ext4,
    /// Read only, made to be read from memory or a slow disk.
    Erofs,
    /// Read only and small.
    Squashfs,
    /// An archive that the kernel unpacks into memory: an initramfs.
    Cpio,
}

/// How a disk's file is compressed. The disk in it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileCompression {
    /// Not at all: monitors need it so.
    None,
    /// gzip, as members of fixed size.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// How a file system compresses the contents of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InnerCompression {
    /// Not at all.
    None,
    /// LZ4: smaller, and soon read.
    Lz4,
    /// zlib: smaller still, and slow to read.
    Gzip,
    /// Zstandard: as small, and faster.
    Zstd,
}

/// The file system of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskRequest {
    /// Which one.
    pub format: DiskFormat,
    /// How it compresses what is in it.
    pub inner: InnerCompression,
    /// How the file is compressed.
    pub compression: FileCompression,
    /// The most bytes that the disk may have, before compression.
    pub size_limit: Option<u64>,
    /// Bytes that can be written to it, beside what is there; 0 is as small as can be.
    pub free: u64,
    /// Whether changes of the file system are kept in a journal.
    pub journal: bool,
    /// Its name for `LABEL=`; may be empty.
    pub label: String,
    /// Whether hashes that prove each of its blocks follow it.
    pub verity: bool,
    /// Its id for `UUID=`; `None` derives it from what is on the disk.
    pub uuid: Option<[u8; 16]>,
}

/// What runs in the machine instead of what the image says. `None` and empty lists leave the
/// image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Instead of `ENTRYPOINT`; drops the image's `CMD`, too, as containers' engines do.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of `CMD`.
    pub cmd: Option<Vec<String>>,
    /// Further variables, in order; the last of a name wins, also over the image's.
    pub env: Vec<(String, String)>,
    /// Instead of `WORKDIR`.
    pub working_dir: Option<String>,
    /// Instead of `USER`.
    pub user: Option<String>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// Ports to be told of beside the image's, as `80/tcp`.
    pub exposed_ports: Vec<String>,
}

impl DiskFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Erofs, Self::Squashfs, Self::Cpio];

    /// Its name in options and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Cpio => "cpio",
        }
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether a machine can write to it.
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Ext4)
    }
}

impl FileCompression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// Its name in options and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The compression of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|found| found.name() == name)
    }
}

/// What the name of a disk's file says of its format and its compression: `disk.erofs.gz`.
pub fn of_file_name(path: &Path) -> (Option<DiskFormat>, Option<FileCompression>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut extensions = name.rsplit('.');
    let mut last = extensions.next().unwrap_or_default();
    let compression = match last {
        "gz" => Some(FileCompression::Gzip),
        "zst" | "zstd" => Some(FileCompression::Zstd),
        _ => None,
    };
    if compression.is_some() {
        last = extensions.next().unwrap_or_default();
    }
    let format = match last {
        "sqfs" => Some(DiskFormat::Squashfs),
        other => DiskFormat::from_name(other),
    };
    (format, compression)
}

/// An id from its text: 32 hexadecimal digits, with or without hyphens.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens = [8, 13, 18, 23];
    let digits: String = match text.len() {
        32 => text.to_owned(),
        36 if hyphens.iter().all(|at| text.as_bytes()[*at] == b'-') => text.replace('-', ""),
        _ => return None,
    };
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

/// An id as its text.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*uuid));
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.map(|part| digits[part].to_owned()).join("-")
}

/// An id made of a digest: version 8 of RFC 9562, which leaves the bits to whoever makes it.
pub fn uuid_of(digest: &[u8; 32]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(name: &str, expected: &str) {
        let (format, compression) = of_file_name(Path::new(name));
        let format = format.map_or("-", DiskFormat::name);
        let compression = compression.map_or("-", FileCompression::name);
        assert_eq!(format!("{format} {compression}"), expected);
    }

    #[test]
    fn names_of_files_say_what_is_in_them() {
        check_name("disk.ext4", "ext4 -");
        check_name("/a.erofs/disk", "- -");
        check_name("disk.img", "- -");
        check_name("disk.ext4.gz", "ext4 gzip");
        check_name("disk.gz", "- gzip");
        check_name("a.sqfs", "squashfs -");
        check_name("initrd.cpio.zst", "cpio zstd");
    }

    #[test]
    fn ids_are_read_and_written() {
        let text = "0123abcd-0000-4111-8222-0123456789ab";
        let uuid = parse_uuid(text).unwrap();
        assert_eq!(uuid_text(&uuid), text);
        assert_eq!(parse_uuid(&text.replace('-', "")), Some(uuid));
        for wrong in ["", "0123", "0123abcd-0000-4111-8222-0123456789ag", "é"] {
            assert_eq!(parse_uuid(wrong), None);
        }
        let made = uuid_text(&uuid_of(&[0xff; 32]));
        assert_eq!(made, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
