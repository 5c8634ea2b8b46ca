//! (m), (n) and (o) An image as a disk, against the way of builderd, against the programs that come
//! with the file systems, and straight from a registry.
//!
//! A disk is checked the first time that a program makes it, and all that kiln makes for a workload
//! are the same bytes, whoever made them and when, or it has failed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::pushed::megabytes;
use crate::bench::{Bench, Folder};
use crate::measure::{self, Invocation};
use crate::model::{Program, Sample, Table, Target, Unit};
use crate::programs::{DiskFormat, DiskJob};

const MEMORY: u64 = 128_000_000;

/// How large the image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// About 180 MB in one layer.
    Small,
    /// About 1.5 GB in six layers.
    Large,
}

/// Where each program's image is when the time begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// In its own store, where it was unpacked before.
    Store,
    /// In a registry, and nothing is in any store.
    Registry,
}

/// What is measured.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    letter: char,
    title: String,
    notes: &'static str,
    size: Size,
    from: From,
    format: DiskFormat,
    rival: Program,
    /// How many times faster than the rival kiln means to be.
    times: f64,
    rounds: usize,
}

/// An ext4 of an image in the local store, with an init, against builderd's way.
pub(crate) fn image(bench: &Bench, size: Size) -> Result<Table, String> {
    Case {
        name: size.name("rootfs"),
        letter: 'm',
        title: format!(
            "An ext4 with an init, of an image in the store: {}",
            size.text()
        ),
        notes: "Each program's store has the image, unpacked; the page cache has what it has room \
                for. Both put an init and the image's configuration on the disk, and describe it \
                in a file beside it.",
        size,
        from: From::Store,
        format: DiskFormat::Ext4,
        rival: Program::Builderd,
        times: 5.0,
        rounds: 3,
    }
    .measure(bench)
}

/// A disk of an image in the local store, against the program that comes with the file system.
pub(crate) fn files(bench: &Bench, format: DiskFormat, size: Size) -> Result<Table, String> {
    let (letter, name, what, times) = match format {
        DiskFormat::Ext4 => ('m', "rootfs-ext4", "An ext4", 1.5),
        DiskFormat::Erofs => ('n', "rootfs-erofs", "An erofs", 1.0),
        DiskFormat::ErofsLz4 => ('n', "rootfs-erofs-lz4", "An erofs with LZ4", 1.0),
        DiskFormat::Squashfs => ('n', "rootfs-squashfs", "A squashfs with zstd", 1.0),
    };
    Case {
        name: size.name(name),
        letter,
        title: format!("{what} of the files alone: {}", size.text()),
        notes: "kiln starts from the image in its store (`--init none --no-manifest`) and merges \
                its layers; mkfs starts from a folder in which they are merged already. The page \
                cache has what it has room for.",
        size,
        from: From::Store,
        format,
        rival: Program::Mkfs,
        times,
        rounds: 3,
    }
    .measure(bench)
}

/// An ext4 of an image in a registry, with an init, against builderd's way.
pub(crate) fn pulled(bench: &Bench, size: Size) -> Result<Table, String> {
    Case {
        name: size.name("rootfs-pull"),
        letter: 'o',
        title: format!("An ext4 with an init, from a registry: {}", size.text()),
        notes: "All stores are empty before. The registry is on loopback, and layers are gzip of \
                one member. builderd's way begins with `docker pull`.",
        size,
        from: From::Registry,
        format: DiskFormat::Ext4,
        rival: Program::Builderd,
        times: 3.0,
        rounds: if size == Size::Large { 1 } else { 3 },
    }
    .measure(bench)
}

impl Size {
    fn name(self, name: &str) -> String {
        match self {
            Self::Small => format!("{name}-180M"),
            Self::Large => format!("{name}-1500M"),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Small => "a Debian system of 180 MB",
            Self::Large => "six layers of 1.5 GB",
        }
    }

    fn image(self, bench: &Bench) -> Result<String, String> {
        match self {
            Self::Small => bench.bases.small(&bench.scratch),
            Self::Large => bench.bases.large(&bench.scratch, bench.quick),
        }
    }
}

impl Case {
    fn measure(self, bench: &Bench) -> Result<Table, String> {
        let mut there = vec![Program::Kiln, Program::KilnRootless, self.rival];
        there.retain(|program| bench.programs.is_there(*program));
        if there.is_empty() {
            return Err("this run leaves out all programs that make it".to_owned());
        }
        let image = self.size.image(bench)?;
        let check = self.format.check();
        let check = check.map_err(|why| bench.leave_out(format!("{}: fsck", self.name), why));
        let mut disks = Disks {
            bench,
            case: &self,
            image: &image,
            tree: None,
            check: check.ok(),
            seen: RefCell::default(),
            digest: RefCell::default(),
            sizes: RefCell::default(),
        };
        if there.contains(&Program::Mkfs) {
            disks.tree = Some(bench.bases.tree(&image, &bench.scratch)?);
            // A program of another format may be there.
            if let Err(why) = disks.can_make(Program::Mkfs) {
                bench.leave_out(format!("{}: {}", self.name, Program::Mkfs.name()), why);
                there.retain(|program| *program != Program::Mkfs);
            }
        }
        let rounds = bench.rounds(self.rounds);
        let rows = bench.in_turn_of(&there, rounds, |program| disks.turn(program));
        let notes = disks.notes();
        Ok(Table {
            name: self.name,
            letter: self.letter,
            title: self.title,
            notes,
            unit: Unit::Whole,
            measured: None,
            rows,
            targets: vec![
                Target::Times(self.rival, self.times),
                Target::Memory(Program::Kiln, MEMORY),
                Target::Memory(Program::KilnRootless, MEMORY),
            ],
        })
    }
}

