//! Every conversion of a library's error into what the user reads: whose it is, which exit code it
//! has, and which hints help. This is the only file that knows all error types.

mod fetched;
mod rootfs;

use std::error::Error;
use std::io;

use kiln_base::Cancelled;
use kiln_bootstrap::BootstrapError;
use kiln_engine::{
    BaseError, BuildError, ContainerError, LayerError, LoadError, OutputError, RootError,
    SourcePlace, StepError, TransferError,
};
use kiln_exec::{ExecError, SshAgentError};
use kiln_registry::{Failure, RegistryError};
use kiln_store::{BlobError, ImageError, OpenError, SnapshotError, StoreError};
use kiln_sys::fs::FsError;
use kiln_sys::namespace::EnterError;
use kiln_tree::SelectError;

use crate::error::{Blame, CliError, Exit};
use crate::settings::bake::BakeArgsError;
use crate::settings::build::FlagError;
use crate::settings::{BuildArgsError, OutputsError, SettingsError, TrustError};

/// What is decided about an error.
struct Verdict {
    blame: Blame,
    exit: Exit,
    hint: Option<String>,
}

const DOCTOR: &str = "run `kiln doctor` to see what this machine allows";
const PRUNE: &str = "free some space, for example with `kiln prune`";
const BUILT: Verdict = Verdict::new(Blame::User, Exit::Build);
const USAGE: Verdict = Verdict::new(Blame::User, Exit::Usage);
const MACHINE: Verdict = Verdict::new(Blame::Environment, Exit::General);
const SCARCE: Verdict = Verdict::new(Blame::Environment, Exit::Resources);
const REGISTRY: Verdict = Verdict::new(Blame::Environment, Exit::Registry);
const DENIED: Verdict = Verdict::new(Blame::Environment, Exit::Authentication);
const STOPPED: Verdict = Verdict::new(Blame::User, Exit::Cancelled);
const BUG: Verdict = Verdict::new(Blame::Bug, Exit::General);

impl Verdict {
    const fn new(blame: Blame, exit: Exit) -> Self {
        Self {
            blame,
            exit,
            hint: None,
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn maybe(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The verdict on this error. A full disk is that, whatever was being written.
    fn on(self, error: impl Error + Send + Sync + 'static) -> CliError {
        let full = is_disk_full(&error);
        let verdict = if full { SCARCE.hint(PRUNE) } else { self };
        let error = CliError::new(verdict.blame, verdict.exit, error);
        match verdict.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Whether standard output's reader went away, as `head` does.
fn is_broken_pipe(error: &OutputError) -> bool {
    let goes_out = matches!(
        error,
        OutputError::Stdout(_) | OutputError::Archive(_) | OutputError::Export(_)
    );
    goes_out
        && chain(error).any(|error| {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            kind == Some(io::ErrorKind::BrokenPipe)
        })
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            kind,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        ) || error
            .downcast_ref::<StoreError>()
            .is_some_and(StoreError::is_disk_full)
    })
}

/// Conversions that need no more than a verdict.
macro_rules! judged {
    ($($error:ty => $judge:expr;)*) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                let judge: fn(&$error) -> Verdict = $judge;
                judge(&error).on(error)
            }
        })*
    };
}

judged! {
    EnterError => enter;
    OpenError => open;
    StoreError => store;
    OutputsError => outputs;
    LoadError => load;
    BaseError => base;
    ContainerError => container;
    BootstrapError => bootstrap;
    BuildArgsError => build_args;
    FlagError => |_| USAGE;
    BakeArgsError => bake_args;
    TrustError => |_| USAGE;
    FsError => |_| MACHINE;
}

impl From<OutputError> for CliError {
    fn from(error: OutputError) -> Self {
        let nobody_reads = is_broken_pipe(&error);
        let error = output(&error).on(error);
        if nobody_reads {
            error.already_told()
        } else {
            error
        }
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        match &error {
            SettingsError::File(file) => {
                let excerpt = file.excerpt();
                Self::usage(error).excerpt(excerpt)
            }
            SettingsError::NoRoot => Self::usage(error).hint("name the directory: `--root DIR`"),
            SettingsError::Read { .. }
            | SettingsError::Value { .. }
            | SettingsError::SeveralPlatforms(_) => Self::usage(error),
        }
    }
}

