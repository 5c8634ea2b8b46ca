//! The inputs: each is made once, then built by each program in turn.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::measure::{Cost, cost, median};
use crate::tools::{Build, Builder, Tools};

/// One table of the report.
pub(crate) struct Workload {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Makes the inputs, measures, and returns Markdown.
    pub(crate) run: fn(&Tools, &Path) -> Result<String, String>,
}

pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "steps",
        run: steps,
    },
    Workload {
        name: "nothing-changed",
        run: nothing_changed,
    },
    Workload {
        name: "small-files",
        run: small_files,
    },
    Workload {
        name: "large-layer",
        run: large_layer,
    },
];

/// 20 RUN steps that do nothing against the same file without them: the cost of a step.
fn steps(tools: &Tools, scratch: &Path) -> Result<String, String> {
    let runs = "RUN [\"/busybox\", \"true\"]\n".repeat(20);
    let with = context(scratch, "steps-20", &format!("{}{runs}", busybox_base()))?;
    let without = context(scratch, "steps-0", &busybox_base())?;
    let mut report = "### A RUN step that does nothing\n\n\
         | program | 20 steps, s | per step, ms |\n|---|---|---|\n"
        .to_owned();
    let rows = in_turn(tools, 5, |builder| {
        let with = once(
            tools,
            builder,
            &Build {
                context: &with,
                cold: true,
            },
        )?;
        let without = once(
            tools,
            builder,
            &Build {
                context: &without,
                cold: true,
            },
        )?;
        Ok(with.zip(without).map(|(with, without)| Cost {
            wall: with.wall.saturating_sub(without.wall),
            peak_kb: with.peak_kb,
        }))
    });
    for (builder, cost) in rows? {
        let per_step = cost.wall / 20;
        let _ = writeln!(
            report,
            "| {} | {:.3} | {:.1} |",
            builder.name(),
            cost.wall.as_secs_f64(),
            per_step.as_secs_f64() * 1e3
        );
    }
    Ok(report)
}

/// 20 steps over a context of 1,000 files, built again with nothing changed.
fn nothing_changed(tools: &Tools, scratch: &Path) -> Result<String, String> {
    let mut dockerfile = busybox_base();
    for step in 0..10 {
        let _ = writeln!(
            dockerfile,
            "COPY . /src{step}\nRUN [\"/busybox\", \"true\", \"{step}\"]"
        );
    }
    let dir = context(scratch, "unchanged", &dockerfile)?;
    write_files(&dir.join("files"), 1000, 2000)?;
    for builder in Builder::ALL {
        once(
            tools,
            builder,
            &Build {
                context: &dir,
                cold: false,
            },
        )?;
    }
    let rows = in_turn(tools, 9, |builder| {
        once(
            tools,
            builder,
            &Build {
                context: &dir,
                cold: false,
            },
        )
    })?;
    let mut report = "### Nothing changed: 20 steps, 1,000 files\n\n\
         | program | wall, ms |\n|---|---|\n"
        .to_owned();
    for (builder, cost) in rows {
        let _ = writeln!(
            report,
            "| {} | {:.1} |",
            builder.name(),
            cost.wall.as_secs_f64() * 1e3
        );
    }
    Ok(report)
}

/// COPY of 20,000 small files, cold.
fn small_files(tools: &Tools, scratch: &Path) -> Result<String, String> {
    let dir = context(scratch, "small", "FROM scratch\nCOPY files /files\n")?;
    write_files(&dir.join("files"), 20_000, 4_500)?;
    let build = Build {
        context: &dir,
        cold: true,
    };
    let rows = in_turn(tools, 3, |builder| once(tools, builder, &build))?;
    Ok(table("COPY of 20,000 small files (90 MB), cold", &rows))
}

