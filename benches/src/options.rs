//! What was asked for on the command line.

use std::path::PathBuf;

use crate::model::Program;
use crate::programs;
use crate::workloads;

/// The words that are understood.
const USAGE: &str = "\
usage: cargo xtask bench [OPTIONS] [NAME...]

  NAME...          these workloads only (default: all)
  --only PROGRAM,… these programs only: kiln, rootless, buildkit, docker, buildah, kaniko,
                   builderd, mkfs
  --quick          one round of small inputs: shows that everything runs, the figures mean nothing
  --rounds N       so many rounds of everything
  --write DIR      write benchmarks.md, benchmarks.json and the charts below DIR after each
                   workload; what is in benchmarks.json and was not measured now stays
  --list           the names of all workloads";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Workloads, all where none is named.
    pub(crate) names: Vec<String>,
    /// Programs, in the order of the report.
    pub(crate) programs: Vec<Program>,
    /// Small inputs, one round.
    pub(crate) quick: bool,
    /// How many rounds, where somebody says so.
    pub(crate) rounds: Option<usize>,
    /// Where the pages are written.
    pub(crate) write: Option<PathBuf>,
    /// Name the workloads and do nothing.
    pub(crate) list: bool,
}

impl Options {
    /// Whether a workload is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    /// Whether less than everything is to be run.
    pub(crate) fn is_part(&self) -> bool {
        !self.names.is_empty() || self.programs != programs::ALL
    }
}

/// Reads the words of the command line.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut words = words;
    let mut options = Options {
        names: Vec::new(),
        programs: programs::ALL.to_vec(),
        quick: false,
        rounds: None,
        write: None,
        list: false,
    };
    while let Some(word) = words.next() {
        let mut value = || {
            let next = words.next();
            next.ok_or_else(|| format!("`{word}` needs a value\n\n{USAGE}"))
        };
        match word.as_str() {
            "--quick" => options.quick = true,
            "--list" => options.list = true,
            "--write" => options.write = Some(value()?.into()),
            "--only" => options.programs = some_programs(&value()?)?,
            "--rounds" => {
                let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                options.rounds = Some(rounds.ok_or("`--rounds` takes a number above 0")?);
            }
            name if workloads::names().any(|known| known == name) => {
                options.names.push(word);
            }
            "--help" | "-h" => return Err(USAGE.to_owned()),
            _ => return Err(format!("`{word}` is not known\n\n{USAGE}")),
        }
    }
    Ok(options)
}

fn some_programs(list: &str) -> Result<Vec<Program>, String> {
    let mut some = Vec::new();
    for word in list.split(',') {
        some.push(match word {
            "kiln" => Program::Kiln,
            "rootless" => Program::KilnRootless,
            "buildkit" => Program::BuildKit,
            "docker" => Program::Docker,
            "buildah" => Program::Buildah,
            "kaniko" => Program::Kaniko,
            "builderd" => Program::Builderd,
            "mkfs" => Program::Mkfs,
            _ => return Err(format!("`{word}` is not a program that is compared")),
        });
    }
    some.sort_unstable();
    some.dedup();
    Ok(some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_are_read() {
        let options = check("--quick --rounds 2 --only docker,kiln --write docs steps").unwrap();
        assert!(options.quick);
        assert_eq!(options.rounds, Some(2));
        assert_eq!(options.programs, [Program::Kiln, Program::Docker]);
        assert_eq!(options.write, Some("docs".into()));
        assert!(options.wants("steps") && !options.wants("small-files"));
        assert!(check("").unwrap().wants("small-files"));
    }

    #[test]
    fn words_that_mean_nothing_are_refused() {
        for line in ["--rounds", "--rounds 0", "--only podman", "no-such", "--no"] {
            check(line).unwrap_err();
        }
    }
}
