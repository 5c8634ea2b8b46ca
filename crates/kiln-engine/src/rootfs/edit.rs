//! What is done with an image's files before they are written: less, safer, and with an init.

use kiln_base::{CancelToken, Timestamp};
use kiln_image::Image;
use kiln_rootfs::harden::{Finding, HardenOptions, Outcome, harden};
use kiln_rootfs::init::{Installed, RunConfig, Strategy, config, install};
use kiln_rootfs::manifest::{ManifestChange, ManifestFinding, ManifestPackage, ManifestRemoved};
use kiln_rootfs::optimise::{Options, Report, Totals, optimise};
use kiln_rootfs::reach::{self, Reach};
use kiln_rootfs::request::Overrides;
use kiln_sys::fs::FileTime;

use super::Merged;
use super::error::RootfsError;

/// What is done with an image's files.
#[derive(Debug, Clone)]
pub struct RootfsEdits {
    /// What is removed.
    pub optimise: Option<Options>,
    /// What is made safe.
    pub harden: Option<HardenOptions>,
    /// What the machine's first process is.
    pub init: RootfsInit,
    /// What runs instead of what the image says.
    pub overrides: Overrides,
    /// What the machine may do with its root.
    pub root: config::Root,
}

/// What a machine's first process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootfsInit {
    /// What the image has, if anything; the disk has nothing but the image's files.
    Image,
    /// kiln's own.
    Direct,
    /// The image's systemd.
    Systemd,
    /// A program of the user's own.
    Custom {
        /// Where it is; `None` looks for `/init` and `/sbin/init`.
        path: Option<String>,
        /// Its bytes, where the image does not have it.
        script: Option<Vec<u8>>,
    },
}

/// Where a custom init is looked for.
const CUSTOM_PLACES: [&str; 2] = ["/init", "/sbin/init"];

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Edited {
    pub(super) installed: Option<Installed>,
    pub(super) changes: Vec<ManifestChange>,
    pub(super) removed: Vec<ManifestRemoved>,
    pub(super) packages: Vec<ManifestPackage>,
    pub(super) findings: Vec<ManifestFinding>,
    /// What the user should look at now.
    pub(super) warnings: Vec<String>,
}

impl RootfsEdits {
    /// Whether the files stay as they are.
    pub(super) fn is_empty(&self) -> bool {
        self.optimise.is_none() && self.harden.is_none() && self.init == RootfsInit::Image
    }
}

/// Does it all, in the order in which each part sees what it has to.
pub(super) fn edit(
    merged: &mut Merged,
    edits: &RootfsEdits,
    (image, epoch): (&Image, Timestamp),
    cancel: &CancelToken,
) -> Result<Edited, RootfsError> {
    let mut edited = Edited::default();
    let mut run = RunConfig::new(image.config(), &edits.overrides);
    run.root = edits.root;
    run.time = FileTime::from_seconds(epoch.seconds());
    let command = command(&run, image);
    let before = trace(merged, edits, &command)?;
    let report = remove(merged, edits, cancel)?;
    if let Some(options) = &edits.harden {
        let found = harden(&mut merged.tree, &merged.files, options, cancel)?;
        edited.findings.extend(found.iter().map(finding));
        edited.warnings.extend(found.iter().filter_map(warning));
    }
    if report.is_some() || edits.harden.is_some() {
        let report = report.unwrap_or_else(nothing_removed);
        let after = reach::trace_anyway(&merged.tree, &merged.files, &command);
        let notes = reach::compare(&before, &after, &report).map_err(RootfsError::Losses)?;
        edited.warnings.extend(notes);
        edited.note(&report);
    }
    if let Some(strategy) = strategy(merged, &edits.init)? {
        let installed = install(&mut merged.tree, &merged.files, &run, &strategy)?;
        edited.warnings.extend(installed.warnings.iter().cloned());
        edited.installed = Some(installed);
    }
    Ok(edited)
}

/// What the image's program needs. With an init of kiln's it has to be there.
fn trace(
    merged: &Merged,
    edits: &RootfsEdits,
    command: &reach::Command,
) -> Result<Reach, RootfsError> {
    let (tree, files) = (&merged.tree, &merged.files);
    Ok(match edits.init {
        RootfsInit::Direct | RootfsInit::Systemd => reach::trace(tree, files, command)?,
        RootfsInit::Image | RootfsInit::Custom { .. } => reach::trace_anyway(tree, files, command),
    })
}

