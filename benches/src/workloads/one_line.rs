//! (h) One source line changed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::bench::Bench;
use crate::inputs::{self, BUSYBOX};
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;

/// A build of 30 steps whose 20th copies 200 source files, one of which has a new line.
pub(crate) fn one_line(bench: &Bench) -> Result<Table, String> {
    let folder = bench.folder("one-line")?;
    let before: String = (0..18).map(inputs::nothing).collect();
    let after: String = (20..30).map(inputs::nothing).collect();
    let dockerfile = format!("{BUSYBOX}{before}COPY src /src\n{after}");
    inputs::context(folder.path(), &dockerfile)?;
    inputs::files(&folder.path().join("src"), 200, 4_000)?;
    let built = RefCell::new(BTreeSet::new());
    let mut version = 0;
    bench.registry.empty()?;
    let rows = bench.in_turn(bench.rounds(5), |program| {
        let cache = bench.cache(program);
        let job = Job {
            cache_from: cache.as_deref(),
            ..Job::new(folder.path())
        };
        if built.borrow_mut().insert(program) {
            bench.build(program, &job)?;
        }
        version += 1;
        let line = format!("line {version}\n");
        inputs::write(&folder.path().join("src/1/150.txt"), &line)?;
        bench.build(program, &job)
    });
    Ok(Table {
        name: "one-line".to_owned(),
        letter: 'h',
        title: "One source line changed in a build of 30 steps".to_owned(),
        notes:
            "The first 19 steps are as before; a COPY of 200 source files, one of them changed, \
                and 10 RUN that do nothing have to be done again. Kaniko's cache is in the \
                registry, the only place it has for one."
                .to_owned(),
        unit: Unit::Whole,
        measured: None,
        rows,
        targets: vec![Target::Times(Program::BuildKit, 5.0)],
    })
}
