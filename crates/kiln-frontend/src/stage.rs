//! A stage while it is lowered, and the instructions that only change its configuration.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_dockerfile::ast::{
    ArgDefinition, Command, CommandLine, Healthcheck, Instruction, KeyValue,
};
use kiln_dockerfile::{Diagnostic, Span, Text};
use kiln_graph::{Op, StepIndex, StepMeta, WorkdirOp};
use kiln_oci::{History, ImageConfig, Platform};

use crate::lower::Lowerer;
use crate::scope::{NOT_IN_ENVIRONMENT, Scope, refuse};
use crate::text::Result;
use crate::{go, paths, ports, signals};

/// The comment of each new entry of the history, by which tools know who wrote it.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What a stage has come to so far.
#[derive(Debug, Clone)]
pub(crate) struct StageState {
    /// The step whose output is the stage's root.
    pub(crate) root: StepIndex,
    /// Whose programs run in it.
    pub(crate) platform: Platform,
    /// The stage's steps ignore the cache.
    pub(crate) ignore_cache: bool,
    pub(crate) config: ImageConfig,
    pub(crate) base_history: usize,
    /// What processes see: `ENV` and `ARG` in the order in which they were set.
    pub(crate) env: Scope,
    /// The declared arguments with their values, for the history of `RUN`.
    pub(crate) build_args: Vec<(String, String)>,
    pub(crate) progress: Progress,
    /// A `CMD` of the stage itself is in force.
    pub(crate) cmd_is_set: bool,
    /// The instruction comes from `ONBUILD`.
    pub(crate) in_trigger: bool,
}

/// How the steps of a stage are named and numbered.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The stage's name; empty where there is only one.
    pub(crate) title: String,
    /// How many steps the stage has.
    pub(crate) total: usize,
    /// How many of them are lowered.
    index: usize,
}

impl Progress {
    pub(crate) fn new(title: String, total: usize) -> Self {
        Self {
            title,
            total,
            index: 0,
        }
    }

    /// The next step's name.
    pub(crate) fn next(&mut self, text: &str) -> String {
        self.index += 1;
        let (title, index, total) = (&self.title, self.index, self.total);
        let space = if title.is_empty() { "" } else { " " };
        let width = total.to_string().len();
        format!("[{title}{space}{index:>width$}/{total}] {text}")
    }
}

/// Whether an instruction counts as a step in progress.
pub(crate) fn is_step(command: &Command) -> bool {
    matches!(
        command.instruction,
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_)
    )
}

impl StageState {
    /// The working directory in force.
    pub(crate) fn cwd(&self) -> &str {
        let dir = &self.config.runtime.working_dir;
        if dir.is_empty() { "/" } else { dir }
    }

    /// Adds an entry to the history.
    pub(crate) fn record(&mut self, created_by: String, empty_layer: bool) {
        self.config.history.push(History {
            created_by: Some(created_by),
            comment: Some(HISTORY_COMMENT.to_owned()),
            empty_layer,
            ..History::default()
        });
    }

    /// A command line as the image or a process gets it: the shell is put in front of a text.
    pub(crate) fn with_shell(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(text) => self.shell_words(text),
        }
    }

    /// The shell in force, and a text for it.
    pub(crate) fn shell_words(&self, text: &str) -> Vec<String> {
        let mut words = match &self.config.runtime.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        };
        words.push(text.to_owned());
        words
    }
}