fn command(run: &RunConfig, image: &Image) -> reach::Command {
    let environment = run.env.iter().filter_map(|entry| entry.split_once('='));
    let bytes = |text: &str| text.as_bytes().to_vec();
    reach::Command {
        arguments: run.args.iter().map(|word| bytes(word)).collect(),
        environment: environment
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
        directory: bytes(run.working_dir.trim_matches('/')),
        platform: image.config().platform.clone(),
    }
}

fn remove(
    merged: &mut Merged,
    edits: &RootfsEdits,
    cancel: &CancelToken,
) -> Result<Option<Report>, RootfsError> {
    let Some(options) = &edits.optimise else {
        return Ok(None);
    };
    let report = optimise(&mut merged.tree, &merged.files, options, cancel)?;
    Ok(Some(report))
}

fn nothing_removed() -> Report {
    Report {
        before: Totals::default(),
        after: Totals::default(),
        rules: std::collections::BTreeMap::new(),
        gone: Vec::new(),
        changed: Vec::new(),
        packages: Vec::new(),
        notes: Vec::new(),
    }
}

fn strategy(merged: &Merged, init: &RootfsInit) -> Result<Option<Strategy>, RootfsError> {
    Ok(Some(match init {
        RootfsInit::Image => return Ok(None),
        RootfsInit::Direct => Strategy::Direct,
        RootfsInit::Systemd => Strategy::Systemd,
        RootfsInit::Custom { path, script } => {
            let there = |path: &&&str| {
                let path = path.trim_start_matches('/').as_bytes();
                kiln_rootfs::paths::lookup(&merged.tree, path).is_some()
            };
            let found = path.clone().or_else(|| match script {
                Some(_) => Some(CUSTOM_PLACES[0].to_owned()),
                None => CUSTOM_PLACES.iter().find(there).map(ToString::to_string),
            });
            Strategy::Custom {
                path: found.ok_or(RootfsError::NoCustomInit)?,
                script: script.clone(),
            }
        }
    }))
}

impl Edited {
    fn note(&mut self, report: &Report) {
        for (rule, totals) in &report.rules {
            self.changes.push(ManifestChange {
                rule: rule.name().to_owned(),
                reason: rule.description().to_owned(),
                files: totals.files,
                bytes: totals.bytes,
            });
        }
        self.removed = report
            .gone
            .iter()
            .map(|gone| ManifestRemoved {
                path: shown(&gone.path),
                rule: gone.rule.name().to_owned(),
                names: gone.names,
                bytes: gone.bytes,
            })
            .collect();
        self.packages = report
            .packages
            .iter()
            .map(|package| ManifestPackage {
                name: package.name.clone(),
                version: package.version.clone(),
            })
            .collect();
        let changed = report.changed.iter().map(|changed| ManifestFinding {
            rule: changed.rule.name().to_owned(),
            path: shown(&changed.path),
            message: format!("{} bytes before, {} after", changed.before, changed.after),
        });
        let notes = report.notes.iter().map(|note| ManifestFinding {
            rule: note.rule.name().to_owned(),
            path: String::new(),
            message: note.text.clone(),
        });
        self.findings.extend(changed.chain(notes));
    }
}

fn finding(found: &Finding) -> ManifestFinding {
    ManifestFinding {
        rule: found.rule.name().to_owned(),
        path: shown(&found.path),
        message: found.outcome.to_string(),
    }
}

/// What nobody has put right.
fn warning(found: &Finding) -> Option<String> {
    match &found.outcome {
        Outcome::Reported { .. } | Outcome::Preserved => {
            Some(format!("`{}`: {}", shown(&found.path), found.outcome))
        }
        _ => None,
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// What a kernel has to have beside the disk's file system.
pub(super) fn kernel_features(edits: &RootfsEdits) -> Vec<&'static str> {
    let mut features = Vec::new();
    if matches!(edits.init, RootfsInit::Direct | RootfsInit::Systemd) {
        features.extend([
            "BINFMT_ELF",
            "DEVTMPFS",
            "PROC_FS",
            "SYSFS",
            "TMPFS",
            "UNIX",
        ]);
    }
    if edits.init == RootfsInit::Systemd {
        features.push("CGROUPS");
    }
    if edits.init != RootfsInit::Image && edits.root == config::Root::Overlay {
        features.push("OVERLAY_FS");
    }
    features
}
