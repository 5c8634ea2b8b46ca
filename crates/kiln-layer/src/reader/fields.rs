//! The fields of one header block.

use std::ops::Range;

use kiln_sys::fs::{Device, FileTime};
use tar::Header;

use super::Block;

const NAME: Range<usize> = 0..100;
const MAGIC: Range<usize> = 257..265;
const PREFIX: Range<usize> = 345..500;
/// The format of `star` keeps two times where ustar's prefix ends.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_MARK: Range<usize> = 508..512;
/// Where the GNU format keeps its times, in place of a prefix.
const GNU_TIMES: [Range<usize>; 2] = [345..357, 357..369];

/// A header whose checksum is right, as numbers and bytes.
pub(super) struct RawHeader {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) type_flag: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: FileTime,
    pub(super) device: Device,
}

/// What the fields after those of Unix version 7 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Format {
    fn of(block: &Block) -> Self {
        let magic = &block[MAGIC];
        if magic == b"ustar  \0" {
            Self::Gnu
        } else if !magic.starts_with(b"ustar\0") {
            Self::V7
        } else if block[STAR_MARK] == *b"tar\0" {
            Self::Star
        } else {
            Self::Ustar
        }
    }
}

impl RawHeader {
    pub(super) fn parse(block: &Block) -> Result<Self, &'static str> {
        let header = Header::from_byte_slice(block);
        let old = header.as_old();
        check_sum(block, &old.cksum)?;
        let unsigned = |field: &[u8], reason| {
            number(field)
                .and_then(|value| u64::try_from(value).ok())
                .ok_or(reason)
        };
        let mode = unsigned(&old.mode, "the mode is no number")?;
        Ok(Self {
            path: path(block),
            link: field_text(&old.linkname),
            type_flag: old.linkflag[0],
            // The file type that some writers put here is said by the type flag.
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            uid: unsigned(&old.uid, "the user is no number")?,
            gid: unsigned(&old.gid, "the group is no number")?,
            size: unsigned(&old.size, "the size is no number")?,
            mtime: FileTime::from_seconds(number(&old.mtime).ok_or("the time is no number")?),
            device: device(block).ok_or("the device is no number")?,
        })
    }
}

/// The name, after the prefix where there is one.
fn path(block: &Block) -> Vec<u8> {
    let name = field_text(&block[NAME]);
    let mut path = match Format::of(block) {
        Format::V7 => return name,
        Format::Ustar => field_text(&block[PREFIX]),
        Format::Star => field_text(&block[STAR_PREFIX]),
        // Go before 1.8 wrote a prefix all the same; Docker stored layers in that form.
        Format::Gnu => {
            let is_time =
                |field: Range<usize>| block[field.start] == 0 || number(&block[field]).is_some();
            let prefix = field_text(&block[PREFIX]);
            if GNU_TIMES.into_iter().all(is_time) || !prefix.is_ascii() {
                return name;
            }
            prefix
        }
    };
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(&name);
    path
}

fn device(block: &Block) -> Option<Device> {
    if Format::of(block) == Format::V7 {
        return Some(Device::default());
    }
    Some(Device {
        major: u32::try_from(number(&block[329..337])?).ok()?,
        minor: u32::try_from(number(&block[337..345])?).ok()?,
    })
}

/// The sum of all bytes with the checksum itself taken as blanks. Some old writers summed signed
/// bytes.
fn check_sum(block: &Block, field: &[u8]) -> Result<(), &'static str> {
    const FIELD: Range<usize> = 148..156;
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for (index, byte) in block.iter().enumerate() {
        let byte = if FIELD.contains(&index) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    match number(field) {
        Some(sum) if sum == unsigned || sum == signed => Ok(()),
        _ => Err("the checksum is wrong"),
    }
}

/// A number in octal digits, or in binary where the first bit is set. An empty field is zero.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !is_blank(byte));
    let Some(start) = start else {
        return Some(0);
    };
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    // What follows a zero byte has no meaning.
    let mut rest = digits[end..].iter().take_while(|byte| **byte != 0);
    if !rest.all(is_blank) {
        return None;
    }
    digits[..end].iter().try_fold(0_i64, |value, digit| {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))
    })
}

/// Two's complement, big-endian, with the mark for "binary" in place of the second sign bit.
fn binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let mut value: i128 = if negative { -1 } else { 0 };
    for (index, byte) in field.iter().enumerate() {
        let byte = if index == 0 { first } else { *byte };
        value = value.checked_mul(256)? + i128::from(byte);
    }
    i64::try_from(value).ok()
}

/// What stands before the first zero byte.
pub(super) fn field_text(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|byte| *byte == 0);
    field[..end.unwrap_or(field.len())].to_vec()
}
