//! `RUN`.

use kiln_dockerfile::Diagnostic;
use kiln_dockerfile::ast::{self, Command, CommandLine, Heredoc, Run, Security};
use kiln_graph::{InlineFile, Network, Op, RunOp};

use crate::lower::Lowerer;
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
        refuse_what_is_missing(run)?;
        let (argv, files) = arguments(state, run);
        let meta = state.meta(command, &command.source, self.ignores_cache());
        state.record(format!("RUN {} # buildkit", history(state, &argv)), false);
        let op = RunOp {
            argv,
            env: state.env.pairs().to_vec(),
            uncached_env: proxies(self.options),
            cwd: state.cwd().to_owned(),
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
}

/// What this kiln does not do yet is an error, never ignored.
fn refuse_what_is_missing(run: &Run) -> Result<()> {
    if let Some(mount) = run.mounts.first() {
        return refuse(Diagnostic::error(
            mount.span,
            "`RUN --mount` is not supported yet",
        ));
    }
    if let Some(device) = run.devices.first() {
        return refuse(Diagnostic::error(
            device.span,
            "`RUN --device` is not supported",
        ));
    }
    match &run.security {
        Some(security) if security.value == Security::Insecure => refuse(Diagnostic::error(
            security.span,
            "`RUN --security=insecure` is not supported yet",
        )),
        _ => Ok(()),
    }
}

/// Program and arguments, and the files they need.
fn arguments(state: &StageState, run: &Run) -> (Vec<String>, Vec<InlineFile>) {
    let text = match &run.command {
        CommandLine::Exec(words) => return (words.clone(), Vec::new()),
        CommandLine::Shell(text) => text,
    };
    match run.heredocs.as_slice() {
        [] => (state.shell_words(text), Vec::new()),
        [only] if is_heredoc_alone(text) => alone(state, only),
        several => {
            // The shell reads the heredocs itself: they are put back where it looks for them.
            let mut text = text.clone();
            for heredoc in several {
                text.push('\n');
                text.push_str(&heredoc.body);
                text.push_str(&heredoc.name);
            }
            (state.shell_words(&text), Vec::new())
        }
    }
}

/// A heredoc without a command is the command: a script for its own interpreter, or else for the
/// stage's shell.
fn alone(state: &StageState, heredoc: &Heredoc) -> (Vec<String>, Vec<InlineFile>) {
    let content = heredoc.content();
    if !content.starts_with("#!") {
        return (state.shell_words(&content), Vec::new());
    }
    let path = format!("{SCRIPTS}/{}", heredoc.name);
    let file = InlineFile {
        path: path.clone(),
        mode: 0o755,
        content: content.into_bytes(),
    };
    (vec![path], vec![file])
}

/// Whether the text is nothing but `<<NAME`.
fn is_heredoc_alone(text: &str) -> bool {
    let text = text
        .trim()
        .trim_start_matches(|ch: char| ch.is_ascii_digit());
    text.strip_prefix("<<").is_some_and(|name| {
        let is_quoted = name.contains(['"', '\'']);
        !name.contains('<') && (is_quoted || !name.contains(char::is_whitespace))
    })
}

/// The command as the history shows it: the declared arguments in front.
fn history(state: &StageState, argv: &[String]) -> String {
    let mut words = Vec::new();
    if !state.build_args.is_empty() {
        words.push(format!("|{}", state.build_args.len()));
        for name in &state.build_args {
            words.push(format!(
                "{name}={}",
                state.env.value(name).unwrap_or_default()
            ));
        }
    }
    words.extend_from_slice(argv);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heredoc_alone() {
        for alone in ["<<EOF", "<<-EOF", "<<'EOF'", " <<\"E O F\" ", "3<<EOF"] {
            assert!(is_heredoc_alone(alone), "{alone}");
        }
        for more in ["cat <<EOF", "<<EOF cat", "<<A <<B", "python3<<EOF", "<EOF"] {
            assert!(!is_heredoc_alone(more), "{more}");
        }
    }
}
