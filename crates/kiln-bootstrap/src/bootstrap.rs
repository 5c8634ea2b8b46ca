//! The way from a request to a named image.

use std::sync::Arc;
use std::time::Instant;

use kiln_base::events::{BuildEvent, Events, StepNumber, StepOutcome, Stream};
use kiln_base::{CancelToken, Timestamp};
use kiln_layer::{DiffOptions, LayerOptions, LayerSummary, OverlayXattrs, diff, write_layer};
use kiln_oci::{Descriptor, Platform};
use kiln_store::Store;
use kiln_sys::binfmt;
use kiln_sys::files;
use kiln_sys::fs::Dir;
use kiln_sys::namespace::Grade;

use crate::apt::{self, HostApt, ReleaseError};
use crate::architecture::Architecture;
use crate::helper::{self, Program};
use crate::mmdebstrap::{self, Paths};
use crate::select::{self, Need};
use crate::sources::{print_deb822, print_deb822_with_credentials};
use crate::{Archive, BootstrapError, BootstrapRequest, clean, publish};

/// A base image that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrapped {
    /// The image's own manifest.
    pub manifest: Descriptor,
    /// What the name now stands for: the manifest, or an index of images for several platforms.
    pub target: Descriptor,
    /// The time that no file in the image is later than.
    pub epoch: Timestamp,
    /// The archives it was installed from and will install from.
    pub archives: Vec<Archive>,
}

/// Where to install from, once the archives were asked.
struct Sources {
    archives: Vec<Archive>,
    epoch: Timestamp,
}

/// What looking for sources takes.
struct Look<'a> {
    request: &'a BootstrapRequest,
    architecture: Architecture,
    host: &'a HostApt,
    programs: &'a Program<'a>,
}

/// The one step that the events speak of.
const STEP: StepNumber = StepNumber(1);

/// Makes a base image and gives it its name in the store.
///
/// The process has to be uid 0 of its namespace, as [`kiln_sys::namespace::enter`] leaves it. Blocks
/// until the image is there; `cancel` ends it early and leaves nothing behind.
pub fn bootstrap(
    request: &BootstrapRequest,
    grade: Grade,
    store: &Store,
    events: &dyn Events,
    cancel: &CancelToken,
) -> Result<Bootstrapped, BootstrapError> {
    let started = Instant::now();
    let name = format!(
        "[bootstrap] {} {} for {}",
        request.distribution, request.suite, request.platform
    );
    events.emit(BuildEvent::StepDeclared {
        step: STEP,
        name: Arc::from(name),
    });
    events.emit(BuildEvent::StepStarted {
        step: STEP,
        at: started.elapsed(),
    });
    let result = make(request, grade, store, events, cancel);
    let outcome = match &result {
        Ok(_) => StepOutcome::Done,
        Err(BootstrapError::Cancelled(_)) => StepOutcome::Cancelled,
        Err(error) => {
            let message = error.to_string();
            StepOutcome::Failed(message.lines().next().unwrap_or_default().to_owned())
        }
    };
    events.emit(BuildEvent::StepFinished {
        step: STEP,
        outcome,
        at: started.elapsed(),
    });
    result
}

fn make(
    request: &BootstrapRequest,
    grade: Grade,
    store: &Store,
    events: &dyn Events,
    cancel: &CancelToken,
) -> Result<Bootstrapped, BootstrapError> {
    let (architecture, handler) = check_host(request, grade)?;
    let snapshot = store.begin_snapshot()?;
    let programs = Program {
        proxies: &request.proxies,
        scratch: snapshot.work(),
    };
    let host = HostApt::read(&programs)?;
    let look = Look {
        request,
        architecture,
        host: &host,
        programs: &programs,
    };
    let sources = find_sources(&look, events, cancel)?;
    let paths = Paths {
        target: snapshot.upper(),
        sources: &snapshot.work().join("bootstrap.sources"),
        acquire: &snapshot.work().join("acquire"),
        preferences: &snapshot.work().join("preferences"),
    };
    let text = print_deb822_with_credentials(&sources.archives);
    files::write_new(paths.sources, text.as_bytes(), 0o600)?;
    files::write_new(paths.acquire, host.acquire_settings().as_bytes(), 0o644)?;
    files::write_new(paths.preferences, mmdebstrap::PREFERENCES.as_bytes(), 0o644)?;

    let arguments = mmdebstrap::arguments(request, architecture, &sources.archives, paths);
    let mut command = helper::leashed(&programs, &arguments);
    command.env("SOURCE_DATE_EPOCH", sources.epoch.seconds().to_string());
    helper::run(command, handler.as_ref(), cancel, &mut |bytes| {
        say(events, bytes);
    })?;

    let root = Dir::open(snapshot.upper())?;
    let archives = image_archives(request, &root, &sources.archives)?;
    clean::clean(&root, &print_deb822(&archives))?;
    let layer = write(request, grade, store, &root, sources.epoch, cancel)?;
    let (manifest, target) = publish::publish(store, request, sources.epoch, &layer)?;
    Ok(Bootstrapped {
        manifest,
        target,
        epoch: sources.epoch,
        archives,
    })
}