impl From<BuildError> for CliError {
    fn from(error: BuildError) -> Self {
        let excerpt = match &error {
            BuildError::Dockerfile(errors) => {
                let render = |diagnostic| {
                    kiln_dockerfile::render(diagnostic, &errors.file, &errors.text) + "\n\n"
                };
                errors.diagnostics.iter().map(render).collect()
            }
            BuildError::Base { at: Some(at), .. }
            | BuildError::Step { at: Some(at), .. }
            | BuildError::Source { at, .. } => quote(at),
            _ => String::new(),
        };
        let nobody_reads = matches!(&error, BuildError::Output(output) if is_broken_pipe(output));
        let error = build(&error).on(error);
        let error = if error.exit == Exit::Cancelled {
            // Where it was when it was stopped, nobody asked.
            Self::new(error.blame, error.exit, Cancelled)
        } else {
            error.excerpt(excerpt)
        };
        if nobody_reads {
            error.already_told()
        } else {
            error
        }
    }
}

/// The line of the Dockerfile that is at fault, with its file and number.
fn quote(at: &SourcePlace) -> String {
    kiln_dockerfile::quote(at.span, &at.file, &at.text) + "\n"
}

fn enter(error: &EnterError) -> Verdict {
    match error {
        EnterError::Threads(_) => BUG,
        other => SCARCE.hint(other.hint().unwrap_or(DOCTOR)),
    }
}

fn open(error: &OpenError) -> Verdict {
    match error {
        OpenError::Store(error) => store(error),
        OpenError::NetworkFilesystem { .. }
        | OpenError::OtherOwner { .. }
        | OpenError::NotAStore { .. }
        | OpenError::TooNew { .. } => USAGE.maybe(error.hint()),
    }
}

fn store(error: &StoreError) -> Verdict {
    match error {
        StoreError::Cancelled(_) => STOPPED,
        error if error.is_disk_full() => SCARCE.hint(PRUNE),
        StoreError::Io { .. }
        | StoreError::Tree { .. }
        | StoreError::Database(_)
        | StoreError::Damaged { .. } => MACHINE.maybe(error.hint()),
    }
}

fn blob(error: &BlobError) -> Verdict {
    match error {
        BlobError::WrongDigest { .. }
        | BlobError::WrongSize { .. }
        | BlobError::TooLarge { .. } => REGISTRY,
        BlobError::Damaged { .. } => MACHINE.hint("remove the image and fetch or build it again"),
        BlobError::Source(_) => MACHINE,
        BlobError::Store(error) => store(error),
    }
}

fn record(error: &ImageError) -> Verdict {
    match error {
        ImageError::Store(error) => store(error),
        ImageError::Ambiguous { .. } => USAGE,
        ImageError::NoBlob(_) => MACHINE,
    }
}

fn snapshot(error: &SnapshotError) -> Verdict {
    match error {
        SnapshotError::Store(error) => store(error),
        SnapshotError::Unknown(_) => MACHINE,
    }
}

fn build(error: &BuildError) -> Verdict {
    match error {
        BuildError::Context { .. } | BuildError::Epoch(_) => USAGE,
        BuildError::ReadDockerfile { .. } => USAGE.hint("name the file: `-f FILE`"),
        BuildError::NotADockerfile { .. }
        | BuildError::Ignore { .. }
        | BuildError::Dockerfile(_)
        | BuildError::NeedsItself(_) => BUILT,
        BuildError::Base { source, .. } => base(source),
        BuildError::Step { source, .. } => step(source),
        BuildError::Layer(error) => layer(error),
        BuildError::Assemble(_) => REGISTRY,
        BuildError::Graph(_) => BUG,
        BuildError::Output(error) => output(error),
        BuildError::Note(error) => base(error),
        BuildError::Store(error) => store(error),
        BuildError::Root(error) => root(error),
        BuildError::Source { source, .. } | BuildError::Fetch(source) => fetched::source(source),
        BuildError::Cache(error) => fetched::cache(error),
        BuildError::InlineCache(error) => fetched::inline_cache(error),
        BuildError::Cancelled(_) => STOPPED,
    }
}

