//! `kiln rootfs extract`: files from a disk.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_disk::Node;
use kiln_engine::{DiskError, DiskImage, Extracted, Place};
use kiln_sys::files;

use super::super::Invocation;
use super::open_disk;
use crate::args::{ByteSize, DiskExtractArgs};
use crate::error::{Blame, CliError, Exit};
use crate::interrupt;
use crate::terminal::{stdout_is_terminal, tell};

/// How much is written at a time.
const BUFFER: usize = 1 << 18;

pub(super) fn extract(
    args: &DiskExtractArgs,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), tell);
    let disk = open_disk(&args.disk, invocation, &cancel)?;
    let from = disk.find(args.path.as_deref().unwrap_or(Path::new("/")))?;
    let output = invocation.environment.resolve(&args.output);
    let report = if args.output.as_os_str() == "-" {
        to_stdout(&disk, &from, &cancel)?
    } else if output.extension().is_some_and(|end| end == "tar") {
        to_archive(&disk, &from, &output, &cancel)?
    } else if is_directory(&disk, &from) {
        disk.extract_directory(&from, &output, &cancel)?
    } else {
        disk.extract_file(&from, &output, &cancel)?
    };
    drop(watch);
    if args.output.as_os_str() != "-" {
        tell(&format!(
            "{}: {} files of {}\n",
            args.output.display(),
            report.names,
            ByteSize(report.bytes)
        ));
    }
    tell(&losses(&report));
    Ok(ExitCode::SUCCESS)
}

fn is_directory(disk: &DiskImage, from: &Place) -> bool {
    matches!(disk.tree().inode(from.id).node, Node::Directory(_))
}

fn to_stdout(disk: &DiskImage, from: &Place, cancel: &CancelToken) -> Result<Extracted, CliError> {
    let mut stdout = io::BufWriter::with_capacity(BUFFER, io::stdout().lock());
    if !is_directory(disk, from) {
        return Ok(disk.write_file(from, &mut stdout, cancel)?);
    }
    if stdout_is_terminal() {
        return Err(CliError::usage("an archive does not go to a terminal")
            .hint("name a directory or a file, `-o DIR`, or send it on: `-o - | tar -t`"));
    }
    let report = disk.write_tar(from, &mut stdout, cancel)?;
    stdout.flush()?;
    Ok(report)
}

/// Writes an archive, which gets its name when it is complete.
fn to_archive(
    disk: &DiskImage,
    from: &Place,
    output: &Path,
    cancel: &CancelToken,
) -> Result<Extracted, CliError> {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".kiln-{}", std::process::id()));
    let temporary: PathBuf = output.with_file_name(name);
    let file = files::create_new(&temporary, 0o644).map_err(DiskError::from)?;
    let mut sink = io::BufWriter::with_capacity(BUFFER, file);
    let written = disk.write_tar(from, &mut sink, cancel).and_then(|report| {
        files::rename(&temporary, output)?;
        Ok(report)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = files::remove_file(&temporary);
    }
    Ok(written?)
}

/// What could not be kept, in a line each.
fn losses(report: &Extracted) -> String {
    let mut text = String::new();
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            _ = writeln!(text, "  not kept: {what} of {count} files");
        }
    };
    line(report.owners, "the owner");
    line(report.set_ids, "set-id bits");
    line(report.xattrs, "an extended attribute");
    if report.nodes > 0 {
        _ = writeln!(text, "  not there: {} devices and sockets", report.nodes);
    }
    if !text.is_empty() && report.owners + report.nodes > 0 {
        text.push_str("  root keeps them, and so does an archive: `-o FILE.tar`\n");
    }
    text
}

impl From<DiskError> for CliError {
    fn from(error: DiskError) -> Self {
        use kiln_disk::ReadError;
        let cause = |error: &DiskError| match error {
            DiskError::Read { source, .. } | DiskError::Content { source, .. } => {
                matches!(source, ReadError::Disk(_) | ReadError::Damaged { .. })
            }
            _ => false,
        };
        match error {
            DiskError::Fs(error) => error.into(),
            DiskError::Cancelled(_) => Self::new(Blame::User, Exit::Cancelled, error),
            DiskError::Archive(kiln_layer::WriteError::Cancelled(_)) => {
                Self::new(Blame::User, Exit::Cancelled, error)
            }
            DiskError::Archive(kiln_layer::WriteError::Sink(ref cause))
            | DiskError::Write {
                source: ref cause, ..
            } if cause.kind() == io::ErrorKind::BrokenPipe => {
                io::Error::from(io::ErrorKind::BrokenPipe).into()
            }
            DiskError::Write { ref source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Self::new(Blame::Environment, Exit::Resources, error)
            }
            DiskError::NotFound(_) => Self::usage(error)
                .hint("`kiln rootfs inspect DISK PATH` lists a directory of the disk"),
            DiskError::NotEmpty(_) => Self::usage(error).hint("name a new directory"),
            DiskError::NotTakable(_) | DiskError::TooDeep(_) => Self::usage(error),
            error if cause(&error) => Self::new(Blame::Environment, Exit::General, error),
            DiskError::Read { .. } | DiskError::Content { .. } => Self::usage(error),
            DiskError::Decompress { .. } | DiskError::Write { .. } | DiskError::Archive(_) => {
                Self::new(Blame::Environment, Exit::General, error)
            }
        }
    }
}
