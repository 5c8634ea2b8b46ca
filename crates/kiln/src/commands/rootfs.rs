//! `kiln rootfs`: an image as a disk.

mod bills;
mod deadline;
mod diff;
mod edits;
mod extract;
mod inspect;
mod mount;
mod sign;
mod source;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kiln_base::{CancelToken, Timestamp};
use kiln_engine::{DiskImage, RootfsEdits, RootfsRequest};
use kiln_rootfs::manifest::Manifest;
use kiln_rootfs::request::{
    DiskFormat, DiskRequest, FileCompression, InnerCompression, of_file_name, parse_uuid,
};
use kiln_rootfs::spec::Spec;
use serde_json::json;

use self::deadline::Deadline;
use self::source::{From, InTurn};
use super::Invocation;
use crate::args::{ByteSize, DiskName, NetworkName, PackName, RootfsArgs, RootfsCommand};
use crate::error::CliError;
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::build::network as engine_network;
use crate::settings::env::TMPDIR;
use crate::settings::source_date_epoch;
use crate::terminal::{self, print, tell};

pub(super) fn rootfs(args: &RootfsArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    match &args.about {
        Some(RootfsCommand::Inspect(args)) => inspect::inspect(args, invocation),
        Some(RootfsCommand::Diff(args)) => diff::diff(args, invocation),
        Some(RootfsCommand::Extract(args)) => extract::extract(args, invocation),
        Some(RootfsCommand::Mount(args)) => mount::mount(args, invocation),
        Some(RootfsCommand::Verify(args)) => sign::verify(args, invocation),
        None => make(args, invocation),
    }
}

/// Opens a disk that exists. One that is compressed is unpacked to a file without a name.
fn open_disk(
    path: &Path,
    invocation: &Invocation,
    cancel: &CancelToken,
) -> Result<DiskImage, CliError> {
    let environment = &invocation.environment;
    let temporary = environment.get(&TMPDIR).unwrap_or(OsStr::new("/var/tmp"));
    let temporary = environment.resolve(Path::new(temporary));
    let disk = DiskImage::open(&environment.resolve(path), &temporary, cancel)?;
    Ok(disk)
}

fn make(args: &RootfsArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let spec = read_spec(args, invocation)?;
    let spec = spec.as_ref();
    let limits = spec.map(|spec| spec.limits).unwrap_or_default();
    let network = match args.content.network {
        None if limits.no_network => NetworkName::None,
        _ => invocation.settings.network,
    };
    let mut request = request(args, spec, network, invocation)?;
    let wish = source::wish(args, spec, network, invocation)?;
    let engine = invocation.open_engine_with(wish.given)?;
    let mode = match (args.json, args.quiet) {
        (_, true) => Mode::Quiet,
        _ => terminal::mode(invocation.settings.progress, &invocation.environment),
    };
    let progress = Progress::begin(Work::Rootfs, mode, invocation.style, invocation.log());
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    let seconds = args.timeout.or(limits.seconds);
    let deadline = seconds.map(|seconds| Deadline::begin(seconds, &cancel));
    let events = InTurn::new(progress.events());
    let image = match wish.from {
        From::Image(name) => Ok(place(&name, |path| invocation.environment.resolve(path))),
        From::Build(plan) => source::build(&engine, *plan, &events, &cancel),
    };
    let result = image.and_then(|image| {
        request.image = image;
        Ok(engine.rootfs(&request, &events.next(), &cancel)?)
    });
    drop(watch);
    let manifest = match (result, deadline) {
        (Ok(manifest), _) => manifest,
        (Err(error), Some(deadline)) => return Err(progress.fail(deadline.explain(error))),
        (Err(error), None) => return Err(progress.fail(error)),
    };
    conclude(args, &request, &manifest, progress, mode)
}

fn read_spec(args: &RootfsArgs, invocation: &Invocation) -> Result<Option<Spec>, CliError> {
    let Some(path) = &args.config else {
        return Ok(None);
    };
    let text = kiln_sys::files::read_to_string(invocation.environment.resolve(path))
        .map_err(CliError::usage)?;
    let spec = Spec::parse(&text).map_err(|error| {
        CliError::from(error).about(format!("could not use `{}`", path.display()))
    })?;
    Ok(Some(spec))
}

