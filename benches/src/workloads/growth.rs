//! How kiln's cost grows: RUN steps, files, layers, and images in the store.
//!
//! A size that fails, or for which there is no room, is left out; the curve ends before it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::{Bench, median};
use crate::inputs::{self, BUSYBOX};
use crate::measure::{Invocation, complain};
use crate::model::{Curve, Growth, Program, Sample};
use crate::programs::Job;
use crate::together;

const SEVERAL: usize = 3;

/// RUN steps that do nothing, 10 to 1,000.
pub(crate) fn steps(bench: &Bench) -> Result<Growth, String> {
    let mut curves = Curves::new(["all steps run", "nothing changed"]);
    let sizes: &[usize] = if bench.quick {
        &[10, 30]
    } else {
        &[10, 30, 100, 300, 1_000]
    };
    for size in sizes {
        let folder = bench.folder("growth-steps")?;
        let runs: String = (0..*size).map(inputs::nothing).collect();
        inputs::context(folder.path(), &format!("{BUSYBOX}{runs}"))?;
        let job = Job::new(folder.path());
        let measured = bench
            .several(Program::Kiln, &job.no_cache())
            .and_then(|cold| Ok([cold, bench.several(Program::Kiln, &job)?]));
        if !curves.add(bench, "growth-steps", *size, measured) {
            break;
        }
    }
    bench.programs.reset(Program::Kiln, &bench.scratch)?;
    curves.finish(
        "growth-steps",
        "RUN steps",
        "RUN steps that do nothing, one after the other",
    )
}

/// COPY of files, 1,000 to 500,000.
pub(crate) fn files(bench: &Bench) -> Result<Growth, String> {
    let mut curves = Curves::new(["all files are new", "nothing changed"]);
    let sizes: &[usize] = if bench.quick {
        &[1_000, 3_000]
    } else {
        &[1_000, 10_000, 50_000, 100_000, 500_000]
    };
    for size in sizes {
        let measured = room_for(&bench.scratch, *size).and_then(|()| copy_of_files(bench, *size));
        if !curves.add(bench, "growth-files", *size, measured) {
            break;
        }
    }
    curves.finish(
        "growth-files",
        "files",
        "COPY of files of 300 bytes into an empty store, and again",
    )
}

fn copy_of_files(bench: &Bench, size: usize) -> Result<[Sample; 2], String> {
    let folder = bench.folder("growth-files")?;
    inputs::context(folder.path(), "FROM scratch\nCOPY files /files\n")?;
    inputs::files(&folder.path().join("files"), size, 300)?;
    let job = Job::new(folder.path());
    let cold = bench.cold(Program::Kiln, &job)?;
    bench.build(Program::Kiln, &job)?;
    let again = bench.several(Program::Kiln, &job)?;
    bench.programs.reset(Program::Kiln, &bench.scratch)?;
    Ok([cold, again])
}

/// Pull and unpack of an image of many layers, 1 to 120.
pub(crate) fn layers(bench: &Bench) -> Result<Growth, String> {
    let mut curves = Curves::new(["pull, unpack and one RUN"]);
    let sizes: &[usize] = if bench.quick {
        &[1, 10]
    } else {
        &[1, 10, 30, 60, 120]
    };
    for size in sizes {
        let measured = pull_of_layers(bench, *size).map(|sample| [sample]);
        if !curves.add(bench, "growth-layers", *size, measured) {
            break;
        }
    }
    curves.finish(
        "growth-layers",
        "layers",
        "A base of layers of 100 files each, into an empty store",
    )
}

fn pull_of_layers(bench: &Bench, size: usize) -> Result<Sample, String> {
    let image = {
        let folder = bench.folder("growth-layers-base")?;
        let mut dockerfile = "FROM scratch\n".to_owned();
        for layer in 0..size {
            let files = folder.path().join(layer.to_string());
            inputs::files(&files, 100, 5_000 + layer)?;
            // The first layer has the program that the RUN runs, too.
            let line = match layer {
                0 => "COPY busybox 0 /layer/\n".to_owned(),
                _ => format!("COPY {layer} /layer{layer}/\n"),
            };
            dockerfile += &line;
        }
        inputs::context(folder.path(), &dockerfile)?;
        bench
            .bases
            .push(&folder, &format!("layers-{size}"), &bench.scratch)?
    };
    let folder = bench.folder("growth-layers")?;
    let dockerfile = format!("FROM {image}\nRUN [\"/layer/busybox\", \"true\"]\n");
    inputs::write(&folder.path().join("Dockerfile"), &dockerfile)?;
    let job = Job::new(folder.path());
    let samples: Result<Vec<_>, _> = (0..bench.rounds(SEVERAL))
        .map(|_| bench.cold(Program::Kiln, &job))
        .collect();
    let samples = samples?;
    bench.programs.reset(Program::Kiln, &bench.scratch)?;
    Ok(median(&samples))
}

