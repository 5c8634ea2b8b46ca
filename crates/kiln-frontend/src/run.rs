//! `RUN`.

use kiln_dockerfile::Diagnostic;
use kiln_dockerfile::ast::{self, Command, Run, RunForm};
use kiln_graph::{InlineFile, Network, Op, RunOp, Security};

use crate::lower::Lowerer;
use crate::paths;
use crate::scope::{proxies, refuse};
use crate::stage::StageState;
use crate::text::Result;

/// Where scripts that begin with `#!` appear while they run.
const SCRIPTS: &str = "/dev/pipes";

/// The host name that BuildKit gives to every step.
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";
/// The variable by which programs find an SSH agent.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

impl Lowerer<'_> {
    pub(crate) fn run(
        &mut self,
        state: &mut StageState,
        command: &Command,
        run: &Run,
    ) -> Result<()> {
        self.check_leave(run)?;
        let mounts = self.mounts(state, command, run)?;
        let form = run.form();
        let title = self.run_title(state, command, run, &form);
        let (argv, files) = arguments(state, form);
        if argv.is_empty() {
            return refuse(Diagnostic::error(command.span, "`RUN` has nothing to run"));
        }
        for file in &files {
            check_name(&file.path[SCRIPTS.len() + 1..], command)?;
        }
        let meta = self.meta(state, command, &title);
        state.record(format!("RUN {} # buildkit", history(state, &argv)), false);
        let mut env = state.env.pairs().to_vec();
        if let Some(socket) = mounts.agent_socket()
            && state.env.value(AGENT_VARIABLE).is_none()
        {
            env.push((AGENT_VARIABLE.to_owned(), socket.to_owned()));
        }
        let op = RunOp {
            argv,
            env,
            uncached_env: proxies(self.options),
            cwd: paths::clean(state.cwd()),
            user: state.config.runtime.user.clone(),
            network: match run.network.as_ref().map(|network| network.value) {
                None | Some(ast::Network::Default) => Network::Default,
                Some(ast::Network::None) => Network::None,
                Some(ast::Network::Host) => Network::Host,
            },
            security: match run.security.as_ref().map(|security| security.value) {
                None | Some(ast::Security::Sandbox) => Security::Sandbox,
                Some(ast::Security::Insecure) => Security::Insecure,
            },
            platform: state.platform.clone(),
            hostname: self.hostname(),
            files,
            mounts: mounts.mounts,
            settings: self.options.run_settings.clone(),
        };
        state.root = self.builder.add(Op::Run(op), mounts.inputs, meta);
        Ok(())
    }

    /// What processes are told their machine is called.
    fn hostname(&self) -> String {
        let given = self.options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME");
        let given = given.filter(|name| !name.is_empty());
        given.map_or_else(|| DEFAULT_HOSTNAME.to_owned(), Clone::clone)
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

    /// What needs the user's leave, or can't be done, is an error.
    fn check_leave(&self, run: &Run) -> Result<()> {
        if let Some(device) = run.devices.first() {
            let message = "`RUN --device` is not supported";
            return refuse(Diagnostic::error(device.span, message));
        }
        let network = run.network.as_ref();
        if let Some(network) = network.filter(|network| network.value == ast::Network::Host)
            && !self.options.allow.network_host
        {
            let message = "`RUN --network=host` was not allowed by who started the build";
            return refuse(
                Diagnostic::error(network.span, message)
                    .with_hint("allow it: `--allow network.host`"),
            );
        }
        let security = run.security.as_ref();
        if let Some(security) =
            security.filter(|security| security.value == ast::Security::Insecure)
            && !self.options.allow.security_insecure
        {
            let message = "`RUN --security=insecure` was not allowed by who started the build";
            return refuse(
                Diagnostic::error(security.span, message)
                    .with_hint("allow it: `--allow security.insecure`"),
            );
        }
        Ok(())
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
            // The shell starts it, as in BuildKit: its variables and options are in force.
            (state.shell_words(&path), vec![file])
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
