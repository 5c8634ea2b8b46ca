//! The syntax tree of a Dockerfile.
//!
//! The tree holds what was written, typed as far as this is possible without values for variables.
//! Fields that BuildKit expands (paths, names, ports, most flags) are still unexpanded text; each
//! field's documentation says so. Deliberately absent: anything that needs a base image, a build
//! argument or a platform.

use std::time::Duration;

use crate::span::{Span, Spanned, Text};

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The parser directives at the top of the file.
    pub directives: Directives,
    /// `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Spanned<Vec<ArgDefinition>>>,
    /// The stages in the order in which they are written.
    pub stages: Vec<Stage>,
    /// The lines of every instruction in order, also of those with errors.
    pub lines: Vec<InstructionLines>,
}

impl Dockerfile {
    /// The lines of the instruction that the byte `offset` is in.
    pub fn lines_at(&self, offset: usize) -> Option<&InstructionLines> {
        let next = self
            .lines
            .partition_point(|lines| lines.span.start <= offset);
        let lines = self.lines.get(next.checked_sub(1)?)?;
        (offset <= lines.span.end).then_some(lines)
    }
}

/// The lines that one instruction takes, and what stands above them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionLines {
    /// From the first byte of the instruction to the last of its last line: the terminator of its
    /// last heredoc, where it has some.
    pub span: Span,
    /// The comments above it, without `#` and outer blanks. An empty comment separates those that
    /// belong to the instruction from those that don't; an empty line does not.
    pub comments: Vec<Text>,
    /// The first empty line inside of the instruction.
    pub empty_continuation: Option<Span>,
}

/// The parser directives (`# escape=…`) at the top of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The first word of `# syntax=`: the frontend image. Also read from the `//` and JSON forms.
    pub syntax: Option<Text>,
    /// The value of `# check=`.
    pub check: Option<Text>,
    /// The character that escapes and continues lines: `\` or `` ` ``.
    pub escape: char,
}

/// One build stage: a `FROM` and the instructions up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The `FROM` instruction.
    pub from: From,
    /// The instructions of the stage in order. Instructions with errors are left out; each has at
    /// least one error diagnostic.
    pub commands: Vec<Command>,
}

/// `FROM [--platform=] base [AS name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// Image, stage name or `scratch`, unexpanded.
    pub base: Text,
    /// `--platform`, unexpanded.
    pub platform: Option<Text>,
    /// The stage's name in lower case.
    pub name: Option<Text>,
    /// The instruction as one line, as written.
    pub source: String,
    /// The whole instruction.
    pub span: Span,
}

/// One instruction other than `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it says.
    pub instruction: Instruction,
    /// The instruction as one line, as written: continuations joined, comments removed, heredoc
    /// bodies not included.
    pub source: String,
    /// The whole instruction, with the bodies of its heredocs.
    pub span: Span,
}

/// What an instruction says. `FROM` begins a [`Stage`] and is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`
    Add(Add),
    /// `ARG`
    Arg(Vec<ArgDefinition>),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`
    Env(Vec<KeyValue>),
    /// `EXPOSE`: port specifications, unexpanded, in the order written.
    Expose(Vec<Text>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Vec<KeyValue>),
    /// `MAINTAINER`: the author, never expanded.
    Maintainer(Text),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`: the words of the JSON array, at least one.
    Shell(Vec<String>),
    /// `STOPSIGNAL`, unexpanded.
    StopSignal(Text),
    /// `USER`, unexpanded.
    User(Text),
    /// `VOLUME`: paths, unexpanded, at least one.
    Volume(Vec<Text>),
    /// `WORKDIR`, unexpanded.
    Workdir(Text),
}

impl Instruction {
    /// The instruction's name in upper case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// One `name` or `name=default` of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDefinition {
    /// The name. It is never expanded.
    pub name: Text,
    /// The default, unexpanded; `None` where there is no `=`.
    pub default: Option<String>,
}

/// One `name=value` of an `ENV` or `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The name, unexpanded.
    pub key: String,
    /// The value, unexpanded, with its quotes.
    pub value: String,
    /// Whether it was written in the old form `ENV name value`.
    pub legacy: bool,
    /// Where the pair was written.
    pub span: Span,
}

/// The words of a command, as JSON array or as text for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// The JSON form: the words, which may be none.
    Exec(Vec<String>),
    /// The shell form: text for the stage's shell, never expanded by the builder. May be empty.
    Shell(String),
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: CommandLine,
    /// The heredocs on the line, in order. Only with the shell form.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Option<Spanned<Network>>,
    /// `--security`.
    pub security: Option<Spanned<Security>>,
    /// `--device`, in order, as written (a labs feature).
    pub devices: Vec<Text>,
}

/// What a `RUN` runs, after its heredocs have found their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunForm<'a> {
    /// These words, without a shell.
    Exec(&'a [String]),
    /// This text, by the stage's shell. Heredocs the shell has to handle come after the first line.
    Shell(String),
    /// This text, by the stage's shell: the body of a heredoc that is the whole command.
    Body(String),
    /// This program, which begins with `#!`, as a file of that name and without a shell.
    Script {
        /// The heredoc's name.
        name: &'a str,
        /// The program.
        content: String,
    },
}