fn base(error: &BaseError) -> Verdict {
    match error {
        BaseError::Layers { .. } | BaseError::Image(_) => REGISTRY,
        BaseError::NoLayout(_) => BUG,
        BaseError::Layout(_) | BaseError::NotInLayout { .. } => USAGE,
        BaseError::ReadLayout { .. } => MACHINE,
        BaseError::Blob { source, .. } => blob(source),
        BaseError::Transfer(TransferError::Registry(RegistryError {
            failure: Failure::Unreachable(_),
            ..
        })) => REGISTRY.hint("without a route to a registry, `kiln bootstrap` makes base images"),
        BaseError::Transfer(error) => transfer(error),
        BaseError::Root(error) => root(error),
        BaseError::Snapshot(error) => snapshot(error),
        BaseError::Store(error) => store(error),
    }
}

fn step(error: &StepError) -> Verdict {
    match error {
        StepError::Exec(ExecError::Cancelled) | StepError::Cancelled(_) => STOPPED,
        StepError::Exec(error) => exec(error),
        StepError::Select(SelectError::NotFound {
            did_you_mean: Some(name),
            ..
        }) => BUILT.hint(format!("did you mean `{name}`?")),
        StepError::Select(SelectError::Excluded { .. }) => {
            BUILT.hint("add a line that begins with `!` to the ignore file to bring it back")
        }
        StepError::NoSecret(id) => BUILT.hint(format!("give it: `--secret id={id},src=FILE`")),
        StepError::NoAgent(id) => BUILT.hint(format!("give it: `--ssh {id}`")),
        StepError::Agent { source, .. } => {
            let known = source.downcast_ref::<SshAgentError>();
            USAGE.maybe(known.and_then(SshAgentError::hint))
        }
        StepError::Process { .. }
        | StepError::User(_)
        | StepError::Select(_)
        | StepError::Digest(_)
        | StepError::Copy(_)
        | StepError::Exclude(_)
        | StepError::Mode(_)
        | StepError::Archive { .. }
        | StepError::SecretVariable(_)
        | StepError::Mount { .. }
        | StepError::ReadBundle { .. } => BUILT,
        StepError::UnknownBase(_) => BUG,
        StepError::NoContext => {
            BUILT.hint("give a directory as the context, and the Dockerfile with `-f -`")
        }
        StepError::Context(error) => build(error),
        StepError::Source(error) => fetched::source(error),
        StepError::Platform(why) => SCARCE.maybe(why.hint()),
        StepError::Resource { .. } => USAGE,
        StepError::Cache(error) => fetched::cache(error),
        StepError::Layer(error) => layer(error),
        StepError::Root(error) => root(error),
        StepError::Base(error) => base(error),
        StepError::FillCache(_) | StepError::Fs(_) => MACHINE,
        StepError::Snapshot(error) => snapshot(error),
        StepError::Store(error) => store(error),
    }
}

fn exec(error: &ExecError) -> Verdict {
    let verdict = match error {
        ExecError::Cancelled => STOPPED,
        ExecError::NoCommand
        | ExecError::NotFound { .. }
        | ExecError::NotExecutable { .. }
        | ExecError::WorkingDirectory { .. }
        | ExecError::Mount { .. } => BUILT,
        ExecError::IdNotMapped { .. }
        | ExecError::Setup { .. }
        | ExecError::Ulimit { .. }
        | ExecError::NoControlGroup { .. }
        | ExecError::ControlGroup { .. }
        | ExecError::Emulator { .. } => SCARCE,
        // `Helper` and `HelperDied`; the enum may grow.
        _ => MACHINE,
    };
    verdict.maybe(error.hint())
}

fn layer(error: &LayerError) -> Verdict {
    match error {
        LayerError::Empty => BUG,
        LayerError::NotALayer(_) | LayerError::Recompress(_) => REGISTRY,
        LayerError::ZstdInDocker => USAGE.hint("build with `--format oci`"),
        LayerError::Root(error) => root(error),
        LayerError::Diff(_) | LayerError::Write(_) | LayerError::MissingBlob(_) => MACHINE,
        LayerError::Blob(error) => blob(error),
        LayerError::Snapshot(error) => snapshot(error),
        LayerError::Store(error) => store(error),
        LayerError::Cancelled(_) => STOPPED,
    }
}

