//! (f) Pull and unpack of a base.

use crate::bench::Bench;
use crate::inputs;
use crate::measure::Invocation;
use crate::model::{Program, Table, Target, Unit};
use crate::programs::Job;

const NOTES: &str = "Each store is empty before. Docker and Buildah pull, which unpacks. kiln and \
    BuildKit unpack when something needs it, so they build `FROM` the base with one RUN that does \
    nothing, and their time has that step in it. Kaniko builds `FROM` the base with a COPY, since \
    a RUN would make it walk the whole tree as well.";

/// About 180 MB in one layer.
pub(crate) fn small(bench: &Bench) -> Result<Table, String> {
    let image = bench.bases.small(&bench.scratch)?;
    let title = "Pull and unpack: a Debian system of 180 MB";
    pull(bench, &image, 3, table("pull-180M", title))
}

/// About 1.5 GB in six layers.
pub(crate) fn large(bench: &Bench) -> Result<Table, String> {
    let image = bench.bases.large(&bench.scratch, bench.quick)?;
    let title = "Pull and unpack: six layers of 1.5 GB";
    pull(bench, &image, 1, table("pull-1500M", title))
}

fn table(name: &str, title: &str) -> Table {
    Table {
        name: name.to_owned(),
        letter: 'f',
        title: title.to_owned(),
        notes: NOTES.to_owned(),
        unit: Unit::Whole,
        measured: None,
        rows: Vec::new(),
        targets: vec![
            Target::Times(Program::BuildKit, 2.0),
            Target::Times(Program::Buildah, 3.0),
            Target::Times(Program::Kaniko, 2.0),
        ],
    }
}

fn pull(bench: &Bench, image: &str, rounds: usize, table: Table) -> Result<Table, String> {
    let folder = bench.folder(&table.name)?;
    let contexts = Contexts::new(folder.path(), image)?;
    let rows = bench.in_turn(bench.rounds(rounds), |program| {
        bench.programs.reset(program, &bench.scratch)?;
        let sample = bench.measure(&command(bench, program, image, &contexts)?);
        if rounds == 1 {
            // Two of these may be more than the disk has room for.
            bench.programs.reset(program, &bench.scratch)?;
        }
        sample
    });
    Ok(Table { rows, ..table })
}

/// The two ways to need an unpacked base.
pub(crate) struct Contexts {
    run: std::path::PathBuf,
    copy: std::path::PathBuf,
}

impl Contexts {
    pub(crate) fn new(folder: &std::path::Path, image: &str) -> Result<Self, String> {
        let contexts = Self {
            run: folder.join("run"),
            copy: folder.join("copy"),
        };
        let run = format!("FROM {image}\nRUN [\"/bin/true\"]\n");
        inputs::write(&contexts.run.join("Dockerfile"), &run)?;
        let copy = format!("FROM {image}\nCOPY Dockerfile /\n");
        inputs::write(&contexts.copy.join("Dockerfile"), &copy)?;
        Ok(contexts)
    }
}

/// The command that leaves the image unpacked in the program's store.
pub(crate) fn command(
    bench: &Bench,
    program: Program,
    image: &str,
    contexts: &Contexts,
) -> Result<Invocation, String> {
    let context = match program {
        Program::Docker | Program::Buildah | Program::Builderd | Program::Mkfs => {
            return bench.programs.pull(program, image);
        }
        Program::Kaniko => &contexts.copy,
        Program::Kiln | Program::KilnRootless | Program::BuildKit => &contexts.run,
    };
    bench.programs.build(program, &Job::new(context))
}
