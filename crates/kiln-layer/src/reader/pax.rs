//! The records of a PAX header.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kiln_sys::fs::FileTime;

use crate::pax::XATTR_PREFIX;

/// What a PAX header says about the entry after it. Records that don't matter here are dropped;
/// an empty value leaves what the header has.
#[derive(Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<FileTime>,
    pub(super) xattrs: BTreeMap<OsString, Vec<u8>>,
    pub(super) sparse: SparseRecords,
}

/// The records of GNU's sparse formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Vec<u8>>,
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths in turn; present in the formats 0.0 and 0.1.
    pub(super) map: Option<Vec<u64>>,
}

impl PaxRecords {
    pub(super) fn parse(mut content: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        while !content.is_empty() {
            let (key, value, rest) = split_record(content).ok_or("a bad extended record")?;
            records.take(key, value)?;
            content = rest;
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            let name = OsString::from_vec(name.to_vec());
            self.xattrs.insert(name, value.to_vec());
            return Ok(());
        }
        if value.is_empty() {
            return Ok(());
        }
        let number = || decimal(value).ok_or("an extended record is no number");
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(size(value).ok_or("an extended record is no size")?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or("an extended record is no time")?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(number()?),
            // Format 0.0 writes its map as a pair of records for each segment, in order.
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.get_or_insert_default().push(number()?);
            }
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').map(decimal);
                let map = numbers.collect::<Option<Vec<_>>>();
                self.sparse.map = Some(map.ok_or("a bad sparse map")?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first record and what follows it: `length key=value\n`.
fn split_record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = content.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&content[..blank])?).ok()?;
    if length <= blank + 1 || length > content.len() {
        return None;
    }
    let record = content[blank + 1..length].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let is_valid = !key.is_empty() && !key.contains(&0);
    is_valid.then_some((key, value, &content[length..]))
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// How long a file is: as in Go, no longer than what fits with a sign.
fn size(text: &[u8]) -> Option<u64> {
    decimal(text).filter(|size| i64::try_from(*size).is_ok())
}

/// Decimal seconds with a sign and a fraction, of which nine digits count.
fn time(text: &[u8]) -> Option<FileTime> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    if negative && nanoseconds > 0 {
        return Some(FileTime {
            seconds: seconds.checked_sub(1)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        });
    }
    Some(FileTime {
        seconds,
        nanoseconds,
    })
}
