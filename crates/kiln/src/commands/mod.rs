//! One function per command: decided values in, an exit code out.

mod bake;
mod bootstrap;
mod build;
mod cache;
mod diff;
mod doctor;
mod graph;
mod history;
mod image;
mod imagetools;
mod layers;
mod lint;
mod meta;
mod metadata;
mod question;
mod rootfs;
mod run;
mod store;
mod transfer;

use std::process::ExitCode;
use std::time::SystemTime;

use kiln_base::Timestamp;
use kiln_base::trace::Tracer;
use kiln_engine::Engine;
use kiln_registry::{Client, Credential};
use kiln_store::{Clock, Store};
use kiln_sys::namespace::{self, Grade, GradeWish};

use crate::args::{Cli, Command, ProfileArgs, SandboxChoice};
use crate::error::CliError;
use crate::profile;
use crate::render::LogFile;
use crate::settings::{self, Asked, Environment, Layer, Packing, Settings};
use crate::style::Style;
use crate::terminal;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Invocation {
    environment: Environment,
    settings: Settings,
    /// Where the settings came from.
    layer: Layer,
    pub(crate) style: Style,
    /// Where the time goes; off unless `--profile` was given.
    tracer: Tracer,
}

impl Invocation {
    /// Decides the settings for a command line.
    pub(crate) fn decide(
        cli: &Cli,
        environment: Environment,
        tracer: Tracer,
    ) -> Result<Self, CliError> {
        let span = tracer.span("settings");
        let files = settings::read_files(cli.globals.config_file.as_deref(), &environment)?;
        let layer = files
            .layer
            .under(Layer::from_environment(&environment))
            .under(settings::from_flags(cli));
        let settings = Settings::resolve(&layer, files.registries, &environment)?;
        let style = terminal::style(settings.color, &environment);
        drop(span);
        Ok(Self {
            environment,
            settings,
            layer,
            style,
            tracer,
        })
    }

    /// Enters the sandbox's namespaces and opens the store.
    ///
    /// To be called while the process has one thread: a process with more can't change its user
    /// namespace.
    fn open_store(&self) -> Result<(Store, Grade), CliError> {
        let wish = match self.settings.sandbox {
            SandboxChoice::Auto => GradeWish::Strongest,
            SandboxChoice::Rootless => GradeWish::Rootless,
            SandboxChoice::SingleId => GradeWish::SingleId,
        };
        let grade = self.tracer.within("namespace", || namespace::enter(wish))?;
        let open = || Store::open(&self.settings.root, Clock::new(now));
        let store = self.tracer.within("open the store", open)?;
        store.trace(&self.tracer);
        Ok((store, grade))
    }

    /// The engine on the store; see [`Invocation::open_store`].
    fn open_engine(&self) -> Result<Engine, CliError> {
        self.open_engine_with(Vec::new())
    }

    /// The same, with credentials for these registries.
    fn open_engine_with(&self, given: Vec<(String, Credential)>) -> Result<Engine, CliError> {
        let (store, grade) = self.open_store()?;
        let _span = self.tracer.span("make the client");
        let seed = u64::from(std::process::id());
        let mut config = settings::client_config(&self.settings, &self.environment, seed);
        config.credentials.given = given;
        let settings = kiln_engine::Settings {
            grade,
            jobs: self.settings.jobs,
            now,
            // Without the file a step resolves no names, as the host doesn't.
            resolv_conf: kiln_sys::files::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            flatten: settings::flatten(&self.environment)?,
        };
        Ok(
            Engine::new(store, Client::new(config), Clock::new(now), settings)
                .traced(self.tracer.clone()),
        )
    }

    /// Does the work of a command that has `--profile`.
    fn profiled(
        &self,
        args: &ProfileArgs,
        work: impl FnOnce() -> Result<ExitCode, CliError>,
    ) -> Result<ExitCode, CliError> {
        profile::profiled(args, (&self.environment, &self.tracer), work)
    }

    /// A log of what is about to be done. The store has to be open.
    fn log(&self) -> Option<LogFile> {
        LogFile::begin(&self.settings.root.join("logs"), now())
    }

    /// How layers are written where no output says otherwise.
    fn packing(&self) -> Result<Packing, CliError> {
        let nothing = Asked::default();
        let outputs = settings::resolve_outputs(nothing, &self.settings, &self.environment)?;
        Ok(outputs.packing)
    }
}

/// The one clock.
fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Runs a command that needs no settings: it works even if the configuration is broken.
pub(crate) fn run_without_settings(command: &Command) -> Option<Result<ExitCode, CliError>> {
    match command {
        Command::Completions(args) => Some(meta::completions(args)),
        Command::Man(args) => Some(meta::man(args)),
        Command::Version(args) => Some(meta::version(args)),
        _ => None,
    }
}

/// Runs a command.
pub(crate) fn run(command: &Command, invocation: &Invocation) -> Result<ExitCode, CliError> {
    match command {
        Command::Build(args) => {
            invocation.profiled(&args.show.profile, || build::build(args, invocation))
        }
        Command::Bake(args) => invocation.profiled(&args.profile, || bake::bake(args, invocation)),
        Command::Buildx(_) => unreachable!("the parser puts the command itself in its place"),
        Command::Lint(args) => lint::lint(args, invocation),
        Command::Graph(args) => graph::graph(args, invocation),
        Command::History(args) => history::history(args, invocation),
        Command::Cache(args) => cache::cache(args, invocation),
        Command::Run(args) => run::run(args, invocation),
        Command::Rootfs(args) => rootfs::rootfs(args, invocation),
        Command::Bootstrap(args) => bootstrap::bootstrap(args, invocation),
        Command::Images(args) => image::images(args, invocation),
        Command::Inspect(args) => image::inspect(args, invocation),
        Command::Diff(args) => diff::diff(args, invocation),
        Command::Tag(args) => image::tag(args, invocation),
        Command::Rm(args) => image::rm(args, invocation),
        Command::Pull(args) => {
            invocation.profiled(&args.profile, || transfer::pull(args, invocation))
        }
        Command::Push(args) => {
            invocation.profiled(&args.profile, || transfer::push(args, invocation))
        }
        Command::Save(args) => transfer::save(args, invocation),
        Command::Load(args) => transfer::load(args, invocation),
        Command::Imagetools(args) => imagetools::imagetools(args, invocation),
        Command::Du(args) => store::du(args, invocation),
        Command::Prune(args) => store::prune(args, invocation),
        Command::Doctor(args) => doctor::doctor(args, invocation),
        Command::Config(args) => meta::config(args, invocation),
        Command::Completions(args) => meta::completions(args),
        Command::Man(args) => meta::man(args),
        Command::Version(args) => meta::version(args),
    }
}
