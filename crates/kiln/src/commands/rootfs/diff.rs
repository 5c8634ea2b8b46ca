//! `kiln rootfs diff`: what differs between two disks.

use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_engine::DiskTimes;
use serde_json::json;

use super::super::Invocation;
use super::super::diff::{file_json, file_text};
use super::open_disk;
use crate::args::DiskDiffArgs;
use crate::error::{CliError, Exit};
use crate::interrupt;
use crate::terminal::{print, tell};

pub(super) fn diff(args: &DiskDiffArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), tell);
    let first = open_disk(&args.first, invocation, &cancel)?;
    let second = open_disk(&args.second, invocation, &cancel)?;
    let times = if args.ignore_times {
        DiskTimes::Ignore
    } else {
        DiskTimes::Compare
    };
    let files = first.diff(&second, times, &cancel)?.files;
    drop(watch);
    let is_same = files.is_empty();
    print(&if args.json {
        let files: Vec<_> = files.iter().map(file_json).collect();
        format!("{:#}\n", json!({"same": is_same, "files": files}))
    } else if is_same {
        "The disks have the same files.\n".to_owned()
    } else {
        files.iter().map(file_text).collect()
    })?;
    Ok(if is_same {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Different.code())
    })
}