fn root(error: &RootError) -> Verdict {
    match error {
        RootError::Overlay(_) => SCARCE.hint(DOCTOR),
        RootError::LayerGone(_) | RootError::BlobGone(_) => MACHINE.hint("run the command again"),
        RootError::Unpack { .. } => REGISTRY,
        RootError::Snapshot(error) => snapshot(error),
        RootError::Store(error) => store(error),
        RootError::Flatten(_) | RootError::Handle(_) | RootError::Fs(_) => MACHINE,
    }
}

fn outputs(error: &OutputsError) -> Verdict {
    match error {
        OutputsError::NoEngine => {
            SCARCE.hint("start Docker or Podman, or write an archive: `-o type=docker,dest=FILE`")
        }
        OutputsError::RemoteEngine(_) => {
            USAGE.hint("write an archive: `kiln save IMAGE | docker load`")
        }
        OutputsError::ZstdInDocker => USAGE.hint("leave `--format oci` as it is"),
        OutputsError::Estargz => USAGE.hint("ask for `compression=gzip` or `compression=zstd`"),
        OutputsError::Delete(_) => USAGE.hint("allow it: `--allow buildx.local.delete`"),
        OutputsError::Nowhere => USAGE.hint("ask for `type=cacheonly`"),
        _ => USAGE,
    }
}

fn build_args(error: &BuildArgsError) -> Verdict {
    match error {
        BuildArgsError::Outputs(error) => outputs(error),
        BuildArgsError::PushNeedsName => USAGE.hint("add `-t REGISTRY/NAME`"),
        BuildArgsError::Spool(_) | BuildArgsError::Stdin(_) => {
            MACHINE.hint("name another folder for temporary files: `TMPDIR=DIR`")
        }
        BuildArgsError::FilterOfNothing => USAGE.hint("leave one of the two out"),
        _ => USAGE,
    }
}

fn bake_args(error: &BakeArgsError) -> Verdict {
    match error {
        BakeArgsError::Remote(_) => {
            USAGE.hint("clone it and bake there; a file's contexts may be git repositories")
        }
        BakeArgsError::NotAllowed(missing) => {
            let flags: Vec<String> = missing
                .iter()
                .map(|wanted| format!("--allow {wanted}"))
                .collect();
            USAGE.hint(format!("allow it: `{}`", flags.join(" ")))
        }
        BakeArgsError::Read(_)
        | BakeArgsError::Stdin(_)
        | BakeArgsError::NotText(_)
        | BakeArgsError::Variable(_)
        | BakeArgsError::Switch { .. }
        | BakeArgsError::Permission(_)
        | BakeArgsError::List(_) => USAGE,
    }
}

fn output(error: &OutputError) -> Verdict {
    match error {
        OutputError::Unpack(error) => base(error),
        OutputError::ManyPlatforms(_)
        | OutputError::DockerWords(_)
        | OutputError::DanglingPrefix(_)
        | OutputError::AnnotationPlatform { .. }
        | OutputError::AnnotationWithoutIndex(_)
        | OutputError::FurtherScan(_)
        | OutputError::Provenance(_)
        | OutputError::SamePath { .. }
        | OutputError::Ambiguous(_)
        | OutputError::Image(_) => USAGE,
        OutputError::NoName(_) => USAGE.hint("add `-t NAME`"),
        OutputError::NoSuchImage(_) => USAGE.hint("`kiln images` lists those that are there"),
        OutputError::Convert(_) => USAGE.hint("keep the image in its own format: `--format oci`"),
        OutputError::Transfer(error) => transfer(error),
        OutputError::Root(error) => root(error),
        OutputError::Record(error) => record(error),
        OutputError::Blob(error) => blob(error),
        OutputError::Store(error) => store(error),
        OutputError::Cancelled(_) => STOPPED,
        OutputError::Load { .. } => SCARCE,
        OutputError::Write { .. }
        | OutputError::Stdout(_)
        | OutputError::Archive(_)
        | OutputError::Layout(_)
        | OutputError::Export(_)
        | OutputError::Scan(_)
        | OutputError::Fs(_) => MACHINE,
    }
}

fn load(error: &LoadError) -> Verdict {
    match error {
        LoadError::Archive(_) => USAGE,
        LoadError::Record(error) => record(error),
        LoadError::Store(error) => store(error),
    }
}

