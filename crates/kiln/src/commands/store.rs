//! `kiln du` and `kiln prune`: the disk space of the local store.

use std::process::ExitCode;

use kiln_base::Timestamp;
use kiln_oci::Reference;
use kiln_store::{ImageUsage, KindUsage, PruneCache, PruneImages, PrunePolicy, PruneReport, Usage};
use serde_json::{Value, json};

use super::Invocation;
use crate::args::{ByteSize, DuArgs, PruneArgs, ReportFormat};
use crate::error::CliError;
use crate::table::Table;
use crate::terminal::print;

pub(super) fn du(args: &DuArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let usage = invocation.open_store()?.0.usage()?;
    let text = match args.format {
        ReportFormat::Json => format!("{:#}\n", usage_json(&usage)),
        ReportFormat::Table if args.verbose => {
            format!("{}\n{}", usage_table(&usage), image_table(&usage.images))
        }
        ReportFormat::Table => usage_table(&usage),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What the store holds, in the words of the table and of the JSON document.
fn kinds(usage: &Usage) -> [(&'static str, KindUsage); 10] {
    [
        ("image blobs", usage.image_blobs),
        ("cached layer blobs", usage.cache_blobs),
        ("unpacked layers and steps", usage.snapshots),
        ("cache mounts", usage.cache_mounts),
        ("records of builds", usage.build_logs),
        ("logs", usage.logs),
        ("digests of context files", usage.stat_caches),
        ("partial downloads", usage.partials),
        ("in progress", usage.in_progress),
        ("other blobs", usage.other_blobs),
    ]
}

fn usage_table(usage: &Usage) -> String {
    let mut table = Table::new(["TYPE", "COUNT", "SIZE", "RECLAIMABLE"]);
    for (name, kind) in kinds(usage) {
        let (size, reclaimable) = (ByteSize(kind.space.disk), ByteSize(kind.reclaimable.disk));
        let count = kind.count.to_string();
        table.row([
            name.to_owned(),
            count,
            size.to_string(),
            reclaimable.to_string(),
        ]);
    }
    let overhead = ByteSize(usage.overhead.disk).to_string();
    table.row([
        "index".to_owned(),
        usage.cache_records.to_string(),
        overhead,
        String::new(),
    ]);
    let reclaimable = kinds(usage)
        .iter()
        .map(|(_, kind)| kind.reclaimable.disk)
        .sum();
    let total = ByteSize(usage.total().disk).to_string();
    table.row([
        "total".to_owned(),
        String::new(),
        total,
        ByteSize(reclaimable).to_string(),
    ]);
    table.to_string()
}

fn image_table(images: &[ImageUsage]) -> String {
    let mut table = Table::new(["IMAGE", "DIGEST", "SIZE", "UNIQUE"]);
    for image in images {
        let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        let names = if names.is_empty() {
            "<none>".to_owned()
        } else {
            names.join(",")
        };
        let digest = image.digest.hex().chars().take(12).collect();
        let (size, unique) = (ByteSize(image.space.disk), ByteSize(image.unique.disk));
        table.row([names, digest, size.to_string(), unique.to_string()]);
    }
    table.to_string()
}

fn usage_json(usage: &Usage) -> Value {
    let kinds = kinds(usage).map(|(name, kind)| {
        json!({
            "type": name,
            "count": kind.count,
            "bytes": kind.space.disk,
            "reclaimable": kind.reclaimable.disk,
        })
    });
    let images = usage.images.iter().map(|image| {
        json!({
            "digest": image.digest.to_string(),
            "names": image.names.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "bytes": image.space.disk,
            "unique": image.unique.disk,
        })
    });
    json!({
        "kinds": kinds,
        "images": images.collect::<Vec<_>>(),
        "steps": usage.cache_records,
        "index": usage.overhead.disk,
        "total": usage.total().disk,
    })
}

pub(super) fn prune(args: &PruneArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let policy = PrunePolicy {
        images: if args.all {
            PruneImages::All
        } else {
            PruneImages::Unnamed
        },
        cache: PruneCache::All,
        older_than: args.until.map(|span| {
            let seconds = i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_seconds(super::now().seconds().saturating_sub(seconds))
        }),
        keep_bytes: args.keep.map(|size| size.0),
    };
    let report = invocation.open_store()?.0.prune(&policy)?;
    print(&report_text(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn report_text(report: &PruneReport) -> String {
    let images = report.images.iter().map(|image| match &image.name {
        Some(name) => format!("Deleted: {}\n", name.familiar()),
        None => format!("Deleted: {}\n", image.target.digest),
    });
    let removed = format!(
        "Removed {} steps, {} unpacked layers, {} blobs, {} partial downloads\n",
        report.cache_records, report.snapshots, report.blobs, report.partials
    );
    let freed = format!("Total reclaimed space: {}\n", ByteSize(report.freed.disk));
    images.chain([removed, freed]).collect()
}
