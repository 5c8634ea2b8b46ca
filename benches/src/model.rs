//! What a run of the benchmarks found, as values: the harness fills it in, and the Markdown, JSON
//! and SVG reports read it.
//!
//! Deliberately absent: medians and ratios that are computed twice. A [`Sample`] is one run as it
//! was measured; whoever shows it asks [`Row`] for the figure.

use std::time::Duration;

/// One run of `cargo xtask bench`.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// Where and when the run that is the last began; what is older says so itself.
    pub(crate) machine: Machine,
    /// The programs that were looked for, kiln first.
    pub(crate) programs: Vec<ProgramFacts>,
    /// One table for each workload, in the order of their letters.
    pub(crate) tables: Vec<Table>,
    /// How cost grows with size.
    pub(crate) growths: Vec<Growth>,
    /// What was left out, each with its reason.
    pub(crate) left_out: Vec<LeftOut>,
}

/// The machine, as its reader would compare it with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The day, `YYYY-MM-DD`.
    pub(crate) date: String,
    /// The processor's model name.
    pub(crate) processor: String,
    /// Logical processors.
    pub(crate) cores: usize,
    /// Memory in bytes.
    pub(crate) memory: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The distribution's name, from `/etc/os-release`.
    pub(crate) system: String,
    /// The file system type that the programs' states are on.
    pub(crate) file_system: String,
}

/// A program that was looked for.
#[derive(Debug, Clone)]
pub(crate) struct ProgramFacts {
    /// Which.
    pub(crate) program: Program,
    /// Its version; or why it is not compared.
    pub(crate) version: Result<String, String>,
    /// How it was started: daemon, flags.
    pub(crate) settings: String,
}

/// A program that builds or makes disks, with the rights it is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Program {
    /// kiln with the rights it was started with.
    Kiln,
    /// kiln as an ordinary user.
    KilnRootless,
    /// BuildKit by `buildctl`, its daemon warm.
    BuildKit,
    /// Docker with the BuildKit inside, its daemon warm.
    Docker,
    /// Buildah with layers.
    Buildah,
    /// Kaniko's executor.
    Kaniko,
    /// An image to a disk as builderd did it: Docker, tar, `mkfs.ext4`, `e2fsck`.
    Builderd,
    /// The program that comes with a file system, on files that are unpacked already.
    Mkfs,
}

impl Program {
    /// Its name, as tables and charts have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kiln => "kiln",
            Self::KilnRootless => "kiln, rootless",
            Self::BuildKit => "BuildKit",
            Self::Docker => "Docker",
            Self::Buildah => "Buildah",
            Self::Kaniko => "Kaniko",
            Self::Builderd => "builderd's way",
            Self::Mkfs => "mkfs",
        }
    }
}

/// One workload, measured with every program that can do it.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// What it is called on the command line: `steps`, `nothing-changed`.
    pub(crate) name: String,
    /// The letter of its kind: workloads of one letter are shown together.
    pub(crate) letter: char,
    /// What is built, in one line.
    pub(crate) title: String,
    /// What a reader has to know to judge it; Markdown, may be empty.
    pub(crate) notes: String,
    /// What the figures are of.
    pub(crate) unit: Unit,
    /// Where and when, if that is not the report's machine and day.
    pub(crate) measured: Option<Machine>,
    /// One row for each program, kiln first.
    pub(crate) rows: Vec<Row>,
    /// What kiln means to reach; shown beside what it reached.
    pub(crate) targets: Vec<Target>,
}

/// What a table's figures are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The wall time of the whole command.
    Whole,
    /// The wall time of one of so many equal parts (steps, builds).
    ///
    /// Wall and processor time of a [`Sample`] are then of all parts together: the run with them,
    /// after a run without them was taken off; [`Row::figure`] divides. Memory and bytes are of
    /// the run with them.
    Part(u32),
}

/// One program's runs of a workload.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Which.
    pub(crate) program: Program,
    /// Each round's cost, in order; empty where the program failed.
    pub(crate) samples: Vec<Sample>,
    /// Why there are no samples.
    pub(crate) failure: Option<String>,
    /// Where and when, if that is not what holds for the table.
    pub(crate) measured: Option<Machine>,
}

/// What one run cost. Of a daemon, what it did from the command's start to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// From start to end.
    pub(crate) wall: Duration,
    /// Processor time of all processes, the daemon's included.
    pub(crate) cpu: Duration,
    /// Peak resident memory of the largest process, the daemon included, in bytes.
    pub(crate) peak: u64,
    /// Bytes fetched from block devices.
    pub(crate) read: u64,
    /// Bytes sent to block devices.
    pub(crate) written: u64,
}

/// What kiln means to reach on a workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// So many times faster than this program. Of [`Program::BuildKit`]: than the faster of
    /// BuildKit and Docker, which are two ways to the same builder.
    Times(Program, f64),
    /// At most so long, of the figure that [`Unit`] names, by this program (kiln as root or not).
    AtMost(Program, Duration),
    /// At most so much memory, in bytes, by this program in any round.
    Memory(Program, u64),
}

/// How kiln's cost grows with one size.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    /// What it is called on the command line.
    pub(crate) name: String,
    /// What grows: `RUN steps`, `files`.
    pub(crate) axis: String,
    /// What is measured, in one line.
    pub(crate) title: String,
    /// One curve for each way of measuring (cold, nothing changed).
    pub(crate) curves: Vec<Curve>,
    /// Where and when, if that is not the report's machine and day.
    pub(crate) measured: Option<Machine>,
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// What it is of.
    pub(crate) name: String,
    /// Sizes, ascending, each with the median cost at that size.
    pub(crate) points: Vec<(u64, Sample)>,
}

/// Something that was not measured.
#[derive(Debug, Clone)]
pub(crate) struct LeftOut {
    /// What: a program, a workload, a program on a workload.
    pub(crate) what: String,
    /// Why.
    pub(crate) why: String,
}
