//! Writes a directory as a layer, unpacks it again, and prints how long each took:
//!
//! ```text
//! throughput DIRECTORY [THREADS] [gzip|single|zstd|none]
//! ```
#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_layer::{
    BlobFormat, DiffOptions, ExpectedBlob, GzipLevel, LayerCompression, LayerOptions,
    OverlayXattrs, UnpackOptions, ZstdLevel, diff, unpack, write_layer,
};
use kiln_sys::files;
use kiln_sys::fs::Dir;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let source = Dir::open(args.next().ok_or("usage: throughput DIRECTORY")?)?;
    let threads = args.next().map_or(Ok(2), |threads| threads.parse())?;
    let compression = match args.next().as_deref() {
        None | Some("gzip") => LayerCompression::default(),
        Some("single") => LayerCompression::GzipSingle(GzipLevel::DEFAULT_SINGLE),
        Some("zstd") => LayerCompression::Zstd(ZstdLevel::DEFAULT),
        Some(_) => LayerCompression::None,
    };
    let cancel = CancelToken::new();
    let scratch = tempfile::Builder::new().prefix("kiln-layer-").tempdir()?;

    let start = Instant::now();
    let xattrs = OverlayXattrs::User;
    let changes = diff(
        &source,
        &[],
        &DiffOptions {
            xattrs,
            clamp_mtime: None,
        },
        &cancel,
    )?;
    println!(
        "diff: {} entries in {:?}",
        changes.iter().count(),
        start.elapsed()
    );

    let start = Instant::now();
    let blob = scratch.path().join("blob");
    let options = LayerOptions {
        compression,
        clamp_mtime: None,
        threads: NonZeroUsize::new(threads).ok_or("no threads")?,
    };
    let summary = write_layer(&changes, files::create(&blob)?, &options, &cancel)?;
    report("write", summary.uncompressed_size, start.elapsed());
    println!(
        "ratio: {:.3}",
        summary.size as f64 / summary.uncompressed_size as f64
    );
    println!("{}", peak_memory()?);

    let start = Instant::now();
    let into = scratch.path().join("tree");
    files::create_dir(&into, 0o755)?;
    let options = UnpackOptions {
        format: BlobFormat::Is(compression.media()),
        xattrs,
        expected: Some(ExpectedBlob {
            digest: summary.digest,
            size: summary.size,
        }),
        diff_id: Some(summary.diff_id),
    };
    unpack(files::open(&blob)?, &Dir::open(&into)?, &options, &cancel)?;
    report("unpack", summary.uncompressed_size, start.elapsed());
    println!("{}", peak_memory()?);
    Ok(())
}

fn report(what: &str, bytes: u64, took: Duration) {
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{what}: {megabytes:.0} MB in {took:.2?}, {:.0} MB/s",
        megabytes / took.as_secs_f64()
    );
}

fn peak_memory() -> Result<String, Box<dyn Error>> {
    let status = files::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    Ok(peak.unwrap_or_default().to_owned())
}
