//! Layers as other programs see them. A program that is not installed is skipped loudly.

use std::path::Path;

use kiln_layer::{LayerCompression, ZstdLevel};
use kiln_sys::process::command;

use crate::tree::{Scratch, is_root, list};
use crate::{changes, options, write};

const TREE: &str = "a dir 0755 1:2 @100
     a/file file 4755 3:4 @101 hello
     a/hard hardlink a/file
     a/link symlink 0777 0:0 @102 file
     empty file 0600 0:0 @103 ~
     pipe fifo 0644 0:0 @104";

/// Unpacks kiln's layer with GNU tar and compares the trees.
#[test]
fn gnu_tar_unpacks_the_same_tree() {
    if !is_root("GNU tar") {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.tree("source", TREE);
    let long = "n".repeat(120);
    std::fs::write(scratch.path("source").join(&long), "long").expect("a file");
    let changes = changes(&source, &[]);
    let into = scratch.dir("into");
    for (compression, flag) in [
        (LayerCompression::default(), "-z"),
        (LayerCompression::Zstd(ZstdLevel::DEFAULT), "--zstd"),
        (LayerCompression::None, "--numeric-owner"),
    ] {
        let (blob, _) = write(&changes, &options(compression, 2));
        std::fs::write(scratch.path("blob"), blob).expect("the blob");
        into.remove_contents().expect("empty");
        let output = command("tar", &scratch.path("into"))
            .args(["--numeric-owner", "-p", flag, "-xf", "../blob"])
            .env("PATH", "/usr/bin:/bin")
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                eprintln!("skipped: GNU tar: {error}");
                return;
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if stderr.contains("zstd") {
            eprintln!("skipped: GNU tar with zstd: {stderr}");
            continue;
        }
        assert!(output.status.success(), "{stderr}");
        // The long file's time has a fraction, which a layer does not keep.
        let expected: Vec<String> = list(&source).lines().map(whole_seconds).collect();
        assert_eq!(
            list(&into).lines().map(whole_seconds).collect::<Vec<_>>(),
            expected
        );
    }
}

fn whole_seconds(line: &str) -> String {
    match line.split_once('.') {
        Some((start, rest)) if line.starts_with("nnn") => {
            format!(
                "{start}{}",
                rest.trim_start_matches(|digit: char| digit.is_ascii_digit())
            )
        }
        _ => line.to_owned(),
    }
}

/// Unpacks an archive of GNU tar, in each of its formats, and compares the trees.
#[test]
fn archives_of_gnu_tar_are_unpacked() {
    if !is_root("archives of GNU tar") {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.tree("source", TREE);
    let long = format!("a/{}", "n".repeat(120));
    std::fs::write(scratch.path("source").join(long), "long").expect("a file");
    for format in ["gnu", "pax", "posix"] {
        let done = command("tar", Path::new("/"))
            .arg("-C")
            .arg(scratch.path("source"))
            .arg(format!("--format={format}"))
            .args(["--sparse", "-cf"])
            .arg(scratch.path("blob"))
            .arg(".")
            .env("PATH", "/usr/bin:/bin")
            .status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("skipped: archives of GNU tar: tar");
            return;
        }
        let blob = std::fs::read(scratch.path("blob")).expect("the archive");
        let into = scratch.dir(format);
        crate::unpack(&blob, &into).expect("an archive");
        let names = |text: String| {
            let lines = text
                .lines()
                .map(|line| line.split(" @").next().map(str::to_owned));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(names(list(&into)), names(list(&source)));
    }
}