fn transfer(error: &TransferError) -> Verdict {
    match error {
        TransferError::Platform { .. } => {
            REGISTRY.hint("name a platform that it has: `--platform OS/ARCHITECTURE`")
        }
        TransferError::Registry(error) => registry(error),
        TransferError::Document { .. } | TransferError::Image(_) => REGISTRY,
        TransferError::Blob { source, .. } => blob(source),
        TransferError::Record(error) => record(error),
        TransferError::Store(error) => store(error),
        TransferError::Cancelled(_) => STOPPED,
        TransferError::MissingBlob(_) => MACHINE,
    }
}

fn registry(error: &RegistryError) -> Verdict {
    let host = &error.attempt.host;
    match &error.failure {
        Failure::Denied {
            anonymous: true, ..
        } => DENIED.hint(format!(
            "check the name; if it is right, log in: `docker login {host}` or `podman login {host}`"
        )),
        Failure::Denied { .. }
        | Failure::Token {
            status: 400..=403, ..
        } => DENIED.hint(format!(
            "check the name; if it is right, log in again: `docker login {host}`"
        )),
        Failure::Credentials(_) => DENIED,
        Failure::Tls(_) => REGISTRY.hint(format!(
            "name its authority in the configuration: `[registry.\"{host}\"]`, `ca = [\"FILE\"]`"
        )),
        Failure::Settings(_) => USAGE.hint("`kiln config show` prints them"),
        Failure::RateLimited { .. } => REGISTRY.hint("log in, use a mirror, or wait"),
        Failure::Local(_) => MACHINE,
        Failure::Cancelled(_) => STOPPED,
        Failure::Unreachable(_)
        | Failure::Token { .. }
        | Failure::NotFound { .. }
        | Failure::Status { .. }
        | Failure::Protocol(_)
        | Failure::Digest { .. }
        | Failure::TooLarge(_)
        | Failure::Document(_)
        | Failure::Interrupted { .. } => REGISTRY,
    }
}

fn container(error: &ContainerError) -> Verdict {
    match error {
        ContainerError::Name { .. } | ContainerError::Volume { .. } | ContainerError::User(_) => {
            USAGE
        }
        ContainerError::Base(error) => base(error),
        ContainerError::Image(error) => output(error),
        ContainerError::Root(error) => root(error),
        ContainerError::Trust(error) => step(error),
        ContainerError::Exec(error @ ExecError::NotFound { .. }) => Verdict {
            exit: Exit::NotFound,
            ..exec(error)
        },
        ContainerError::Exec(error @ ExecError::NotExecutable { .. }) => Verdict {
            exit: Exit::NotExecutable,
            ..exec(error)
        },
        ContainerError::Exec(error) => exec(error),
    }
}

fn bootstrap(error: &BootstrapError) -> Verdict {
    let verdict = match error {
        BootstrapError::NoSuite { .. }
        | BootstrapError::SuiteForm { .. }
        | BootstrapError::MirrorForm { .. }
        | BootstrapError::NoPort { .. }
        | BootstrapError::NoSources { .. }
        | BootstrapError::UnknownSuite { .. } => USAGE,
        BootstrapError::MissingProgram { .. }
        | BootstrapError::MissingKeyring { .. }
        | BootstrapError::SingleId
        | BootstrapError::Run { .. } => SCARCE,
        BootstrapError::Unreachable { .. } => REGISTRY,
        BootstrapError::Helper { .. } => BUILT,
        BootstrapError::Blob(error) => blob(error),
        BootstrapError::Image(error) => record(error),
        BootstrapError::Store(error) => store(error),
        BootstrapError::Cancelled(_) => STOPPED,
        _ => MACHINE,
    };
    verdict.maybe(error.hint())
}

#[cfg(test)]
mod tests {
    use kiln_engine::SourceError;
    use kiln_exec::ExitStatus;
    use kiln_fetch::git::{GitError, GitProblem};
    use kiln_registry::Attempt;

    use super::*;

    #[track_caller]
    fn check(error: impl Into<CliError>, code: u8, hint: &str) {
        let error = error.into();
        assert_eq!(error.exit.code(), code);
        assert_eq!(
            error.hints.concat().contains(hint),
            !hint.is_empty() || error.hints.is_empty()
        );
    }

