//! What was typed: one file per group of commands, nothing looked up, nothing decided.
//!
//! These structs mirror the command line word for word. Defaults, configuration files, the
//! environment and the machine enter in [`crate::settings`], which turns them into decided values.
//! The help text, the manual page and the shell completions are all made from these tables.

mod bake;
mod build;
mod buildx;
mod cache;
mod diff;
mod disks;
mod global;
mod graph;
mod history;
mod host;
mod image;
mod imagetools;
mod legacy;
mod lint;
mod meta;
mod output;
mod profile;
mod rootfs;
mod run;
mod store;
mod transfer;
mod values;

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use bake::BakeArgs;
pub(crate) use build::{
    AccessArgs, BuildArgs, CacheArgs, ImageArgs, OutputArgs, ShowArgs, StepArgs,
};
pub(crate) use buildx::BuildxArgs;
pub(crate) use cache::{CacheCommand, CacheCommandArgs, CachePruneArgs};
pub(crate) use diff::DiffArgs;
pub(crate) use disks::{DiskDiffArgs, DiskExtractArgs, DiskInspectArgs, DiskMountArgs};
pub(crate) use global::{ColorChoice, GlobalArgs, ProgressChoice, SandboxChoice};
pub(crate) use graph::{GraphArgs, GraphFormat};
pub(crate) use history::{HistoryArgs, HistoryCommand, HistoryLsArgs, LogFormat};
pub(crate) use host::{BootstrapArgs, DoctorArgs};
pub(crate) use image::{ImagesArgs, InspectArgs, RmArgs, TagArgs};
pub(crate) use imagetools::{ImagetoolsArgs, ImagetoolsCommand, ImagetoolsCreateArgs};
pub(crate) use legacy::LegacyArgs;
pub(crate) use lint::{LintArgs, LintFormat};
pub(crate) use meta::{CompletionsArgs, ConfigArgs, ConfigCommand, ManArgs, VersionArgs};
pub(crate) use output::{OutputSpec, OutputType, ParseOutputError};
pub(crate) use profile::ProfileArgs;
pub(crate) use rootfs::{
    DiskName, InitChoice, PackName, RootAccess, RootfsArgs, RootfsCommand, RootfsVerifyArgs,
};
pub(crate) use run::RunArgs;
pub(crate) use store::{DuArgs, PruneArgs};
pub(crate) use transfer::{ArchiveName, LoadArgs, PullArgs, PushArgs, SaveArgs};
pub(crate) use values::{
    Assignment, ByteSize, CompressionName, FormatName, HostEntry, MemorySize, NetworkName,
    ReportFormat, Span, parse_switch, split_csv,
};

/// How the top-level help groups the commands. A test checks that none is missing.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Build and run",
        &[
            "build",
            "bake",
            "lint",
            "run",
            "rootfs",
            "bootstrap",
            "graph",
            "history",
        ],
    ),
    (
        "Images",
        &[
            "images",
            "inspect",
            "diff",
            "tag",
            "rm",
            "pull",
            "push",
            "save",
            "load",
            "imagetools",
        ],
    ),
    ("Disk", &["du", "prune", "cache"]),
    (
        "This machine and kiln itself",
        &["doctor", "config", "completions", "man", "version", "help"],
    ),
];

const EXAMPLES: &str = "\
Examples:
  kiln build -t app .                 build ./Dockerfile and keep the image as `app`
  kiln build -t app -o app.tar .      … and write a root file system archive
  kiln run --rm app                   start it
  kiln bootstrap debian:bookworm      make a base image without a registry
  kiln doctor                         what this machine allows, and what is missing

`kiln help COMMAND` explains a command; `kiln man` prints the manual page.";

/// Builds container images without a daemon and without root.
#[derive(Debug, Parser)]
#[command(
    name = "kiln",
    version,
    after_help = EXAMPLES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(Box<BuildArgs>),
    Bake(Box<BakeArgs>),
    #[command(hide = true)]
    Buildx(Box<BuildxArgs>),
    Lint(LintArgs),
    Graph(GraphArgs),
    History(HistoryArgs),
    Cache(CacheCommandArgs),
    Run(RunArgs),
    Rootfs(Box<RootfsArgs>),
    Bootstrap(BootstrapArgs),
    Images(ImagesArgs),
    Inspect(InspectArgs),
    Diff(DiffArgs),
    Tag(TagArgs),
    Rm(RmArgs),
    Pull(PullArgs),
    Push(PushArgs),
    Save(SaveArgs),
    Load(LoadArgs),
    Imagetools(ImagetoolsArgs),
    Du(DuArgs),
    Prune(PruneArgs),
    Doctor(DoctorArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Version(VersionArgs),
}

/// The whole command line as a table: what help, manual page and completions read.
pub(crate) fn table() -> clap::Command {
    let table = Cli::command();
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}",
        grouped_commands(&table)
    );
    table.help_template(template)
}

