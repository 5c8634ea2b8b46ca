//! (d) Many small files.

use crate::bench::Bench;
use crate::inputs;
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;
use crate::workloads::pushed::Pushed;

const MEMORY: u64 = 64_000_000;

/// COPY of 20,000 files of 90 MB together, cold, pushed.
pub(crate) fn small(bench: &Bench) -> Result<Table, String> {
    let folder = bench.folder("small-files")?;
    inputs::context(folder.path(), "FROM scratch\nCOPY files /files\n")?;
    let count = bench.size(20_000, 500);
    inputs::files(&folder.path().join("files"), count, 4_500)?;
    let name = format!("{}/small-files", bench.registry.host());
    let job = Job::new(folder.path()).push(&name);
    let mut pushed = Pushed::default();
    let rows = bench.in_turn(bench.rounds(3), |program| {
        let sample = bench.cold(program, &job)?;
        pushed.note(bench, program);
        Ok(sample)
    });
    Ok(Table {
        name: "small-files".to_owned(),
        letter: 'd',
        title: "COPY of 20,000 small files (90 MB), cold, pushed".to_owned(),
        notes: pushed.text(),
        unit: Unit::Whole,
        measured: None,
        rows,
        targets: vec![
            Target::Times(Program::BuildKit, 3.0),
            Target::Times(Program::Buildah, 3.0),
            Target::Times(Program::Kaniko, 3.0),
            Target::Memory(Program::Kiln, MEMORY),
            Target::Memory(Program::KilnRootless, MEMORY),
        ],
    })
}
