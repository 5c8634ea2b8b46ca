//! (a) RUN steps that do nothing: the cost of a step.

use std::time::Duration;

use crate::bench::{Bench, without};
use crate::inputs;
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;

const STEPS: u32 = 20;

/// 20 steps against the same file without them.
pub(crate) fn steps(bench: &Bench) -> Result<Table, String> {
    let base = bench.bases.small(&bench.scratch)?;
    let folder = bench.folder("steps")?;
    let base = format!("FROM {base}\nCOPY busybox /busybox\n");
    let (with, none) = (folder.path().join("20"), folder.path().join("0"));
    let runs: String = (0..STEPS as usize).map(inputs::nothing).collect();
    for (dir, dockerfile) in [(&with, format!("{base}{runs}")), (&none, base.clone())] {
        inputs::write(&dir.join("Dockerfile"), "")?;
        inputs::context(dir, &dockerfile)?;
    }
    let mut warm = Vec::new();
    let rows = bench.in_turn(bench.rounds(5), |program| {
        // Kaniko has nowhere to keep the base.
        if !warm.contains(&program) && program != Program::Kaniko {
            bench.build(program, &Job::new(&none))?;
            warm.push(program);
        }
        let without_steps = bench.build(program, &Job::new(&none).no_cache())?;
        let with_steps = bench.build(program, &Job::new(&with).no_cache())?;
        Ok(without(with_steps, without_steps))
    });
    Ok(Table {
        name: "steps".to_owned(),
        letter: 'a',
        title: format!("{STEPS} RUN steps that do nothing"),
        notes: "`RUN [\"/busybox\", \"true\", \"N\"]` on a Debian base of 180 MB that each \
                program has already, with `--no-cache`; the same file without the steps is taken \
                off. Kaniko looks through the whole root after each step."
            .to_owned(),
        unit: Unit::Part(STEPS),
        measured: None,
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