/// Says what was made.
fn conclude(
    args: &RootfsArgs,
    request: &RootfsRequest,
    manifest: &Manifest,
    progress: Progress,
    mode: Mode,
) -> Result<ExitCode, CliError> {
    let digest = manifest.disk.digest.to_string();
    progress.succeed(&json!({
        "rootfs.digest": digest,
        "rootfs.size": manifest.disk.size,
        "rootfs.file": request.output.to_string_lossy(),
        "containerimage.digest": manifest.source.digest.as_str(),
    }));
    if args.json {
        print(&String::from_utf8_lossy(&manifest.to_json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    match mode {
        Mode::Quiet => print(&format!("{digest}\n"))?,
        Mode::Json | Mode::RawJson | Mode::None => {}
        Mode::Tty | Mode::Plain => tell(&summary(manifest, &output(args))),
    }
    Ok(ExitCode::SUCCESS)
}

/// What was made, in a few lines.
fn summary(manifest: &Manifest, path: &Path) -> String {
    let (disk, contents) = (&manifest.disk, &manifest.contents);
    let packed = if disk.file_size == disk.size {
        String::new()
    } else {
        format!(", {} as a file", ByteSize(disk.file_size))
    };
    let mut more = String::new();
    for bill in &manifest.sboms {
        let (name, count) = (bill.format.name(), bill.packages);
        _ = writeln!(more, "{name} {}: {count} packages", bill.file);
    }
    if let Some(signature) = &manifest.signature {
        _ = writeln!(more, "signature {}: by {}", signature.file, signature.key);
    }
    format!(
        "{} {}: {}{packed}, {} files of {}\n{more}{}\n",
        disk.format.name(),
        path.display(),
        ByteSize(disk.size),
        contents.files,
        ByteSize(contents.bytes),
        disk.digest,
    )
}

fn request(
    args: &RootfsArgs,
    spec: Option<&Spec>,
    network: NetworkName,
    invocation: &Invocation,
) -> Result<RootfsRequest, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    let epoch = match args.disk.source_date_epoch {
        Some(seconds) => Some(Timestamp::from_seconds(seconds)),
        None => source_date_epoch(environment)?,
    };
    let output = environment.resolve(&output(args));
    let bills = bills::bills(&args.sbom, &output, environment)?;
    let sign = args.sign.as_ref();
    let sign = sign.map(|key| sign::sign(key, &output, environment));
    let manifest = match (&args.manifest, args.no_manifest) {
        (_, true) => None,
        (Some(path), false) => Some(environment.resolve(path)),
        (None, false) => Some(beside(&output, "json")),
    };
    let mut commands = spec.map_or_else(Vec::new, |spec| spec.commands.clone());
    commands.extend_from_slice(&args.content.commands);
    let disk = disk(args, spec)?;
    let resolved = |path: &Option<PathBuf>| path.as_ref().map(|path| environment.resolve(path));
    Ok(RootfsRequest {
        // Known when it is there.
        image: String::new(),
        platform: settings.platform()?.clone(),
        is_platform_fixed: args.platform.is_some(),
        commands,
        network: engine_network(network),
        edits: edits(args, spec, &disk, invocation)?,
        verify: edits::verify(args)?,
        kernel: resolved(&args.machine.kernel),
        initrd: resolved(&args.machine.initrd),
        disk,
        epoch,
        name: spec.and_then(|spec| spec.name.clone()),
        labels: spec.map(|spec| spec.labels.clone()).unwrap_or_default(),
        output,
        manifest,
        bills,
        sign: sign.transpose()?,
    })
}

/// The disk's file, which only questions about disks don't have.
fn output(args: &RootfsArgs) -> PathBuf {
    args.output.clone().unwrap_or_default()
}

fn edits(
    args: &RootfsArgs,
    spec: Option<&Spec>,
    disk: &DiskRequest,
    invocation: &Invocation,
) -> Result<RootfsEdits, CliError> {
    let environment = &invocation.environment;
    Ok(RootfsEdits {
        optimise: edits::optimise(args, spec)?,
        harden: edits::harden(args, spec)?,
        init: edits::init(args, spec, environment)?,
        overrides: edits::overrides(args, spec, environment)?,
        root: edits::root(args, disk)?,
    })
}

/// The image's name as the engine takes it: places of files from the root.
fn place(image: &str, resolve: impl Fn(&Path) -> PathBuf) -> String {
    let absolute = |path: &str| resolve(Path::new(path)).to_string_lossy().into_owned();
    for prefix in ["oci-archive:", "docker-archive:"] {
        if let Some(path) = image.strip_prefix(prefix) {
            return absolute(path);
        }
    }
    for prefix in ["oci-layout://", "oci:"] {
        if let Some(layout) = image.strip_prefix(prefix) {
            return format!("oci-layout://{}", absolute(layout));
        }
    }
    if ["./", "../"].iter().any(|start| image.starts_with(start)) {
        return absolute(image);
    }
    image.to_owned()
}

/// `disk.ext4` has `disk.ext4.json` beside it.
fn beside(output: &Path, extension: &str) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{extension}"));
    output.with_file_name(name)
}

fn disk(args: &RootfsArgs, spec: Option<&Spec>) -> Result<DiskRequest, CliError> {
    let asked = &args.disk;
    let (named_format, named_compression) = of_file_name(&output(args));
    let format = match asked.format {
        Some(DiskName::Ext4) => Some(DiskFormat::Ext4),
        Some(DiskName::Erofs) => Some(DiskFormat::Erofs),
        Some(DiskName::Squashfs) => Some(DiskFormat::Squashfs),
        Some(DiskName::Cpio) => Some(DiskFormat::Cpio),
        None => spec.and_then(|spec| spec.format).or(named_format),
    };
    let format = format.unwrap_or(DiskFormat::Ext4);
    let (inner, compression) = match (asked.compression, format) {
        (Some(PackName::Gzip), DiskFormat::Squashfs) => (InnerCompression::Gzip, None),
        (Some(PackName::Zstd), DiskFormat::Squashfs) => (InnerCompression::Zstd, None),
        (Some(PackName::Lz4), _) => (InnerCompression::Lz4, None),
        (Some(PackName::None), _) => (InnerCompression::None, Some(FileCompression::None)),
        (Some(PackName::Gzip), _) => (InnerCompression::None, Some(FileCompression::Gzip)),
        (Some(PackName::Zstd), _) => (InnerCompression::None, Some(FileCompression::Zstd)),
        (None, _) => (
            InnerCompression::None,
            spec.and_then(|spec| spec.compression),
        ),
    };
    let compression = compression.or(named_compression);
    let uuid = match &asked.uuid {
        Some(text) => Some(parse_uuid(text).ok_or_else(|| {
            CliError::usage(format!("`{text}` is no UUID"))
                .hint("a UUID is as `3c5e2b09-1258-4c32-8a11-0123456789ab`")
        })?),
        None => None,
    };
    let limit = asked.size_limit.map(|limit| limit.0);
    Ok(DiskRequest {
        format,
        inner,
        compression: compression.unwrap_or(FileCompression::None),
        size_limit: limit.or(spec.and_then(|spec| spec.size_limit)),
        free: asked.free.map_or(0, |free| free.0),
        journal: asked.journal,
        label: asked.label.clone().unwrap_or_default(),
        verity: asked.verity,
        uuid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_from_the_working_directory() {
        let check = |image: &str, expected: &str| {
            assert_eq!(place(image, |path| Path::new("/cwd").join(path)), expected);
        };
        check("debian:bookworm", "debian:bookworm");
        check("oci-archive:a.tar", "/cwd/a.tar");
        check("docker-archive:/a.tar", "/a.tar");
        check("oci:dir:tag", "oci-layout:///cwd/dir:tag");
        check("oci-layout://dir", "oci-layout:///cwd/dir");
        check("./a.tar", "/cwd/./a.tar");
        check("docker://a/b", "docker://a/b");
    }

    #[test]
    fn the_manifest_is_beside_the_disk() {
        assert_eq!(
            beside(Path::new("/a/disk.ext4"), "json"),
            Path::new("/a/disk.ext4.json")
        );
    }
}
