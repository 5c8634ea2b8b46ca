//! The log file: everything a build said, as plain text, for after the terminal forgot it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_base::Timestamp;
use kiln_base::events::BuildEvent;
use kiln_sys::files;

use super::plain::Plain;

/// This many logs are kept.
const KEPT: usize = 20;

/// A log that is being written.
pub(crate) struct LogFile {
    path: PathBuf,
    file: BufWriter<File>,
    plain: Plain,
}

impl LogFile {
    /// Begins a log in the folder, and removes the oldest ones there.
    ///
    /// `None` if that is not possible: a build doesn't fail for want of a log.
    pub(crate) fn begin(folder: &Path, now: Timestamp) -> Option<Self> {
        files::create_dir_all(folder, 0o700).ok()?;
        remove_oldest(folder);
        let name = format!("{}-{}.log", now.seconds(), std::process::id());
        let path = folder.join(name);
        let file = BufWriter::new(files::create(&path).ok()?);
        Some(Self {
            path,
            file,
            plain: Plain::default(),
        })
    }

    pub(super) fn take(&mut self, event: &BuildEvent, now: Duration) {
        // A full disk has louder witnesses than the log.
        _ = self.file.write_all(self.plain.text(event, now).as_bytes());
    }

    /// Ends the log; its path if all of it was written.
    pub(super) fn finish(mut self) -> Option<PathBuf> {
        self.file.flush().ok()?;
        Some(self.path)
    }
}

/// Leaves room for one more log. Names begin with the time, so the first are the oldest.
fn remove_oldest(folder: &Path) {
    let mut names = files::names(folder).unwrap_or_default();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "log"));
    names.sort();
    let surplus = (names.len() + 1).saturating_sub(KEPT);
    for name in names.into_iter().take(surplus) {
        _ = files::remove_file(folder.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_log_holds_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::begin(folder.path(), Timestamp::EPOCH).unwrap();
        for (millis, event) in samples::parallel_failure() {
            log.take(&event, Duration::from_millis(millis));
        }
        let path = log.finish().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("#2 0.060 oops\n#2 ERROR: exit code 1\n"));
    }

    #[test]
    fn old_logs_make_room() {
        let folder = tempfile::tempdir().unwrap();
        for second in 1_000_000..1_000_030 {
            LogFile::begin(folder.path(), Timestamp::from_seconds(second)).unwrap();
        }
        let names = files::names(folder.path()).unwrap();
        assert_eq!(names.len(), KEPT);
        assert!(!names.iter().any(|name| name.starts_with("1000009")));
    }
}