/// A heredoc: `<<EOF`, its options and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without its quotes.
    pub name: String,
    /// The number before `<<`; 0 where there is none.
    pub fd: u32,
    /// Whether variables in the body are expanded: no part of the delimiter is quoted.
    pub expand: bool,
    /// Whether leading tabs are stripped (`<<-`). [`Heredoc::body`] still has them.
    pub strip_tabs: bool,
    /// The lines up to the terminator, line endings included, as written.
    pub body: String,
    /// The word `<<EOF` in the instruction.
    pub span: Span,
    /// The body's place in the file.
    pub body_span: Span,
}

impl Heredoc {
    /// The body as it is used as a file: leading tabs are gone where `<<-` asks for it.
    pub fn content(&self) -> String {
        if self.strip_tabs {
            self.body
                .split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect()
        } else {
            self.body.clone()
        }
    }
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// The build's default.
    Default,
    /// An own network without any interface but `lo`.
    None,
    /// The host's network.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// The default sandbox.
    Sandbox,
    /// Privileged.
    Insecure,
}

/// `RUN --mount`: the fields, which may hold variables, until [`MountFlag::resolve`] types them.
///
/// `type`, `from` and everything else BuildKit can check before expansion was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The comma separated fields, CSV quoting removed, unexpanded.
    pub fields: Vec<String>,
    /// The whole flag.
    pub span: Span,
}

/// A `--mount` with every value expanded and typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// `target`, `dst` or `destination`.
    pub target: Option<String>,
    /// Whether the mount can't be written; the type's default is applied.
    pub read_only: bool,
}

/// The type of a mount and the options that only it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// `type=bind`
    Bind {
        /// Stage, named context or image; `None` is the build context.
        from: Option<String>,
        /// The path inside of it.
        source: Option<String>,
    },
    /// `type=cache`
    Cache {
        /// The cache's name; the default is the cleaned target.
        id: Option<String>,
        /// Where the cache's first content comes from.
        from: Option<String>,
        /// The path inside of it.
        source: Option<String>,
        /// Who else may use it at the same time.
        sharing: Sharing,
        /// Owner and mode of the cache's root.
        owner: FileOptions,
    },
    /// `type=tmpfs`
    Tmpfs {
        /// Size limit in bytes.
        size: Option<u64>,
    },
    /// `type=secret`
    Secret {
        /// `id`, or its alias `source`; the default is the target's file name.
        id: Option<String>,
        /// The environment variable to set; empty means the name of the secret.
        env: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// Owner and mode of the file.
        owner: FileOptions,
    },
    /// `type=ssh`
    Ssh {
        /// The agent's name; the default is `default`.
        id: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// Owner and mode of the socket.
        owner: FileOptions,
    },
}

/// `uid`, `gid` and `mode` of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// `sharing` of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Concurrent writers see each other's writes.
    #[default]
    Shared,
    /// A concurrent writer gets a cache of its own.
    Private,
    /// A concurrent writer waits.
    Locked,
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Sources and destination.
    pub paths: Paths,
    /// What it shares with `COPY`.
    pub options: CopyOptions,
    /// `--checksum`, unexpanded.
    pub checksum: Option<Text>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<Spanned<bool>>,
    /// `--unpack`.
    pub unpack: Option<Spanned<bool>>,
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Sources and destination.
    pub paths: Paths,
    /// What it shares with `ADD`.
    pub options: CopyOptions,
    /// `--from`: a stage's name or index, a named context or an image. Never expanded.
    pub from: Option<Text>,
    /// `--parents`.
    pub parents: bool,
}

/// Sources and destination of an `ADD` or `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Sources, in the order written.
    pub sources: Vec<CopySource>,
    /// The destination, unexpanded.
    pub destination: Text,
}

/// One source of an `ADD` or `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path, wildcard, URL or git reference, unexpanded.
    Path(Text),
    /// A file whose content is in the Dockerfile; its name is the heredoc's.
    Heredoc(Heredoc),
}

/// The flags that `ADD` and `COPY` share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// `--chown`, unexpanded.
    pub chown: Option<Text>,
    /// `--chmod`, unexpanded; after expansion [`crate::mode::Mode`] parses it.
    pub chmod: Option<Text>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order. They are never expanded.
    pub exclude: Vec<Text>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: no check, also not the base's.
    None,
    /// `HEALTHCHECK CMD`.
    Check {
        /// What to run.
        command: CommandLine,
        /// `--interval`; zero means inherit, as everywhere here.
        interval: Duration,
        /// `--timeout`.
        timeout: Duration,
        /// `--start-period`.
        start_period: Duration,
        /// `--start-interval`.
        start_interval: Duration,
        /// `--retries`.
        retries: u32,
    },
}

/// `ONBUILD`: an instruction to be run by the build of a child image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction as text, as it goes into the image's configuration: line continuations
    /// joined, heredoc bodies after it.
    pub trigger: String,
    /// The same, parsed; `None` where it has errors, which are warnings here and errors in the
    /// build of the child.
    pub parsed: Option<Box<Command>>,
}