/// A build in which nothing changed, in stores of 1 to 10,000 images.
pub(crate) fn images(bench: &Bench) -> Result<Growth, String> {
    let mut curves = Curves::new(["nothing changed", "one more image"]);
    let folder = bench.folder("growth-images")?;
    let (same, more) = (folder.path().join("same"), folder.path().join("more"));
    let runs: String = (0..5).map(inputs::nothing).collect();
    inputs::write(&same.join("Dockerfile"), "")?;
    inputs::context(&same, &format!("{BUSYBOX}{runs}"))?;
    let text = "FROM scratch\nARG N\nLABEL number=$N\n";
    inputs::write(&more.join("Dockerfile"), text)?;
    bench.programs.reset(Program::Kiln, &bench.scratch)?;
    let job = Job::new(&same);
    bench.build(Program::Kiln, &job)?;
    let sizes: &[usize] = if bench.quick {
        &[1, 20]
    } else {
        &[1, 10, 100, 1_000, 10_000]
    };
    let mut made = 1;
    for size in sizes {
        let measured = fill(bench, &more, &mut made, *size)
            .and_then(|()| bench.several(Program::Kiln, &job))
            .and_then(|again| Ok([again, one_more(bench, &more, &mut made)?]));
        if !curves.add(bench, "growth-images", *size, measured) {
            break;
        }
    }
    bench.programs.reset(Program::Kiln, &bench.scratch)?;
    curves.finish(
        "growth-images",
        "images in the store",
        "A build of seven steps in which nothing changed, and one of an image without layers",
    )
}

/// Builds images without layers until there are so many, several at once.
fn fill(bench: &Bench, context: &Path, made: &mut usize, size: usize) -> Result<(), String> {
    const AT_ONCE: usize = 50;
    let limit = Duration::from_mins(2);
    let began = Instant::now();
    while *made < size {
        if began.elapsed() > limit {
            let limit = limit.as_secs();
            return Err(format!("after {limit} s there were {made} images"));
        }
        let count = AT_ONCE.min(size - *made);
        let number = format!("{made}-{}", together::NUMBER);
        let one = image(bench, context, &number)?;
        let own = bench.own_copy()?.into_os_string();
        bench.run(&together::together(one, count, own))?;
        *made += count;
    }
    Ok(())
}

fn one_more(bench: &Bench, context: &Path, made: &mut usize) -> Result<Sample, String> {
    let mut samples = Vec::new();
    for number in 0..bench.rounds(SEVERAL) {
        let image = image(bench, context, &format!("more-{made}-{number}"))?;
        samples.push(bench.measure(&image)?);
        *made += 1;
    }
    Ok(median(&samples))
}

/// The build of an image that is like no other.
fn image(bench: &Bench, context: &Path, number: &str) -> Result<Invocation, String> {
    let kiln = bench.programs.kiln(Program::Kiln)?.invocation();
    Ok(kiln
        .args(["build", "--build-arg", &format!("N={number}")])
        .args(["--tag", &format!("bench:{number}")])
        .arg(context))
}

impl Bench {
    /// The median of several runs of one build by kiln.
    fn several(&self, program: Program, job: &Job<'_>) -> Result<Sample, String> {
        let runs = 0..self.rounds(SEVERAL);
        let samples: Result<Vec<_>, _> = runs.map(|_| self.build(program, job)).collect();
        Ok(median(&samples?))
    }
}

/// The curves of a growth, while they are measured.
struct Curves<const N: usize> {
    names: [&'static str; N],
    points: Vec<(u64, [Sample; N])>,
}

impl<const N: usize> Curves<N> {
    const fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            points: Vec::new(),
        }
    }

    /// Adds what was measured at a size, or leaves that and what is larger out; whether to go on.
    fn add(
        &mut self,
        bench: &Bench,
        name: &str,
        size: usize,
        measured: Result<[Sample; N], String>,
    ) -> bool {
        match measured {
            Ok(samples) => {
                let walls = samples.map(|sample| format!("{:.1} ms", millis(sample.wall)));
                complain(&format!("  {size}: {}", walls.join(", ")));
                self.points.push((size as u64, samples));
                true
            }
            Err(message) => {
                bench.leave_out(format!("{name}: {size} and more"), message);
                false
            }
        }
    }

    fn finish(self, name: &str, axis: &str, title: &str) -> Result<Growth, String> {
        if self.points.is_empty() {
            return Err("no size could be measured".to_owned());
        }
        let curve = |(index, curve): (usize, &&'static str)| Curve {
            name: (*curve).to_owned(),
            points: self
                .points
                .iter()
                .map(|(size, samples)| (*size, samples[index]))
                .collect(),
        };
        Ok(Growth {
            name: name.to_owned(),
            axis: axis.to_owned(),
            measured: None,
            title: title.to_owned(),
            curves: self.names.iter().enumerate().map(curve).collect(),
        })
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Whether the disk has room for so many small files three times: as input, as a snapshot, and as
/// whatever else is on its way.
fn room_for(scratch: &Path, files: usize) -> Result<(), String> {
    let disk = rustix::fs::statvfs(scratch).map_err(|error| error.to_string())?;
    let files = 3 * files as u64;
    if disk.f_favail < files {
        return Err(format!("the disk has {} inodes left", disk.f_favail));
    }
    let left = disk.f_bavail * disk.f_frsize;
    if left < files * 4096 + 1_000_000_000 {
        return Err(format!("the disk has {} MB left", left / 1_000_000));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_by_what_is_measured() {
        let mut curves = Curves::new(["cold", "again"]);
        let sample = |milliseconds| Sample {
            wall: Duration::from_millis(milliseconds),
            ..Sample::default()
        };
        curves.points.push((10, [sample(5), sample(1)]));
        curves.points.push((20, [sample(9), sample(2)]));
        let growth = curves.finish("growth-x", "x", "X").unwrap();
        assert_eq!(growth.curves.len(), 2);
        assert_eq!(growth.curves[1].name, "again");
        assert_eq!(growth.curves[1].points, [(10, sample(1)), (20, sample(2))]);
    }
}