impl Lowerer<'_> {
    /// The meta data of the stage's next step.
    pub(crate) fn meta(&self, state: &mut StageState, command: &Command, text: &str) -> StepMeta {
        let name = if state.in_trigger {
            state.progress.next(&format!("ONBUILD {text}"))
        } else {
            state.progress.next(text)
        };
        StepMeta {
            name,
            span: Some(command.span.start..command.span.end),
            ignore_cache: state.ignore_cache,
            ..self.internal(&state.progress.title)
        }
    }

    /// The meta data of a step that no instruction stands for.
    pub(crate) fn internal(&self, stage: &str) -> StepMeta {
        StepMeta {
            name: String::new(),
            stage: stage.to_owned(),
            span: None,
            ignore_cache: false,
            build: self.options.build,
            sharing: self.options.sharing,
        }
    }

    /// Lowers one instruction.
    pub(crate) fn command(&mut self, state: &mut StageState, command: &Command) -> Result<()> {
        match &command.instruction {
            Instruction::Add(add) => self.add(state, command, add),
            Instruction::Copy(copy) => self.copy(state, command, copy),
            Instruction::Run(run) => self.run(state, command, run),
            Instruction::Workdir(path) => self.workdir(state, command, path),
            Instruction::Arg(definitions) => self.arg(state, definitions),
            Instruction::Env(pairs) => self.env(state, pairs),
            Instruction::Label(pairs) => self.label(state, pairs),
            Instruction::Expose(specs) => self.expose(state, specs),
            Instruction::StopSignal(signal) => self.stop_signal(state, signal),
            Instruction::User(user) => self.user(state, user),
            Instruction::Volume(paths) => self.volume(state, paths),
            Instruction::Cmd(_)
            | Instruction::Entrypoint(_)
            | Instruction::Healthcheck(_)
            | Instruction::Maintainer(_)
            | Instruction::Onbuild(_)
            | Instruction::Shell(_) => {
                constant(state, command);
                Ok(())
            }
        }
    }

    /// Replaces the variables of a text.
    pub(crate) fn expand(&self, text: &str, span: Span, state: &StageState) -> Result<String> {
        let expanded = self.expander.expand(text, span, &state.env)?;
        Ok(expanded.text)
    }

    /// Like [`Lowerer::expand`], of a text with its place.
    pub(crate) fn word(&self, text: &Text, state: &StageState) -> Result<String> {
        self.expand(&text.value, text.span, state)
    }

    /// The directory stands in the configuration as it is written, if it is absolute.
    fn workdir(&mut self, state: &mut StageState, command: &Command, text: &Text) -> Result<()> {
        let path = self.word(text, state)?;
        let dir = if path.starts_with('/') {
            path
        } else {
            paths::clean(&format!("{}/{path}", state.cwd()))
        };
        let cleaned = paths::clean(&dir);
        let is_root = cleaned == "/";
        state.record(format!("WORKDIR {dir}"), is_root);
        state.config.runtime.working_dir = dir;
        let title = self.expander.title(&command.source, &state.env);
        let meta = self.meta(state, command, &title);
        if !is_root {
            let op = WorkdirOp {
                path: cleaned,
                user: state.config.runtime.user.clone(),
            };
            state.root = self.builder.add(Op::Workdir(op), vec![state.root], meta);
        }
        Ok(())
    }

    fn arg(&mut self, state: &mut StageState, definitions: &[ArgDefinition]) -> Result<()> {
        let mut history = "ARG".to_owned();
        for definition in definitions {
            let Text { value: name, span } = &definition.name;
            let value = match (self.options.build_args.get(name), &definition.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(default, *span, state)?),
                (None, None) => self.globals.value(name).map(str::to_owned),
            };
            let _ = write!(history, " {name}");
            if let Some(value) = &value {
                if !NOT_IN_ENVIRONMENT.contains(&name.as_str()) {
                    state.env.set(name, value);
                }
                // Writing to a text can't fail.
                let _ = write!(history, "={value}");
            }
            let value = value.unwrap_or_default();
            let mut known = state.build_args.iter_mut();
            match known.find(|(known, _)| known == name) {
                Some(known) => known.1 = value,
                None => state.build_args.push((name.clone(), value)),
            }
        }
        state.record(history, true);
        Ok(())
    }

    /// All values of the instruction are expanded with what was set before it.
    fn pairs(&mut self, state: &StageState, pairs: &[KeyValue]) -> Result<Vec<(String, String)>> {
        pairs
            .iter()
            .map(|pair| {
                let key = self.expand(&pair.key, pair.span, state)?;
                let value = self.expand(&pair.value, pair.span, state)?;
                Ok((key, value))
            })
            .collect()
    }

    fn env(&mut self, state: &mut StageState, pairs: &[KeyValue]) -> Result<()> {
        let mut history = "ENV".to_owned();
        for (name, value) in self.pairs(state, pairs)? {
            let _ = write!(history, " {name}={value}");
            state.env.set(&name, &value);
            let entry = format!("{name}={value}");
            let known = |entry: &&mut String| entry.split('=').next() == Some(name.as_str());
            match state.config.runtime.env.iter_mut().find(known) {
                Some(known) => *known = entry,
                None => state.config.runtime.env.push(entry),
            }
        }
        state.record(history, true);
        Ok(())
    }

    fn label(&mut self, state: &mut StageState, pairs: &[KeyValue]) -> Result<()> {
        let mut history = "LABEL".to_owned();
        for (name, value) in self.pairs(state, pairs)? {
            let _ = write!(history, " {name}={value}");
            state.config.runtime.labels.insert(name, value);
        }
        state.record(history, true);
        Ok(())
    }

    /// The specifications are sorted as they are written, which the history shows.
    fn expose(&mut self, state: &mut StageState, specs: &[Text]) -> Result<()> {
        let mut exposed = Vec::new();
        let mut specs: Vec<&Text> = specs.iter().collect();
        specs.sort_by_key(|text| &text.value);
        for text in specs {
            for spec in self.expander.words(text, &state.env)? {
                match ports::parse(&spec) {
                    Ok(ports) => exposed.extend(ports),
                    Err(message) => return refuse(Diagnostic::error(text.span, message)),
                }
            }
        }
        state.record(format!("EXPOSE [{}]", exposed.join(" ")), true);
        state.config.runtime.exposed_ports.extend(exposed);
        Ok(())
    }

    fn stop_signal(&mut self, state: &mut StageState, text: &Text) -> Result<()> {
        let signal = self.word(text, state)?;
        if !signals::is_known(&signal) {
            let message = format!("`{signal}` is not a signal");
            return refuse(Diagnostic::error(text.span, message));
        }
        state.record(format!("STOPSIGNAL {signal}"), true);
        state.config.runtime.stop_signal = Some(signal);
        Ok(())
    }

    fn user(&mut self, state: &mut StageState, text: &Text) -> Result<()> {
        let user = self.word(text, state)?;
        state.record(format!("USER {user}"), true);
        state.config.runtime.user = user;
        Ok(())
    }

    fn volume(&mut self, state: &mut StageState, texts: &[Text]) -> Result<()> {
        let mut volumes = Vec::new();
        for text in texts {
            let path = self.word(text, state)?;
            if path.is_empty() {
                return refuse(Diagnostic::error(
                    text.span,
                    "a volume can't be the empty path",
                ));
            }
            volumes.push(path);
        }
        state.record(format!("VOLUME [{}]", volumes.join(" ")), true);
        state.config.runtime.volumes.extend(volumes);
        Ok(())
    }
}