/// What can be known to be missing before anything is fetched.
fn check_host(
    request: &BootstrapRequest,
    grade: Grade,
) -> Result<(Architecture, Option<binfmt::Handler>), BootstrapError> {
    let no_port = || BootstrapError::NoPort {
        distribution: request.distribution,
        platform: request.platform.to_string(),
    };
    let architecture = Architecture::of(&request.platform).ok_or_else(no_port)?;
    if grade == Grade::RootlessSingle {
        return Err(BootstrapError::SingleId);
    }
    let needed = [
        ("mmdebstrap", "mmdebstrap"),
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
    ];
    for (program, package) in needed {
        if !helper::is_installed(program) {
            let program = program.to_owned();
            return Err(BootstrapError::MissingProgram { program, package });
        }
    }
    let path = request.distribution.keyring();
    if !files::exists(path) {
        let distribution = request.distribution;
        return Err(BootstrapError::MissingKeyring { distribution, path });
    }
    let host = Architecture::of(&Platform::host()).ok_or_else(no_port)?;
    if architecture.runs_on(host) {
        return Ok((architecture, None));
    }
    let handler = binfmt::qemu_handler(&request.platform.architecture).ok_or_else(no_port)?;
    if !files::exists(&handler.interpreter) {
        return Err(BootstrapError::MissingProgram {
            program: handler.interpreter.display().to_string(),
            package: "qemu-user-static",
        });
    }
    Ok((architecture, Some(handler)))
}

/// Asks each candidate for its Release file: whether it is there, whose it is, and how old.
fn find_sources(
    look: &Look<'_>,
    events: &dyn Events,
    cancel: &CancelToken,
) -> Result<Sources, BootstrapError> {
    let Look {
        request,
        architecture,
        host,
        programs,
    } = *look;
    let mut archives = Vec::new();
    let mut newest = None;
    let mut unknown = None;
    for candidate in select::candidates(request, &host.archives)? {
        cancel.check()?;
        let mut archive = candidate.archive;
        let release = match apt::release(programs, &archive, programs.scratch) {
            Ok(release) => release,
            Err(ReleaseError::Absent { .. }) if candidate.need == Need::Companion => continue,
            Err(ReleaseError::Absent { url }) => {
                unknown.get_or_insert(url);
                continue;
            }
            Err(ReleaseError::Failed(error)) => return Err(error),
        };
        let own = release.origin.as_deref() == Some(request.distribution.origin());
        if candidate.need != Need::Named && !own {
            continue;
        }
        if !release.has_port(architecture.debian) {
            if candidate.need == Need::Companion {
                continue;
            }
            return Err(BootstrapError::NoPackages {
                suite: archive.suite,
                platform: request.platform.to_string(),
            });
        }
        say(
            events,
            format!("from {}\n", archive.release_url("")).as_bytes(),
        );
        host.apply_trust(&mut archive);
        archive
            .signed_by
            .get_or_insert_with(|| request.distribution.keyring().to_owned());
        newest = newest.max(release.date);
        archives.push(archive);
    }
    let main = archives
        .iter()
        .any(|archive| archive.suite == request.suite);
    if let Some(url) = unknown.filter(|_| !main || !request.mirrors.is_empty()) {
        let suite = request.suite.clone();
        return Err(BootstrapError::UnknownSuite { suite, url });
    }
    if archives.is_empty() {
        return Err(BootstrapError::NoSources {
            distribution: request.distribution,
        });
    }
    let epoch = request.epoch.or(newest).unwrap_or(Timestamp::EPOCH);
    Ok(Sources { archives, epoch })
}

/// The archives as the image names them: a keyring that only the host has is replaced by the
/// distribution's own.
fn image_archives(
    request: &BootstrapRequest,
    root: &Dir,
    archives: &[Archive],
) -> Result<Vec<Archive>, BootstrapError> {
    let mut archives = archives.to_vec();
    for archive in &mut archives {
        let Some(key) = archive.signed_by.as_deref() else {
            continue;
        };
        if key.starts_with('/') && !clean::is_there(root, key)? {
            archive.signed_by = Some(request.distribution.keyring().to_owned());
        }
    }
    Ok(archives)
}

fn write(
    request: &BootstrapRequest,
    grade: Grade,
    store: &Store,
    root: &Dir,
    epoch: Timestamp,
    cancel: &CancelToken,
) -> Result<LayerSummary, BootstrapError> {
    let xattrs = if grade.uses_user_xattrs() {
        OverlayXattrs::User
    } else {
        OverlayXattrs::Trusted
    };
    let changes = diff(
        root,
        &[],
        &DiffOptions {
            xattrs,
            clamp_mtime: None,
        },
        cancel,
    )?;
    let options = LayerOptions {
        compression: request.compression,
        clamp_mtime: Some(epoch),
        threads: request.threads,
    };
    let mut blob = store.blob_writer()?;
    let layer = write_layer(&changes, &mut blob, &options, cancel)?;
    blob.commit(Some((&layer.digest, layer.size)))?;
    Ok(layer)
}

fn say(events: &dyn Events, bytes: &[u8]) {
    events.emit(BuildEvent::StepOutput {
        step: STEP,
        stream: Stream::Stderr,
        bytes: Arc::from(bytes),
    });
}
