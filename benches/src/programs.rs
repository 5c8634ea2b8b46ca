//! kiln and its peers: from a job that every builder can do, or a disk that several programs can
//! make, to the command of each.
//!
//! Each peer has the settings that its own documentation calls best, a warm daemon where it has one,
//! and an address on loopback. Deliberately absent: what is built, see [`crate::workloads`].

mod buildah;
mod builderd;
mod buildkit;
mod daemon;
mod disk;
mod docker;
mod kaniko;
mod kiln;
mod mkfs;
mod registry;

use std::path::{Path, PathBuf};

use crate::measure::Invocation;
use crate::model::{Program, ProgramFacts};

pub(crate) use disk::{DiskFormat, DiskJob};
pub(crate) use kiln::{Kiln, copy_program};
pub(crate) use registry::Registry;

/// Every program, in the order of the report.
pub(crate) const ALL: [Program; 8] = [
    Program::Kiln,
    Program::KilnRootless,
    Program::BuildKit,
    Program::Docker,
    Program::Buildah,
    Program::Kaniko,
    Program::Builderd,
    Program::Mkfs,
];

/// Why a program that was not asked for is not compared.
const UNWANTED: &str = "this run leaves it out";

/// One build that every builder can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    /// The directory with the files and the Dockerfile.
    pub(crate) context: &'a Path,
    /// The image's name; begins with the registry's address where the image is pushed.
    pub(crate) name: &'a str,
    /// No step may come from a cache.
    pub(crate) no_cache: bool,
    /// The image goes to the registry that its name begins with.
    pub(crate) push: bool,
    /// A name in a registry where the cache of all steps is written.
    pub(crate) cache_to: Option<&'a str>,
    /// A name in a registry where steps are taken from.
    pub(crate) cache_from: Option<&'a str>,
}

impl<'a> Job<'a> {
    /// A build that keeps its image, and may use its own cache.
    pub(crate) const fn new(context: &'a Path) -> Self {
        Self {
            context,
            name: "bench",
            no_cache: false,
            push: false,
            cache_to: None,
            cache_from: None,
        }
    }

    /// The same without anything from a cache.
    pub(crate) const fn no_cache(self) -> Self {
        Self {
            no_cache: true,
            ..self
        }
    }

    /// The same, and the image is pushed.
    pub(crate) const fn push(self, name: &'a str) -> Self {
        Self {
            name,
            push: true,
            ..self
        }
    }
}

/// The programs of a run; daemons are stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Programs {
    kiln: Kiln,
    rootless: Result<Kiln, String>,
    buildkit: Result<buildkit::BuildKit, String>,
    docker: Result<docker::Docker, String>,
    buildah: Result<buildah::Buildah, String>,
    kaniko: Result<kaniko::Kaniko, String>,
    builderd: Result<builderd::Builderd, String>,
    mkfs: Result<mkfs::Mkfs, String>,
    wanted: Vec<Program>,
}

impl Programs {
    /// Looks for the programs, and starts the daemons of those that are wanted.
    pub(crate) fn start(scratch: &Path, wanted: &[Program]) -> Result<Self, String> {
        let kiln = Kiln::find(scratch, "kiln-home")?;
        let not_wanted = |program| -> Result<(), String> {
            let wanted = wanted.contains(&program);
            wanted.then_some(()).ok_or_else(|| UNWANTED.to_owned())
        };
        // builderd's way needs it, too.
        let docker = not_wanted(Program::Docker)
            .or_else(|_| not_wanted(Program::Builderd))
            .and_then(|()| docker::Docker::start(scratch));
        Ok(Self {
            rootless: not_wanted(Program::KilnRootless).and_then(|()| kiln.rootless(scratch)),
            buildkit: not_wanted(Program::BuildKit)
                .and_then(|()| buildkit::BuildKit::start(scratch)),
            buildah: not_wanted(Program::Buildah).and_then(|()| buildah::Buildah::find(scratch)),
            kaniko: not_wanted(Program::Kaniko).and_then(|()| kaniko::Kaniko::find(scratch)),
            builderd: not_wanted(Program::Builderd)
                .and_then(|()| docker.as_ref().map_err(Clone::clone))
                .and_then(builderd::Builderd::find),
            mkfs: not_wanted(Program::Mkfs).and_then(|()| mkfs::Mkfs::find()),
            docker,
            kiln,
            wanted: wanted.to_vec(),
        })
    }

    /// The builders that are there and wanted, kiln first.
    pub(crate) fn builders(&self) -> Vec<Program> {
        let builders = ALL.into_iter();
        builders
            .filter(|program| !matches!(program, Program::Builderd | Program::Mkfs))
            .filter(|program| self.is_there(*program))
            .collect()
    }

    /// Whether a program is there and wanted.
    pub(crate) fn is_there(&self, program: Program) -> bool {
        self.wanted.contains(&program) && self.absence(program).is_none()
    }

    /// Why a program is not there.
    fn absence(&self, program: Program) -> Option<&String> {
        match program {
            Program::Kiln => None,
            Program::KilnRootless => self.rootless.as_ref().err(),
            Program::BuildKit => self.buildkit.as_ref().err(),
            Program::Docker => self.docker.as_ref().err(),
            Program::Buildah => self.buildah.as_ref().err(),
            Program::Kaniko => self.kaniko.as_ref().err(),
            Program::Builderd => self.builderd.as_ref().err(),
            Program::Mkfs => self.mkfs.as_ref().err(),
        }
    }

