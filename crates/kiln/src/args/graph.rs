//! `kiln graph`: a build's graph, drawn.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Draw the steps of a build and how they hang together, without building
///
/// Images that stages begin with are looked up, and pulled where the store lacks them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln graph .                             the steps as a tree
  kiln graph --format svg -o graph.svg .   a drawing for a browser
  kiln graph --format dot . | dot -Tpng    … by Graphviz")]
pub(crate) struct GraphArgs {
    /// The build context, as for `kiln build`
    #[arg(value_name = "PATH|URL|-", default_value = ".")]
    pub(crate) context: String,

    /// The Dockerfile: a path, a URL, `-` for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<String>,

    /// Draw what this stage needs instead of the last
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// A value for an ARG; without `=VALUE` it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,

    /// Platforms to build for
    #[arg(long = "platform", value_name = "PLATFORM,…")]
    pub(crate) platforms: Vec<String>,

    /// Another context for `FROM NAME` and `COPY --from=NAME`
    #[arg(long = "build-context", value_name = "NAME=VALUE")]
    pub(crate) build_contexts: Vec<String>,

    /// A secret, for sources that need one
    #[arg(long = "secret", value_name = "SPEC")]
    pub(crate) secrets: Vec<String>,

    /// An SSH agent or keys, for sources that need one
    #[arg(long = "ssh", value_name = "SPEC")]
    pub(crate) ssh: Vec<String>,

    /// Let the build do more: network.host, security.insecure
    #[arg(long = "allow", value_name = "WHAT")]
    pub(crate) allow: Vec<String>,

    /// Ask the registry for each base image, even if the store has it
    #[arg(long)]
    pub(crate) pull: bool,

    /// How it is drawn: text, dot, svg
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) format: GraphFormat,

    /// The file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A tree for a terminal
    Text,
    /// For Graphviz
    Dot,
    /// For a browser
    Svg,
}

impl GraphArgs {
    /// The words of the `kiln build` that has this graph.
    pub(crate) fn build_words(&self) -> Vec<OsString> {
        let mut words: Vec<String> = vec!["kiln".to_owned(), "build".to_owned()];
        let one = [("--file", &self.file), ("--target", &self.target)];
        for (flag, value) in one {
            words.extend(value.iter().map(|value| format!("{flag}={value}")));
        }
        let many = [
            ("--build-arg", &self.build_args),
            ("--platform", &self.platforms),
            ("--build-context", &self.build_contexts),
            ("--secret", &self.secrets),
            ("--ssh", &self.ssh),
            ("--allow", &self.allow),
        ];
        for (flag, values) in many {
            words.extend(values.iter().map(|value| format!("{flag}={value}")));
        }
        words.extend(self.pull.then(|| "--pull".to_owned()));
        words.extend(["--output=type=cacheonly".to_owned(), "--".to_owned()]);
        words.push(self.context.clone());
        words.into_iter().map(OsString::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Command, parse};

    #[test]
    fn a_graph_is_asked_for_as_its_build() {
        let line = "kiln graph -f D --target t --build-arg A=1 --build-arg B --platform \
                    linux/amd64 --pull ctx";
        let Command::Graph(args) = parse(line.split_whitespace().map(Into::into))
            .unwrap()
            .command
        else {
            panic!("another command");
        };
        let Command::Build(build) = parse(args.build_words()).unwrap().command else {
            panic!("another command");
        };
        assert_eq!(build.context, "ctx");
        assert_eq!(build.file.as_deref(), Some("D"));
        assert_eq!(build.target.as_deref(), Some("t"));
        assert_eq!(build.build_args.len(), 2);
        assert!(build.cache.pull);
    }
}
