//! (l) Restore from a registry cache on an empty machine.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::bench::Bench;
use crate::inputs;
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;

/// A build whose steps are in a registry's cache, but for the last two, by a program with nothing.
pub(crate) fn restore(bench: &Bench) -> Result<Table, String> {
    let base = bench.bases.small(&bench.scratch)?;
    let folder = bench.folder("restore")?;
    let dockerfile = format!(
        "FROM {base}\nCOPY files /files\n\
         RUN [\"/bin/sh\", \"-c\", \"cp -r /usr/share/perl /copy && find /files | sort > /list\"]\n\
         RUN [\"/bin/sh\", \"-c\", \"cat /list /list > /lists\"]\n\
         COPY line /line\nRUN [\"/bin/sh\", \"-c\", \"cat /line /lists > /end\"]\n"
    );
    inputs::write(&folder.path().join("Dockerfile"), &dockerfile)?;
    inputs::write(&folder.path().join("line"), "first\n")?;
    let count = bench.size(2_000, 200);
    inputs::files(&folder.path().join("files"), count, 8_000)?;
    let built = RefCell::new(BTreeSet::new());
    let mut version = 0;
    bench.registry.empty()?;
    let rows = bench.in_turn(bench.rounds(3), |program| {
        let cache = format!("{}/restore-{}", bench.registry.host(), program as u8);
        if built.borrow_mut().insert(program) {
            bench.programs.reset(program, &bench.scratch)?;
            let job = Job {
                cache_to: Some(&cache),
                ..Job::new(folder.path())
            };
            bench.build(program, &job)?;
        }
        bench.programs.reset(program, &bench.scratch)?;
        version += 1;
        inputs::write(&folder.path().join("line"), &format!("line {version}\n"))?;
        let job = Job {
            cache_from: Some(&cache),
            ..Job::new(folder.path())
        };
        bench.build(program, &job)
    });
    Ok(Table {
        name: "restore".to_owned(),
        letter: 'l',
        title: "Restore from a registry's cache on an empty machine".to_owned(),
        notes: "The base has 180 MB; a COPY of 2,000 files and two RUN come from the cache, the \
                last COPY and RUN are new in each run. kiln and BuildKit export with `mode=max`, \
                Docker inline, Buildah and Kaniko one image for each step."
            .to_owned(),
        unit: Unit::Whole,
        measured: None,
        rows,
        targets: vec![Target::Times(Program::BuildKit, 2.0)],
    })
}
