//! What is measured: each workload makes its inputs once, and lets each program build them in turn.

mod at_once;
mod growth;
mod large;
mod one_line;
mod pull;
mod pushed;
mod real;
mod restore;
mod rootfs;
mod small;
mod steps;
mod unchanged;
mod wide;

use crate::bench::Bench;
use crate::model::{Growth, Table};
use crate::programs::DiskFormat;
use rootfs::Size;

/// One table of the report.
pub(crate) struct Workload {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Makes the inputs and measures.
    pub(crate) run: fn(&Bench) -> Result<Table, String>,
}

/// In the order of the report.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "steps",
        run: steps::steps,
    },
    Workload {
        name: "nothing-changed",
        run: unchanged::steps,
    },
    Workload {
        name: "nothing-changed-20k",
        run: unchanged::files_20k,
    },
    Workload {
        name: "nothing-changed-100k",
        run: unchanged::files_100k,
    },
    Workload {
        name: "small-files",
        run: small::small,
    },
    Workload {
        name: "large-layer",
        run: large::large,
    },
    Workload {
        name: "pull-180M",
        run: pull::small,
    },
    Workload {
        name: "pull-1500M",
        run: pull::large,
    },
    Workload {
        name: "real",
        run: real::real,
    },
    Workload {
        name: "one-line",
        run: one_line::one_line,
    },
    Workload {
        name: "at-once-10",
        run: at_once::ten,
    },
    Workload {
        name: "at-once-50",
        run: at_once::fifty,
    },
    Workload {
        name: "wide",
        run: wide::wide,
    },
    Workload {
        name: "restore",
        run: restore::restore,
    },
    Workload {
        name: "rootfs-180M",
        run: |bench| rootfs::image(bench, Size::Small),
    },
    Workload {
        name: "rootfs-1500M",
        run: |bench| rootfs::image(bench, Size::Large),
    },
    Workload {
        name: "rootfs-ext4-180M",
        run: |bench| rootfs::files(bench, DiskFormat::Ext4, Size::Small),
    },
    Workload {
        name: "rootfs-ext4-1500M",
        run: |bench| rootfs::files(bench, DiskFormat::Ext4, Size::Large),
    },
    Workload {
        name: "rootfs-erofs-180M",
        run: |bench| rootfs::files(bench, DiskFormat::Erofs, Size::Small),
    },
    Workload {
        name: "rootfs-erofs-1500M",
        run: |bench| rootfs::files(bench, DiskFormat::Erofs, Size::Large),
    },
    Workload {
        name: "rootfs-erofs-lz4-180M",
        run: |bench| rootfs::files(bench, DiskFormat::ErofsLz4, Size::Small),
    },
    Workload {
        name: "rootfs-erofs-lz4-1500M",
        run: |bench| rootfs::files(bench, DiskFormat::ErofsLz4, Size::Large),
    },
    Workload {
        name: "rootfs-squashfs-180M",
        run: |bench| rootfs::files(bench, DiskFormat::Squashfs, Size::Small),
    },
    Workload {
        name: "rootfs-squashfs-1500M",
        run: |bench| rootfs::files(bench, DiskFormat::Squashfs, Size::Large),
    },
    Workload {
        name: "rootfs-pull-180M",
        run: |bench| rootfs::pulled(bench, Size::Small),
    },
    Workload {
        name: "rootfs-pull-1500M",
        run: |bench| rootfs::pulled(bench, Size::Large),
    },
];

/// One group of plots.
pub(crate) struct Growing {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Makes the inputs and measures.
    pub(crate) run: fn(&Bench) -> Result<Growth, String>,
}

/// In the order of the report, after the tables.
pub(crate) const GROWING: &[Growing] = &[
    Growing {
        name: "growth-steps",
        run: growth::steps,
    },
    Growing {
        name: "growth-files",
        run: growth::files,
    },
    Growing {
        name: "growth-layers",
        run: growth::layers,
    },
    Growing {
        name: "growth-images",
        run: growth::images,
    },
];

/// The names of all workloads.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let tables = ALL.iter().map(|workload| workload.name);
    tables.chain(GROWING.iter().map(|growing| growing.name))
}