    fn step(source: StepError) -> BuildError {
        BuildError::Step {
            step: "[1/1] RUN x".to_owned(),
            at: None,
            source,
        }
    }

    fn from_registry(failure: Failure) -> BaseError {
        let attempt = Box::new(Attempt {
            action: "fetch manifest `1`".to_owned(),
            host: "r.example".to_owned(),
            repository: "a".to_owned(),
        });
        TransferError::Registry(RegistryError { attempt, failure }).into()
    }

    #[test]
    fn a_program_that_is_not_in_the_image_has_the_shells_code() {
        let program = "/nope".to_owned();
        let error = ContainerError::Exec(ExecError::NotFound { program });
        assert_eq!(CliError::from(error).exit.code(), 127);
    }

    #[test]
    fn a_failed_step_is_a_failed_build() {
        let command = vec!["make".to_owned()];
        let status = ExitStatus::Code(2);
        check(step(StepError::Process { command, status }), 2, "");
        check(step(StepError::NoContext), 2, "-f -");
    }

    #[test]
    fn what_a_step_was_not_given_can_be_given() {
        let missing = || "npm".to_owned();
        let secret = "`--secret id=npm,src=FILE`";
        check(step(StepError::NoSecret(missing())), 2, secret);
        check(step(StepError::NoAgent(missing())), 2, "`--ssh npm`");
    }

    #[test]
    fn sources_are_judged_as_registries_are() {
        let failed = |problem| {
            let remote = "https://host/a.git".to_owned();
            BuildError::Fetch(SourceError::Git(GitError::Failed {
                action: "fetch",
                remote,
                problem,
                output: String::new(),
            }))
        };
        check(failed(GitProblem::Unreachable), 3, "");
        let had_credential = false;
        check(failed(GitProblem::Denied { had_credential }), 4, "");
        check(
            failed(GitProblem::NotFound { had_credential }),
            3,
            "GIT_AUTH_TOKEN",
        );
    }

    #[test]
    fn a_source_is_shown_in_its_line() {
        let text = "FROM a\nADD https://h/x /\n".to_owned();
        let span = kiln_dockerfile::Span { start: 7, end: 24 };
        let at = Box::new(SourcePlace {
            file: "Dockerfile".to_owned(),
            text,
            span,
        });
        let source = SourceError::NotAsked("https://h/x".to_owned());
        let error = CliError::from(BuildError::Source { at, source });
        assert!(error.source_text().contains("ADD https://h/x /"));
        assert!(error.source_text().contains("^^^"));
    }

    #[test]
    fn registries_and_credentials_have_their_own_codes() {
        let detail = String::new;
        check(from_registry(Failure::NotFound { detail: detail() }), 3, "");
        let denied = |anonymous| Failure::Denied {
            anonymous,
            detail: detail(),
        };
        check(from_registry(denied(true)), 4, "docker login r.example");
        check(from_registry(denied(false)), 4, "docker login r.example");
    }

    #[test]
    fn only_who_fetches_is_told_of_bootstrap() {
        let unreachable = || Failure::Unreachable("no route".into());
        check(from_registry(unreachable()), 3, "kiln bootstrap");
        let BaseError::Transfer(pushed) = from_registry(unreachable()) else {
            panic!("a failed transfer")
        };
        check(OutputError::Transfer(pushed), 3, "");
    }

    #[test]
    fn a_full_disk_is_that_wherever_it_is_noticed() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let fs = || FsError::new("write", "/x", full());
        check(fs(), 6, "kiln prune");
        check(step(StepError::Fs(fs())), 6, "kiln prune");
        let store = StoreError::Io {
            action: "write",
            path: "/s".into(),
            cause: full(),
        };
        check(store, 6, "kiln prune");
    }

    #[test]
    fn stopping_is_not_failing() {
        check(BuildError::Cancelled(Cancelled), 8, "");
        check(step(StepError::Exec(ExecError::Cancelled)), 8, "");
        check(from_registry(Failure::Cancelled(Cancelled)), 8, "");
    }

    #[test]
    fn what_the_user_asked_for_is_a_usage_error() {
        check(OutputError::NoSuchImage("x".to_owned()), 5, "kiln images");
        check(BuildArgsError::PushNeedsName, 5, "-t");
    }
}
