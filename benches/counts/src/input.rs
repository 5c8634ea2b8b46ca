//! Inputs that are the same bytes each time: trees of files, and a clock that stands still.

use std::time::{Duration, SystemTime};

use kiln_base::Timestamp;
use kiln_store::Clock;
use kiln_sys::files;

use crate::Failure;

/// Files in each folder of a tree.
const FOLDER: usize = 50;

/// Writes `count` small source files below `top`, 50 to a folder.
pub(crate) fn make_sources(top: &str, count: usize) -> Result<(), Failure> {
    for index in 0..count {
        let folder = format!("{top}/package{:03}", index / FOLDER);
        if index.is_multiple_of(FOLDER) {
            files::create_dir_all(&folder, 0o755)?;
        }
        let path = format!("{folder}/module_{:03}.c", index % FOLDER);
        files::write(path, text(index, 600 + index % 7 * 250).as_bytes())?;
    }
    Ok(())
}

/// Writes `count` files of `size` bytes each below `top`.
pub(crate) fn make_large(top: &str, count: usize, size: usize) -> Result<(), Failure> {
    files::create_dir_all(top, 0o755)?;
    for index in 0..count {
        files::write(
            format!("{top}/library{index}.so"),
            text(index, size).as_bytes(),
        )?;
    }
    Ok(())
}

/// Words, numbers and lines that compress about as well as source code does.
fn text(seed: usize, length: usize) -> String {
    const WORDS: [&str; 16] = [
        "static", "int", "return", "value", "if", "buffer", "length", "struct", "for", "index",
        "const", "char", "result", "(", ")", "{\n\t",
    ];
    let mut text = String::with_capacity(length + 16);
    let mut state = seed as u64 + 1;
    while text.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = state >> 33;
        match number % 9 {
            0 => text.push_str(&(number % 100_000).to_string()),
            _ => text.push_str(WORDS[usize::try_from(number >> 4).unwrap_or(0) % WORDS.len()]),
        }
        text.push(' ');
    }
    text.truncate(length);
    text
}

/// An hour from now, so that every file has long settled: what was changed a moment ago is not kept
/// in a stat cache.
pub(crate) fn later() -> Timestamp {
    (SystemTime::now() + Duration::from_hours(1)).into()
}

/// A clock that says [`later`].
pub(crate) fn clock() -> Clock {
    Clock::new(later)
}