/// The disks of a workload.
struct Disks<'a> {
    bench: &'a Bench,
    case: &'a Case,
    image: &'a str,
    /// The image's files, if anyone starts from them.
    tree: Option<PathBuf>,
    /// What finds a disk sound.
    check: Option<Invocation>,
    /// Who has had a turn.
    seen: RefCell<BTreeSet<Program>>,
    /// Of the first disk of kiln's.
    digest: RefCell<Option<String>>,
    /// How much of the disk each program's took.
    sizes: RefCell<BTreeMap<Program, u64>>,
}

impl Disks<'_> {
    /// One turn of a program.
    fn turn(&self, program: Program) -> Result<Sample, String> {
        let bench = self.bench;
        let is_first = self.seen.borrow_mut().insert(program);
        match self.case.from {
            From::Store if is_first => self.prepare(program)?,
            From::Store => {}
            From::Registry => bench.programs.reset(program, &bench.scratch)?,
        }
        let sample = self.make(program, is_first, |command| bench.measure(command))?;
        if is_first && self.case.from == From::Registry && is_kiln(program) {
            // Of what is in the store now.
            self.make(program, false, |command| bench.run(command))?;
        }
        Ok(sample)
    }

    /// Brings the image into a program's store, and unpacks it there.
    fn prepare(&self, program: Program) -> Result<(), String> {
        let bench = self.bench;
        match program {
            Program::Kiln | Program::KilnRootless => {
                self.make(program, false, |command| bench.run(command))
            }
            Program::Builderd => bench.run(&bench.programs.pull(program, self.image)?),
            _ => Ok(()),
        }
    }

    /// Makes a disk, and looks at it.
    fn make<T>(
        &self,
        program: Program,
        is_checked: bool,
        run: impl FnOnce(&Invocation) -> Result<T, String>,
    ) -> Result<T, String> {
        let folder = self.folder()?;
        let job = self.job(folder.path());
        let mut command = self.bench.programs.disk(program, &job)?;
        if program == Program::Builderd && self.case.from == From::Registry {
            let pull = self.bench.programs.pull(program, self.image)?;
            command = pull.then(&command);
        }
        let found = run(&command)?;
        let disk = job.path();
        let data = fs::metadata(&disk).map_err(|error| format!("`{}`: {error}", disk.display()))?;
        // The kernel counts blocks of 512 bytes.
        let bytes = data.blocks() * 512;
        self.sizes.borrow_mut().insert(program, bytes);
        if is_checked && let Some(check) = &self.check {
            let checked = self.bench.run(&check.clone().arg(&disk));
            checked.map_err(|why| format!("its disk is not sound: {why}"))?;
        }
        if is_kiln(program) {
            self.compare(&disk)?;
        }
        Ok(found)
    }

    /// Fails unless the disk is the same as all others of kiln's.
    fn compare(&self, disk: &Path) -> Result<(), String> {
        let sum = Invocation::new("sha256sum").arg(disk);
        let sum = measure::run(&sum, &self.bench.scratch)?;
        let digest = sum.split_whitespace().next().unwrap_or_default();
        let mut first = self.digest.borrow_mut();
        match first.as_deref() {
            None => *first = Some(digest.to_owned()),
            Some(first) if first == digest => {}
            Some(first) => {
                return Err(format!(
                    "a disk of the same image has other bytes: {digest} after {first}"
                ));
            }
        }
        Ok(())
    }

    /// Whether a program can make the disk at all.
    fn can_make(&self, program: Program) -> Result<(), String> {
        let folder = self.folder()?;
        let job = self.job(folder.path());
        self.bench.programs.disk(program, &job).map(drop)
    }

    /// An empty folder that every user can write to; it goes away with the disk.
    fn folder(&self) -> Result<Folder, String> {
        let folder = self.bench.folder(&self.case.name)?;
        let path = folder.path();
        let everyone = fs::Permissions::from_mode(0o777);
        fs::set_permissions(path, everyone)
            .map_err(|error| format!("`{}`: {error}", path.display()))?;
        Ok(folder)
    }

    fn job<'a>(&'a self, folder: &'a Path) -> DiskJob<'a> {
        DiskJob {
            format: self.case.format,
            image: self.image,
            tree: self.tree.as_deref(),
            is_files_only: self.case.rival == Program::Mkfs,
            folder,
        }
    }

    /// What a reader has to know.
    fn notes(&self) -> String {
        let sizes = self.sizes.borrow();
        let mut notes = self.case.notes.to_owned();
        if !sizes.is_empty() {
            notes += " On the disk's file, without holes: ";
            notes += &megabytes(&sizes);
            notes += ".";
        }
        notes +=
            " All of kiln's disks, as root and rootless, have to be the same bytes, or it failed.";
        notes
    }
}

const fn is_kiln(program: Program) -> bool {
    matches!(program, Program::Kiln | Program::KilnRootless)
}