    /// What the report says about each.
    pub(crate) fn facts(&self) -> Vec<ProgramFacts> {
        let facts = |program| {
            let (version, settings) = self.describe(program);
            ProgramFacts {
                program,
                version,
                settings,
            }
        };
        ALL.into_iter().map(facts).collect()
    }

    fn describe(&self, program: Program) -> (Result<String, String>, String) {
        let absent = |why: &String| (Err(why.clone()), String::new());
        if program != Program::Kiln && !self.wanted.contains(&program) {
            return absent(&UNWANTED.to_owned());
        }
        match program {
            Program::Kiln => self.kiln.describe(),
            Program::KilnRootless => self.rootless.as_ref().map_or_else(absent, Kiln::describe),
            Program::BuildKit => {
                let found = self.buildkit.as_ref();
                found.map_or_else(absent, buildkit::BuildKit::describe)
            }
            Program::Docker => {
                let found = self.docker.as_ref();
                found.map_or_else(absent, docker::Docker::describe)
            }
            Program::Buildah => {
                let found = self.buildah.as_ref();
                found.map_or_else(absent, buildah::Buildah::describe)
            }
            Program::Kaniko => {
                let found = self.kaniko.as_ref();
                found.map_or_else(absent, kaniko::Kaniko::describe)
            }
            Program::Builderd => {
                let found = self.builderd.as_ref();
                found.map_or_else(absent, builderd::Builderd::describe)
            }
            Program::Mkfs => {
                let found = self.mkfs.as_ref();
                found.map_or_else(absent, mkfs::Mkfs::describe)
            }
        }
    }

    /// The command for a build.
    pub(crate) fn build(&self, program: Program, job: &Job<'_>) -> Result<Invocation, String> {
        Ok(match program {
            Program::Kiln => self.kiln.build(job),
            Program::KilnRootless => self.rootless.as_ref().map_err(Clone::clone)?.build(job),
            Program::BuildKit => self.buildkit.as_ref().map_err(Clone::clone)?.build(job),
            Program::Docker => self.docker.as_ref().map_err(Clone::clone)?.build(job),
            Program::Buildah => self.buildah.as_ref().map_err(Clone::clone)?.build(job),
            Program::Kaniko => self.kaniko.as_ref().map_err(Clone::clone)?.build(job)?,
            Program::Builderd | Program::Mkfs => return Err("it builds no images".to_owned()),
        })
    }

    /// The command that makes a disk, of a program that makes some.
    pub(crate) fn disk(&self, program: Program, job: &DiskJob<'_>) -> Result<Invocation, String> {
        match program {
            Program::Kiln | Program::KilnRootless => Ok(self.kiln(program)?.disk(job)),
            Program::Builderd => Ok(self.builderd.as_ref().map_err(Clone::clone)?.disk(job)),
            Program::Mkfs => self.mkfs.as_ref().map_err(Clone::clone)?.disk(job),
            _ => Err("it makes no disks".to_owned()),
        }
    }

    /// The command that fetches an image and unpacks it, of a program that has one.
    pub(crate) fn pull(&self, program: Program, image: &str) -> Result<Invocation, String> {
        match program {
            Program::Docker | Program::Builderd => {
                Ok(self.docker.as_ref().map_err(Clone::clone)?.pull(image))
            }
            Program::Buildah => Ok(self.buildah.as_ref().map_err(Clone::clone)?.pull(image)),
            _ => Err("it has no command that pulls and unpacks".to_owned()),
        }
    }

    /// kiln, as root or as the ordinary user.
    pub(crate) fn kiln(&self, program: Program) -> Result<&Kiln, String> {
        match program {
            Program::KilnRootless => self.rootless.as_ref().map_err(Clone::clone),
            _ => Ok(&self.kiln),
        }
    }

    /// Empties a program's store and caches.
    pub(crate) fn reset(&self, program: Program, scratch: &Path) -> Result<(), String> {
        match program {
            Program::Kiln => self.kiln.reset(),
            Program::KilnRootless => self.rootless.as_ref().map_err(Clone::clone)?.reset(),
            Program::BuildKit => self.buildkit.as_ref().map_err(Clone::clone)?.reset(scratch),
            Program::Docker => self.docker.as_ref().map_err(Clone::clone)?.reset(scratch),
            Program::Buildah => self.buildah.as_ref().map_err(Clone::clone)?.reset(scratch),
            Program::Kaniko => self.kaniko.as_ref().map_err(Clone::clone)?.reset(),
            Program::Builderd => self.builderd.as_ref().map_err(Clone::clone)?.reset(scratch),
            // It keeps nothing.
            Program::Mkfs => Ok(()),
        }
    }
}

/// The first file of this name in the folders of `PATH`, and in those where Debian keeps programs
/// for the administrator.
pub(crate) fn which(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("`{program}` is not on PATH"))
}

/// The first line that a command prints.
fn version(command: &Invocation) -> Result<String, String> {
    let output = command.command().output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    // Some say it on the other stream.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next().unwrap_or_default().trim();
    Ok(line.to_owned())
}

/// Daemons, and programs that make mounts, need it.
pub(crate) fn need_root() -> Result<(), String> {
    let root = rustix::process::geteuid().is_root();
    root.then_some(()).ok_or_else(|| "it needs root".to_owned())
}
