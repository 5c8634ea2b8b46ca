//! `RUN`.

use kiln_dockerfile::Diagnostic;
use kiln_dockerfile::ast::{self, Command, MountFlag, MountKind, Run, RunForm, Security};
use kiln_graph::{InlineFile, Network, Op, RunOp};

use crate::lower::Lowerer;
use crate::paths;
use crate::scope::{proxies, refuse};
use crate::stage::StageState;
use crate::text::Result;

/// Where scripts that begin with `#!` appear while they run.
const SCRIPTS: &str = "/dev/pipes";

impl Lowerer<'_> {
    pub(crate) fn run(
        &mut self,
        state: &mut StageState,
        command: &Command,
        run: &Run,
    ) -> Result<()> {
        self.refuse_what_is_missing(state, run)?;
        let form = run.form();
        let title = self.run_title(state, command, run, &form);
        let (argv, files) = arguments(state, form);
        if argv.is_empty() {
            return refuse(Diagnostic::error(command.span, "`RUN` has nothing to run"));
        }
        for file in &files {
            check_name(&file.path[SCRIPTS.len() + 1..], command)?;
        }
        let meta = state.meta(command, &title, self.ignores_cache());
        state.record(format!("RUN {} # buildkit", history(state, &argv)), false);
        let op = RunOp {
            argv,
            env: state.env.pairs().to_vec(),
            uncached_env: proxies(self.options),
            cwd: paths::clean(state.cwd()),
            user: state.config.runtime.user.clone(),
            network: match run.network.as_ref().map(|network| network.value) {
                None | Some(ast::Network::Default) => Network::Default,
                Some(ast::Network::None) => Network::None,
                Some(ast::Network::Host) => Network::Host,
            },
            files,
        };
        state.root = self.builder.add(Op::Run(op), vec![state.root], meta);
        Ok(())
    }

    /// What progress shows: the command with its variables replaced, and a heredoc's first line
    /// where that is all there is.
    fn run_title(
        &self,
        state: &StageState,
        command: &Command,
        run: &Run,
        form: &RunForm<'_>,
    ) -> String {
        let title = self.expander.command_title(&command.source, &state.env);
        match (form, run.heredocs.first()) {
            (RunForm::Body(_) | RunForm::Script { .. }, Some(heredoc)) => {
                let body = heredoc.body.trim();
                match body.split_once('\n') {
                    Some((line, _)) => format!("{title} ({}...)", line.trim_end()),
                    None => format!("{title} ({body})"),
                }
            }
            _ => title,
        }
    }

    /// What this kiln does not do yet is an error, never ignored.
    fn refuse_what_is_missing(&self, state: &StageState, run: &Run) -> Result<()> {
        if let Some(flag) = run.mounts.first() {
            return refuse(self.refused_mount(state, flag));
        }
        if let Some(device) = run.devices.first() {
            let message = "`RUN --device` is not supported";
            return refuse(Diagnostic::error(device.span, message));
        }
        match &run.security {
            Some(security) if security.value == Security::Insecure => {
                let message = "`RUN --security=insecure` is not supported yet";
                refuse(Diagnostic::error(security.span, message))
            }
            _ => Ok(()),
        }
    }

    fn refused_mount(&self, state: &StageState, flag: &MountFlag) -> Diagnostic {
        match flag.resolve(|word| self.expander.raw(word, &state.env)) {
            Ok(mount) => {
                let kind = match mount.kind {
                    MountKind::Bind { .. } => "bind",
                    MountKind::Cache { .. } => "cache",
                    MountKind::Tmpfs { .. } => "tmpfs",
                    MountKind::Secret { .. } => "secret",
                    MountKind::Ssh { .. } => "ssh",
                };
                let message = format!("`RUN --mount` of type `{kind}` is not supported yet");
                Diagnostic::error(flag.span, message)
            }
            Err(error) => {
                let diagnostic = Diagnostic::error(flag.span, error.to_string());
                match error.hint() {
                    Some(hint) => diagnostic.with_hint(hint),
                    None => diagnostic,
                }
            }
        }
    }
}

/// Program and arguments, and the files they need.
fn arguments(state: &StageState, form: RunForm<'_>) -> (Vec<String>, Vec<InlineFile>) {
    match form {
        RunForm::Exec(words) => (words.to_vec(), Vec::new()),
        RunForm::Shell(text) | RunForm::Body(text) => (state.shell_words(&text), Vec::new()),
        RunForm::Script { name, content } => {
            let path = format!("{SCRIPTS}/{name}");
            let file = InlineFile {
                path: path.clone(),
                mode: 0o755,
                content: content.into_bytes(),
            };
            (vec![path], vec![file])
        }
    }
}

/// An error where a heredoc's name is no file's name.
pub(crate) fn check_name(name: &str, command: &Command) -> Result<()> {
    if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") {
        let message = format!("the heredoc's name `{name}` can't be the name of a file");
        return refuse(Diagnostic::error(command.span, message));
    }
    Ok(())
}

/// The command as the history shows it: the declared arguments in front.
fn history(state: &StageState, argv: &[String]) -> String {
    let mut words = Vec::new();
    if !state.build_args.is_empty() {
        words.push(format!("|{}", state.build_args.len()));
        for (name, declared) in &state.build_args {
            let value = state.env.value(name).unwrap_or(declared);
            words.push(format!("{name}={value}"));
        }
    }
    words.extend_from_slice(argv);
    words.join(" ")
}
