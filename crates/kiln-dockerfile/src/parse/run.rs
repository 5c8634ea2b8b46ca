//! `RUN`.

use super::flags::Kind;
use super::instruction::{Parts, command_line};
use super::{Reader, heredoc};
use crate::Spanned;
use crate::ast::{CommandLine, MountFlag, Network, Run, RunForm, Security};

pub(super) fn run(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Run> {
    let known = [
        ("mount", Kind::Repeated),
        ("network", Kind::Value),
        ("security", Kind::Value),
        ("device", Kind::Repeated),
    ];
    let flags = parts.check_flags(&known, reader);
    let network = flags.value("network").and_then(|flag| {
        let network = match flag.value.as_str() {
            "default" => Network::Default,
            "none" => Network::None,
            "host" => Network::Host,
            other => {
                let hint = Some("it can be `default`, `none` or `host`".to_owned());
                reader.error_with(flag.span, format!("invalid network mode `{other}`"), hint);
                return None;
            }
        };
        Some(Spanned::new(network, flag.span))
    });
    let security = flags.value("security").and_then(|flag| {
        let security = match flag.value.as_str() {
            "sandbox" => Security::Sandbox,
            "insecure" => Security::Insecure,
            other => {
                let hint = Some("it can be `sandbox` or `insecure`".to_owned());
                reader.error_with(flag.span, format!("invalid security mode `{other}`"), hint);
                return None;
            }
        };
        Some(Spanned::new(security, flag.span))
    });
    let mut mounts = Vec::new();
    for flag in flags.values("mount") {
        match MountFlag::parse(&flag.value, flag.span) {
            Ok(mount) => mounts.push(mount),
            Err(error) => reader.error_with(flag.span, error.to_string(), error.hint()),
        }
    }
    let command = command_line(parts.args, reader)?;
    if parts.args.text.is_empty() {
        reader.warn(parts.keyword_span, "`RUN` without a command");
    }
    Some(Run {
        command,
        heredocs: std::mem::take(&mut parts.heredocs),
        mounts,
        network,
        security,
        devices: flags.values("device"),
    })
}

impl Run {
    /// What is to be run, heredocs considered.
    pub fn form(&self) -> RunForm<'_> {
        let text = match &self.command {
            CommandLine::Exec(words) => return RunForm::Exec(words),
            CommandLine::Shell(text) => text,
        };
        let Some(first) = self.heredocs.first() else {
            return RunForm::Shell(text.clone());
        };
        if heredoc::parse_word(text, first.span).is_none() {
            let mut text = text.clone();
            for heredoc in &self.heredocs {
                text.push('\n');
                text.push_str(&heredoc.body);
                text.push_str(&heredoc.name);
            }
            return RunForm::Shell(text);
        }
        let content = first.content();
        if content.starts_with("#!") {
            let name = &first.name;
            return RunForm::Script { name, content };
        }
        RunForm::Body(content)
    }
}