/// A command line that says `kiln build`, without the tables of all other commands: those take
/// longer to make than most builds in which nothing changed have left.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, subcommand_required = true)]
struct BuildCli {
    #[command(flatten)]
    globals: GlobalArgs,
    #[command(subcommand)]
    command: BuildCommand,
}

#[derive(Debug, Subcommand)]
enum BuildCommand {
    Build(Box<BuildArgs>),
}

/// Parses a command line that says `kiln build` and has no mistake; `None` for others, which the
/// whole table understands or explains.
fn parse_build(words: &[OsString]) -> Option<Cli> {
    if !words.iter().any(|word| word == "build") {
        return None;
    }
    let BuildCli { globals, command } = BuildCli::try_parse_from(words).ok()?;
    let BuildCommand::Build(args) = command;
    Some(Cli {
        globals,
        command: Command::Build(args),
    })
}

/// Parses a command line, the program's name first.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    if let Some(cli) = parse_build(&words) {
        return Ok(cli);
    }
    parse_any(words)
}

/// Parses by the whole table.
fn parse_any(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut matches = table().try_get_matches_from(words)?;
    let cli: Cli = clap::FromArgMatches::from_arg_matches_mut(&mut matches)?;
    Ok(match cli.command {
        Command::Buildx(args) => Cli {
            globals: cli.globals,
            command: (*args).into(),
        },
        _ => cli,
    })
}

fn grouped_commands(table: &clap::Command) -> String {
    let mut text = String::new();
    for (group, names) in GROUPS {
        text.push_str(group);
        text.push_str(":\n");
        for name in names {
            let about = match table.find_subcommand(name) {
                Some(command) => command.get_about().map(ToString::to_string),
                None => Some("Explain a command".to_owned()),
            };
            _ = writeln!(text, "  {name:<12} {}", about.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        table().debug_assert();
    }

    #[test]
    fn each_command_is_in_one_group() {
        let listed: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        for command in table()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let count = listed
                .iter()
                .filter(|name| **name == command.get_name())
                .count();
            assert_eq!(count, 1, "`{}` is listed {count} times", command.get_name());
        }
        for name in listed.iter().filter(|name| **name != "help") {
            assert!(
                table().find_subcommand(name).is_some(),
                "`{name}` is no command"
            );
        }
    }

    #[test]
    fn each_command_and_flag_says_what_it_does() {
        for command in table().get_subcommands() {
            assert!(command.get_about().is_some(), "`{}`", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "`{}` of `{}`",
                    argument.get_id(),
                    command.get_name()
                );
            }
        }
    }

    #[test]
    fn no_command_has_a_flag_of_a_global_s_name() {
        let table = table();
        for global in table
            .get_arguments()
            .filter(|argument| argument.is_global_set())
        {
            for command in table.get_subcommands() {
                let same = command.get_arguments().find(|argument| {
                    argument.get_id() == global.get_id() || argument.get_long() == global.get_long()
                });
                assert!(
                    same.is_none(),
                    "`{}` of `{}`",
                    global.get_id(),
                    command.get_name()
                );
            }
        }
    }

    #[track_caller]
    fn root_of(line: &str) -> Option<std::path::PathBuf> {
        let words = line.split_whitespace().map(Into::into);
        parse(words).unwrap().globals.root
    }

    #[test]
    fn buildx_is_another_name() {
        let build = |line: &str| match parse(line.split_whitespace().map(Into::into)) {
            Ok(Cli {
                globals,
                command: Command::Build(args),
            }) => format!("{:?} {} {:?}", globals.root, args.context, args.tags),
            other => format!("{other:?}"),
        };
        let expected = r#"Some("/r") ctx ["a"]"#;
        assert_eq!(build("kiln buildx build --root /r -t a ctx"), expected);
        assert_eq!(build("kiln --root /r buildx b -t a ctx"), expected);
    }

    #[test]
    fn a_build_means_the_same_by_its_own_table() {
        #[track_caller]
        fn check(line: &str, by_its_own: bool) {
            let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            let own = parse_build(&words);
            assert_eq!(own.is_some(), by_its_own, "{line}");
            if let Some(own) = own {
                let any = parse_any(words).unwrap();
                assert_eq!(format!("{own:?}"), format!("{any:?}"));
            }
        }
        check("kiln build .", true);
        check("kiln build", true);
        check("kiln --root /r build -t a --no-cache --root=/s ctx", true);
        check("kiln build --color never --build-arg A=1 -f - help", true);
        check("kiln --root build build build", true);
        for other in [
            "kiln",
            "kiln images",
            "kiln --root build images",
            "kiln help build",
            "kiln build --help",
            "kiln --version build",
            "kiln build --no-such-flag",
            "kiln buildx build .",
            "kiln run build",
        ] {
            check(other, false);
        }
    }

    #[test]
    fn globals_stand_before_or_after_the_command() {
        assert_eq!(root_of("kiln --root /r images"), Some("/r".into()));
        assert_eq!(root_of("kiln images --root /r"), Some("/r".into()));
        assert_eq!(root_of("kiln --root=/r build ."), Some("/r".into()));
        assert_eq!(root_of("kiln images"), None);
    }
}