/// The instructions that take their text as it is.
fn constant(state: &mut StageState, command: &Command) {
    let name = command.instruction.name();
    match &command.instruction {
        Instruction::Cmd(line) => {
            state.cmd_is_set = true;
            let words = state.with_shell(line);
            state.record(format!("{name} {}", go::quoted(&words)), true);
            state.config.runtime.cmd = Some(words).filter(|words| !words.is_empty());
            // Docker's own builder marks every image that has a command so; Windows reads it.
            state.config.runtime.args_escaped = true;
        }
        Instruction::Entrypoint(line) => {
            let words = state.with_shell(line);
            state.record(format!("{name} {}", go::quoted(&words)), true);
            state.config.runtime.entrypoint = Some(words).filter(|words| !words.is_empty());
            if !state.cmd_is_set {
                state.config.runtime.cmd = None;
            }
        }
        Instruction::Healthcheck(check) => {
            let check = healthcheck(check);
            state.record(format!("{name} {}", shown_healthcheck(&check)), true);
            state.config.runtime.healthcheck = Some(check);
        }
        Instruction::Maintainer(author) => {
            state.record(format!("{name} {}", author.value), true);
            state.config.author = Some(author.value.clone());
        }
        Instruction::Onbuild(onbuild) => {
            state.config.runtime.on_build.push(onbuild.trigger.clone());
        }
        Instruction::Shell(words) => {
            state.record(format!("{name} [{}]", words.join(" ")), true);
            state.config.runtime.shell = Some(words.clone());
        }
        _ => {}
    }
}

/// A health check as Go prints it.
fn shown_healthcheck(check: &kiln_oci::Healthcheck) -> String {
    let shown = |duration: Option<Duration>| go::duration(duration.unwrap_or_default());
    format!(
        "{{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        shown(check.interval),
        shown(check.timeout),
        shown(check.start_period),
        shown(check.start_interval),
        check.retries.unwrap_or_default()
    )
}

fn healthcheck(check: &Healthcheck) -> kiln_oci::Healthcheck {
    let given = |duration: Duration| (!duration.is_zero()).then_some(duration);
    match check {
        Healthcheck::None => kiln_oci::Healthcheck {
            test: vec!["NONE".to_owned()],
            ..kiln_oci::Healthcheck::default()
        },
        Healthcheck::Check {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => {
            let test = match command {
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                CommandLine::Exec(words) => std::iter::once("CMD".to_owned())
                    .chain(words.iter().cloned())
                    .collect(),
            };
            kiln_oci::Healthcheck {
                test,
                interval: given(*interval),
                timeout: given(*timeout),
                start_period: given(*start_period),
                start_interval: given(*start_interval),
                retries: (*retries > 0).then_some(*retries),
            }
        }
    }
}
