//! (j) A wide graph.

use std::fmt::Write as _;

use crate::bench::Bench;
use crate::inputs::{self, BUSYBOX};
use crate::model::{Table, Unit};
use crate::programs::Job;

/// A loop of a shell: about a tenth of a second of work.
const LOOP: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";

/// 16 stages that do not need each other, and one that needs all of them.
pub(crate) fn wide(bench: &Bench) -> Result<Table, String> {
    let folder = bench.folder("wide")?;
    let mut dockerfile = BUSYBOX.replace("scratch", "scratch AS base");
    for stage in 0..16 {
        let _ = write!(
            dockerfile,
            "FROM base AS stage{stage}\n\
             RUN [\"/busybox\", \"sh\", \"-c\", \"{LOOP}; echo {stage} > /out\"]\n"
        );
    }
    dockerfile += "FROM base\n";
    for stage in 0..16 {
        let _ = writeln!(dockerfile, "COPY --from=stage{stage} /out /out{stage}");
    }
    inputs::context(folder.path(), &dockerfile)?;
    let job = Job::new(folder.path()).no_cache();
    let rows = bench.in_turn(bench.rounds(3), |program| bench.build(program, &job));
    Ok(Table {
        name: "wide".to_owned(),
        letter: 'j',
        title: "16 independent stages, and one that copies from all".to_owned(),
        notes: "Each stage counts to 100,000 in busybox's shell; built with `--no-cache`. \
                Kaniko builds stages one after the other."
            .to_owned(),
        unit: Unit::Whole,
        measured: None,
        rows,
        targets: Vec::new(),
    })
}
