//! (g) A build as people have them: packages, a compiler, and a second stage.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{Bench, median};
use crate::inputs;
use crate::measure::Invocation;
use crate::model::{Program, Sample, Table, Target, Unit};
use crate::programs::{self, Job};

const INSTALL: &str = "apt-get update && \
     apt-get install -y --no-install-recommends gcc libc6-dev make";
const COMPILE: &str = "make -C /src -j 2 && /src/program";

/// Does `$2` and then, beside the files `$3`, `$4` in the root folder `$1`, and nothing else.
const OUTSIDE: &str = r#"
mount -t proc proc "$1/proc"
mount --bind /etc/resolv.conf "$1/etc/resolv.conf"
mount -t tmpfs tmpfs "$1/dev"
for device in "null 3" "zero 5" "urandom 9"; do
    mknod -m 666 "$1/dev/${device% *}" c 1 "${device#* }"
done
chroot "$1" /bin/sh -c "$2"
cp -r "$3" "$1/src"
chroot "$1" /bin/sh -c "$4"
"#;

/// apt-get, a compiler on many files, and COPY --from; and the same commands without a builder.
pub(crate) fn real(bench: &Bench) -> Result<Table, String> {
    let base = bench.bases.small(&bench.scratch)?;
    let folder = bench.folder("real")?;
    let sources = folder.path().join("src");
    sources_of_c(&sources, bench.size(60, 4))?;
    let dockerfile = format!(
        "FROM {base} AS build\nENV DEBIAN_FRONTEND=noninteractive\nRUN {INSTALL}\n\
         COPY src /src\nRUN {COMPILE}\n\
         FROM {base}\nCOPY --from=build /src/program /usr/local/bin/program\n"
    );
    inputs::write(&folder.path().join("Dockerfile"), &dockerfile)?;
    let warm = folder.path().join("warm");
    let dockerfile = format!("FROM {base}\nRUN true\n");
    inputs::write(&warm.join("Dockerfile"), &dockerfile)?;
    let outside = Outside::new(bench, folder.path(), &base)?;
    let job = Job::new(folder.path()).no_cache();
    let mut alone = Vec::new();
    let mut built = Vec::new();
    let rows = bench.in_turn(bench.rounds(2), |program| {
        if program == Program::Kiln {
            alone.extend(outside.measure(bench, &sources));
        }
        if !built.contains(&program) && program != Program::Kaniko {
            bench.build(program, &Job::new(&warm))?;
            built.push(program);
        }
        bench.build(program, &job)
    });
    Ok(table(rows, &alone))
}

fn table(rows: Vec<crate::model::Row>, alone: &[Sample]) -> Table {
    let mut notes = "A Debian base of 180 MB, which is there already (Kaniko has no place for \
        it); `apt-get install` of a C compiler, 60 files compiled, and a second stage that takes \
        the program. What is downloaded is the same for all, but the network is not always as \
        fast. "
        .to_owned();
    let mut targets = Vec::new();
    if alone.is_empty() {
        notes += "The same commands could not be run without a builder.";
    } else {
        let alone = median(alone).wall;
        let _ = write!(
            notes,
            "The same commands with `chroot` in an unpacked root folder, without a builder, take \
             {:.1} s.",
            alone.as_secs_f64()
        );
        let limit = (alone + alone * 3 / 100).as_secs_f64();
        let limit = Duration::from_secs_f64((limit * 100.0).round() / 100.0);
        targets = vec![
            Target::AtMost(Program::Kiln, limit),
            Target::AtMost(Program::KilnRootless, limit),
        ];
    }
    Table {
        name: "real".to_owned(),
        letter: 'g',
        title: "A real build: apt-get, compile, COPY --from".to_owned(),
        notes,
        unit: Unit::Whole,
        measured: None,
        rows,
        targets,
    }
}

/// The root folder of the base, for the commands without a builder.
struct Outside {
    root: Option<PathBuf>,
    copy: PathBuf,
}

impl Outside {
    fn new(bench: &Bench, folder: &Path, base: &str) -> Result<Self, String> {
        let root = folder.join("root");
        if programs::need_root().is_err() {
            let why = "the commands without a builder need root";
            bench.leave_out("real: without a builder", why);
            return Ok(Self {
                root: None,
                copy: root,
            });
        }
        let context = folder.join("export");
        inputs::write(&context.join("Dockerfile"), &format!("FROM {base}\n"))?;
        let kiln = bench.bases.kiln().invocation();
        let output = format!("type=local,dest={}", root.display());
        bench.run(&kiln.args(["build", "--output", &output]).arg(context))?;
        Ok(Self {
            root: Some(root),
            copy: folder.join("root-copy"),
        })
    }

    fn measure(&self, bench: &Bench, sources: &Path) -> Option<Sample> {
        let root = self.root.as_ref()?;
        let measured = self.try_measure(bench, root, sources);
        let _ = fs::remove_dir_all(&self.copy);
        let failed = |message| bench.leave_out("real: without a builder", message);
        measured.map_err(failed).ok()
    }

    fn try_measure(&self, bench: &Bench, root: &Path, sources: &Path) -> Result<Sample, String> {
        let copy = Invocation::new("cp").arg("-a").arg(root).arg(&self.copy);
        bench.run(&copy)?;
        let command = Invocation::new("unshare")
            .args(["--mount", "--pid", "--fork", "--propagation", "private"])
            .args(["/bin/sh", "-ec", OUTSIDE, "outside"])
            .arg(&self.copy)
            .arg(INSTALL)
            .arg(sources)
            .arg(COMPILE)
            .env("DEBIAN_FRONTEND", "noninteractive");
        bench.measure(&command)
    }
}

/// So many C files of a few hundred functions each, and a Makefile.
fn sources_of_c(dir: &Path, count: usize) -> Result<(), String> {
    let mut main = "#include <stdio.h>\n".to_owned();
    let mut calls = String::new();
    let mut objects = "main.o".to_owned();
    for file in 0..count {
        let mut text = "#include <stdlib.h>\n#include <string.h>\n".to_owned();
        for function in 0..100 {
            let _ = write!(
                text,
                "static long f{function}(long n) {{\n  long sum = {function};\n  \
                 for (long i = 0; i < n; i++)\n    sum += (i * {file} + n) % ({function} + 7);\n  \
                 return sum ? sum : labs(n) + (long)strlen(\"{file}\");\n}}\n"
            );
        }
        let sum: Vec<_> = (0..100).map(|function| format!("f{function}(n)")).collect();
        let _ = writeln!(
            text,
            "long part{file}(long n) {{ return {}; }}",
            sum.join(" + ")
        );
        inputs::write(&dir.join(format!("part{file}.c")), &text)?;
        let _ = writeln!(main, "long part{file}(long);");
        let _ = write!(calls, " + part{file}(3)");
        let _ = write!(objects, " part{file}.o");
    }
    let _ = writeln!(
        main,
        "int main(void) {{ return printf(\"%ld\\n\", 0L{calls}) < 0; }}"
    );
    inputs::write(&dir.join("main.c"), &main)?;
    let makefile = format!("CFLAGS = -O2\nprogram: {objects}\n\t$(CC) -o $@ $^\n");
    inputs::write(&dir.join("Makefile"), &makefile)
}
