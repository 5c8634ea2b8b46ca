//! (b) and (c) Nothing changed since the build before.

use std::time::Duration;

use crate::bench::Bench;
use crate::inputs::{self, BUSYBOX};
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;

/// 20 steps over 1,000 files.
pub(crate) fn steps(bench: &Bench) -> Result<Table, String> {
    let runs: String = (0..19).map(inputs::nothing).collect();
    unchanged(
        bench,
        &Input {
            dockerfile: format!("{BUSYBOX}COPY files /files\n{runs}"),
            files: bench.size(1_000, 1_000),
            bytes: 2_000,
            rounds: 9,
        },
        Table {
            name: "nothing-changed".to_owned(),
            letter: 'b',
            title: "Nothing changed: 20 steps over 1,000 files".to_owned(),
            notes: "One COPY of 1,000 files and 19 RUN, built again. Kaniko's cache is in the \
                    registry."
                .to_owned(),
            unit: Unit::Whole,
            measured: None,
            rows: Vec::new(),
            targets: vec![
                Target::AtMost(Program::Kiln, Duration::from_millis(20)),
                Target::Times(Program::BuildKit, 5.0),
                Target::Times(Program::Buildah, 20.0),
                Target::Times(Program::Kaniko, 100.0),
            ],
        },
    )
}

/// One COPY of 20,000 files.
pub(crate) fn files_20k(bench: &Bench) -> Result<Table, String> {
    let targets = vec![
        Target::AtMost(Program::Kiln, Duration::from_millis(50)),
        Target::Times(Program::BuildKit, 8.0),
        Target::Times(Program::Buildah, 50.0),
    ];
    let input = Input {
        dockerfile: format!("{BUSYBOX}COPY files /files\n"),
        files: bench.size(20_000, 2_000),
        bytes: 4_500,
        rounds: 7,
    };
    unchanged(
        bench,
        &input,
        files("nothing-changed-20k", "20,000", targets),
    )
}

/// One COPY of 100,000 files.
pub(crate) fn files_100k(bench: &Bench) -> Result<Table, String> {
    let targets = vec![
        Target::Times(Program::BuildKit, 8.0),
        Target::Times(Program::Buildah, 50.0),
    ];
    let input = Input {
        dockerfile: format!("{BUSYBOX}COPY files /files\n"),
        files: bench.size(100_000, 5_000),
        bytes: 300,
        rounds: 3,
    };
    unchanged(
        bench,
        &input,
        files("nothing-changed-100k", "100,000", targets),
    )
}

fn files(name: &str, count: &str, targets: Vec<Target>) -> Table {
    Table {
        name: name.to_owned(),
        letter: 'c',
        title: format!("Nothing changed: COPY of {count} files"),
        notes: String::new(),
        unit: Unit::Whole,
        measured: None,
        rows: Vec::new(),
        targets,
    }
}

struct Input {
    dockerfile: String,
    files: usize,
    bytes: usize,
    rounds: usize,
}

fn unchanged(bench: &Bench, input: &Input, table: Table) -> Result<Table, String> {
    let folder = bench.folder(&table.name)?;
    inputs::context(folder.path(), &input.dockerfile)?;
    inputs::files(&folder.path().join("files"), input.files, input.bytes)?;
    let mut built = Vec::new();
    bench.registry.empty()?;
    let there = bench.there_but(&table.name, |program| {
        let minutes = program == Program::Kaniko && input.files > 50_000;
        minutes.then_some("it would take minutes")
    });
    let rows = bench.in_turn_of(&there, bench.rounds(input.rounds), |program| {
        let cache = bench.cache(program);
        let job = Job {
            cache_from: cache.as_deref(),
            ..Job::new(folder.path())
        };
        if !built.contains(&program) {
            bench.build(program, &job)?;
            built.push(program);
            // Files younger than a moment may not be told apart by their times: the second build
            // is the first that a cache of those may help.
            bench.build(program, &job)?;
        }
        bench.build(program, &job)
    });
    Ok(Table { rows, ..table })
}