/// One layer of 1.6 GB: the programs and libraries of this machine, so that it compresses as real
/// layers do.
fn large_layer(tools: &Tools, scratch: &Path) -> Result<String, String> {
    let dir = context(scratch, "large", "FROM scratch\nCOPY files /files\n")?;
    let files = dir.join("files");
    fs::create_dir(&files).map_err(|error| error.to_string())?;
    let mut left: u64 = 1_600_000_000;
    let mut round = 0;
    while left > 0 {
        for source in ["/usr/lib", "/usr/bin", "/usr/share"] {
            copy_some(
                Path::new(source),
                &files.join(format!("{round}")),
                &mut left,
            )?;
        }
        round += 1;
    }
    let build = Build {
        context: &dir,
        cold: true,
    };
    let rows = in_turn(tools, 1, |builder| once(tools, builder, &build))?;
    let _ = fs::remove_dir_all(&dir);
    Ok(table(
        "COPY of 1.6 GB of programs and libraries, cold",
        &rows,
    ))
}

fn copy_some(from: &Path, to: &Path, left: &mut u64) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir_all(to).map_err(fail)?;
    for entry in fs::read_dir(from).map_err(fail)?.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_some(&entry.path(), &target, left)?;
        } else if kind.is_file() && *left > 0 {
            let copied = fs::copy(entry.path(), &target).unwrap_or(0);
            *left = left.saturating_sub(copied);
        }
    }
    Ok(())
}

/// Measures every program that is there, in turn, and returns the medians.
fn in_turn(
    tools: &Tools,
    rounds: usize,
    mut once: impl FnMut(Builder) -> Result<Option<Cost>, String>,
) -> Result<Vec<(Builder, Cost)>, String> {
    let there: Vec<Builder> = Builder::ALL.into_iter().filter(|b| tools.has(*b)).collect();
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); there.len()];
    for _ in 0..rounds {
        for (builder, costs) in there.iter().zip(&mut costs) {
            costs.extend(once(*builder)?);
        }
    }
    Ok(there
        .into_iter()
        .zip(costs.iter().map(|costs| median(costs)))
        .collect())
}

fn once(tools: &Tools, builder: Builder, build: &Build<'_>) -> Result<Option<Cost>, String> {
    if !tools.has(builder) {
        return Ok(None);
    }
    tools
        .build(builder, build)
        .map(|mut command| cost(&mut command))
        .transpose()
}

fn table(title: &str, rows: &[(Builder, Cost)]) -> String {
    let own = rows
        .first()
        .map_or(Duration::ZERO, |(_, cost)| cost.wall)
        .as_secs_f64();
    let mut report = format!(
        "### {title}\n\n| program | wall, s | against kiln | peak memory of its processes, MB |\n\
         |---|---|---|---|\n"
    );
    for (builder, cost) in rows {
        let memory = match builder {
            // The work is done by a daemon that this command did not start.
            Builder::Docker => "(daemon)".to_owned(),
            _ => format!("{}", cost.peak_kb / 1024),
        };
        let wall = cost.wall.as_secs_f64();
        let _ = writeln!(
            report,
            "| {} | {wall:.2} | {:.1} | {memory} |",
            builder.name(),
            wall / own.max(1e-9)
        );
    }
    report
}

fn busybox_base() -> String {
    "FROM scratch\nCOPY busybox /busybox\n".to_owned()
}

fn context(scratch: &Path, name: &str, dockerfile: &str) -> Result<PathBuf, String> {
    let dir = scratch.join(name);
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    fs::create_dir(&dir).map_err(fail)?;
    fs::write(dir.join("Dockerfile"), dockerfile).map_err(fail)?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("`busybox` is missing: apt-get install busybox-static")?;
    fs::copy(busybox, dir.join("busybox")).map_err(fail)?;
    Ok(dir)
}

fn write_files(dir: &Path, count: usize, size: usize) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", dir.display());
    for index in 0..count {
        let folder = dir.join(format!("{}", index / 100));
        if index % 100 == 0 {
            fs::create_dir_all(&folder).map_err(fail)?;
        }
        let line = format!("{index} some text that differs from file to file\n");
        let content = line.repeat(size / line.len() + 1);
        fs::write(folder.join(format!("{index}.txt")), &content[..size]).map_err(fail)?;
    }
    Ok(())
}
