//! A stage while it is lowered, and the instructions that only change its configuration.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_dockerfile::Diagnostic;
use kiln_dockerfile::Text;
use kiln_dockerfile::ast::{
    ArgDefinition, Command, CommandLine, Healthcheck, Instruction, KeyValue,
};
use kiln_graph::{Op, StepIndex, StepMeta, WorkdirOp};
use kiln_oci::{History, ImageConfig, Platform};

use crate::lower::Lowerer;
use crate::scope::{NOT_IN_ENVIRONMENT, Scope, refuse};
use crate::text::Result;
use crate::{paths, ports, signals};

/// The comment of each new entry of the history, by which tools know who wrote it.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What a stage has come to so far.
#[derive(Debug, Clone)]
pub(crate) struct StageState {
    /// The step whose output is the stage's root.
    pub(crate) root: StepIndex,
    pub(crate) config: ImageConfig,
    pub(crate) base_history: usize,
    /// What processes see: `ENV` and `ARG` in the order in which they were set.
    pub(crate) env: Scope,
    /// The declared arguments, for the history of `RUN`.
    pub(crate) build_args: Vec<String>,
    pub(crate) platform: Platform,
    /// The stage's name in progress.
    pub(crate) title: String,
    /// How many steps the stage has, and how many of them are lowered.
    pub(crate) total: usize,
    pub(crate) index: usize,
    /// `CMD` was set in this stage, so that `ENTRYPOINT` keeps it.
    pub(crate) cmd_is_set: bool,
    /// The instruction comes from `ONBUILD`.
    pub(crate) in_trigger: bool,
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

    /// The meta data of the next step.
    pub(crate) fn meta(&mut self, command: &Command, text: &str, ignore_cache: bool) -> StepMeta {
        self.index += 1;
        let width = self.total.to_string().len();
        let space = if self.title.is_empty() { "" } else { " " };
        let trigger = if self.in_trigger { "ONBUILD " } else { "" };
        let name = format!(
            "[{}{space}{:>width$}/{}] {trigger}{text}",
            self.title, self.index, self.total
        );
        StepMeta {
            name,
            stage: self.title.clone(),
            offset: Some(command.span.start),
            ignore_cache,
        }
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
                constant(state, &command.instruction);
                Ok(())
            }
        }
    }

    fn workdir(&mut self, state: &mut StageState, command: &Command, path: &Text) -> Result<()> {
        let path = self.expander.word(path, &state.env)?;
        let dir = paths::clean(&paths::absolute(state.cwd(), &path));
        state.config.runtime.working_dir.clone_from(&dir);
        let meta = state.meta(command, &command.source, self.ignores_cache());
        if dir == "/" {
            state.record(format!("WORKDIR {dir}"), true);
            return Ok(());
        }
        let op = WorkdirOp {
            path: dir.clone(),
            user: state.config.runtime.user.clone(),
        };
        state.root = self.builder.add(Op::Workdir(op), vec![state.root], meta);
        state.record(format!("WORKDIR {dir}"), false);
        Ok(())
    }

    fn arg(&self, state: &mut StageState, definitions: &[ArgDefinition]) -> Result<()> {
        let mut history = "ARG".to_owned();
        for definition in definitions {
            let name = self.expander.word(&definition.name, &state.env)?;
            let given = self.options.build_args.get(&name).cloned();
            let value = match (given, &definition.default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => {
                    let at = definition.name.span;
                    Some(self.expander.expand(default, at, &state.env)?)
                }
                (None, None) => self.globals.value(&name).map(str::to_owned),
            };
            if let Some(value) = &value {
                if !NOT_IN_ENVIRONMENT.contains(&name.as_str()) {
                    state.env.set(&name, value);
                }
                // Writing to a text can't fail.
                let _ = write!(history, " {name}={value}");
            } else {
                let _ = write!(history, " {name}");
            }
            if !state.build_args.contains(&name) {
                state.build_args.push(name);
            }
        }
        state.record(history, true);
        Ok(())
    }

    /// All values of the instruction are expanded with what was set before it.
    fn pairs(&self, state: &StageState, pairs: &[KeyValue]) -> Result<Vec<(String, String)>> {
        pairs
            .iter()
            .map(|pair| {
                let key = self.expander.expand(&pair.key, pair.span, &state.env)?;
                let value = self.expander.expand(&pair.value, pair.span, &state.env)?;
                Ok((key, value))
            })
            .collect()
    }

    fn env(&self, state: &mut StageState, pairs: &[KeyValue]) -> Result<()> {
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

    fn label(&self, state: &mut StageState, pairs: &[KeyValue]) -> Result<()> {
        let mut history = "LABEL".to_owned();
        for (name, value) in self.pairs(state, pairs)? {
            let _ = write!(history, " {name}={value}");
            state.config.runtime.labels.insert(name, value);
        }
        state.record(history, true);
        Ok(())
    }

    fn expose(&self, state: &mut StageState, specs: &[Text]) -> Result<()> {
        let mut exposed = Vec::new();
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

    fn stop_signal(&self, state: &mut StageState, text: &Text) -> Result<()> {
        let signal = self.expander.word(text, &state.env)?;
        if !signals::is_known(&signal) {
            let message = format!("`{signal}` is not a signal");
            return refuse(Diagnostic::error(text.span, message));
        }
        state.record(format!("STOPSIGNAL {signal}"), true);
        state.config.runtime.stop_signal = Some(signal);
        Ok(())
    }

    fn user(&self, state: &mut StageState, text: &Text) -> Result<()> {
        let user = self.expander.word(text, &state.env)?;
        state.record(format!("USER {user}"), true);
        state.config.runtime.user = user;
        Ok(())
    }

    fn volume(&self, state: &mut StageState, texts: &[Text]) -> Result<()> {
        let mut volumes = Vec::new();
        for text in texts {
            let path = self.expander.word(text, &state.env)?;
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
fn constant(state: &mut StageState, instruction: &Instruction) {
    match instruction {
        Instruction::Cmd(command) => {
            let words = state.with_shell(command);
            state.record(format!("CMD {}", quoted(&words)), true);
            state.config.runtime.cmd = Some(words);
            // Docker's own builder marks every image that has a command so; Windows reads it.
            state.config.runtime.args_escaped = true;
            state.cmd_is_set = true;
        }
        Instruction::Entrypoint(command) => {
            let words = state.with_shell(command);
            state.record(format!("ENTRYPOINT {}", quoted(&words)), true);
            state.config.runtime.entrypoint = Some(words);
            if !state.cmd_is_set {
                state.config.runtime.cmd = None;
            }
        }
        Instruction::Healthcheck(check) => {
            let check = healthcheck(check);
            state.record(format!("HEALTHCHECK {}", quoted(&check.test)), true);
            state.config.runtime.healthcheck = Some(check);
        }
        Instruction::Maintainer(author) => {
            state.record(format!("MAINTAINER {}", author.value), true);
            state.config.author = Some(author.value.clone());
        }
        Instruction::Onbuild(onbuild) => {
            state.config.runtime.on_build.push(onbuild.trigger.clone());
        }
        Instruction::Shell(words) => {
            state.record(format!("SHELL [{}]", words.join(" ")), true);
            state.config.runtime.shell = Some(words.clone());
        }
        _ => {}
    }
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

/// Words as Go prints a list of strings: `["a" "b"]`.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}
