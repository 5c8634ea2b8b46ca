//! (a) RUN steps that do nothing: the cost of a step.

use std::time::Duration;

use crate::bench::{Bench, without};
use crate::inputs::{self, BUSYBOX};
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;

const STEPS: u32 = 20;

/// 20 steps against the same file without them.
pub(crate) fn steps(bench: &Bench) -> Result<Table, String> {
    let folder = bench.folder("steps")?;
    let (with, none) = (folder.path().join("20"), folder.path().join("0"));
    let runs: String = (0..STEPS as usize).map(inputs::nothing).collect();
    for (dir, dockerfile) in [(&with, format!("{BUSYBOX}{runs}")), (&none, BUSYBOX.into())] {
        inputs::write(&dir.join("Dockerfile"), "")?;
        inputs::context(dir, &dockerfile)?;
    }
    let rows = bench.in_turn(bench.rounds(5), |program| {
        let without_steps = bench.build(program, &Job::new(&none).no_cache())?;
        let with_steps = bench.build(program, &Job::new(&with).no_cache())?;
        Ok(without(with_steps, without_steps))
    });
    Ok(Table {
        name: "steps".to_owned(),
        letter: 'a',
        title: format!("{STEPS} RUN steps that do nothing"),
        notes: "`RUN [\"/busybox\", \"true\", \"N\"]` on a base of busybox alone, with \
                `--no-cache`; the same file without the steps is taken off."
            .to_owned(),
        unit: Unit::Part(STEPS),
        rows,
        targets: vec![
            Target::AtMost(Program::Kiln, Duration::from_millis(5)),
            Target::AtMost(Program::KilnRootless, Duration::from_millis(8)),
            Target::Times(Program::BuildKit, 10.0),
            Target::Times(Program::Buildah, 50.0),
            Target::Times(Program::Kaniko, 40.0),
        ],
    })
}
