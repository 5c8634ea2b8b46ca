//! (e) One large layer.

use std::time::Duration;

use crate::bench::Bench;
use crate::inputs;
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;
use crate::workloads::pushed::Pushed;

const BYTES: u64 = 1_600_000_000;
const MEMORY: u64 = 64_000_000;

/// COPY of 1.6 GB of programs and libraries, cold, pushed.
pub(crate) fn large(bench: &Bench) -> Result<Table, String> {
    let folder = bench.folder("large-layer")?;
    inputs::context(folder.path(), "FROM scratch\nCOPY files /files\n")?;
    let bytes = if bench.quick { 20_000_000 } else { BYTES };
    inputs::programs(&folder.path().join("files"), 0, bytes)?;
    let name = format!("{}/large-layer", bench.registry.host());
    let job = Job::new(folder.path()).push(&name);
    let mut pushed = Pushed::default();
    let rows = bench.in_turn(bench.rounds(1), |program| {
        let sample = bench.cold(program, &job)?;
        pushed.note(bench, program);
        // Two of these may be more than the disk has room for.
        bench.programs.reset(program, &bench.scratch)?;
        Ok(sample)
    });
    // Never slower than 150 MB of input in a second.
    let floor = Duration::from_millis(BYTES / 150_000);
    Ok(Table {
        name: "large-layer".to_owned(),
        letter: 'e',
        title: "COPY of 1.6 GB of programs and libraries, cold, pushed".to_owned(),
        notes: pushed.text(),
        unit: Unit::Whole,
        measured: None,
        rows,
        targets: vec![
            Target::AtMost(Program::Kiln, floor),
            Target::AtMost(Program::KilnRootless, floor),
            Target::Times(Program::BuildKit, 5.0),
            Target::Times(Program::Buildah, 2.0),
            Target::Times(Program::Kaniko, 5.0),
            Target::Memory(Program::Kiln, MEMORY),
            Target::Memory(Program::KilnRootless, MEMORY),
        ],
    })
}
