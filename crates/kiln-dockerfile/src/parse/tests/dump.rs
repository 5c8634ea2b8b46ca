//! The tree as text: an instruction a line, then the diagnostics with the text they point at.

use std::fmt::Write as _;

use crate::ast::{
    Add, ArgDefinition, Command, CommandLine, Copy, CopyOptions, CopySource, Dockerfile,
    Healthcheck, Heredoc, Instruction, KeyValue, Paths, Run, RunForm,
};
use crate::{Diagnostic, Severity, Text};

pub(super) fn dump(text: &str, dockerfile: &Dockerfile, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    let directives = &dockerfile.directives;
    if let Some(syntax) = &directives.syntax {
        let _ = writeln!(out, "# syntax={}", syntax.value);
    }
    if let Some(check) = &directives.check {
        let _ = writeln!(out, "# check={}", check.value);
    }
    if directives.escape != '\\' {
        let _ = writeln!(out, "# escape={}", directives.escape);
    }
    for args in &dockerfile.global_args {
        let _ = writeln!(out, "ARG{}", arguments(&args.value));
    }
    for stage in &dockerfile.stages {
        let from = &stage.from;
        let _ = write!(out, "FROM");
        option(&mut out, "platform", from.platform.as_ref());
        let _ = write!(out, " {:?}", from.base.value);
        if let Some(name) = &from.name {
            let _ = write!(out, " AS {}", name.value);
        }
        out.push('\n');
        for command in &stage.commands {
            let _ = writeln!(out, "  {}", instruction(command));
        }
    }
    for found in diagnostics {
        let mark = match found.severity {
            Severity::Error => '!',
            Severity::Warning => '?',
        };
        let line = crate::line_number(text, found.span.start);
        let pointed = &text[found.span.start..found.span.end];
        let _ = write!(out, "{mark} {line}: {} @ {pointed:?}", found.message);
        if let Some(hint) = &found.hint {
            let _ = write!(out, " -> {hint}");
        }
        out.push('\n');
    }
    out
}

fn instruction(command: &Command) -> String {
    let instruction = &command.instruction;
    let rest = match instruction {
        Instruction::Add(add) => self::add(add),
        Instruction::Copy(copy) => self::copy(copy),
        Instruction::Run(run) => self::run(run),
        Instruction::Arg(args) => arguments(args),
        Instruction::Cmd(command) | Instruction::Entrypoint(command) => command_line(command),
        Instruction::Env(pairs) | Instruction::Label(pairs) => self::pairs(pairs),
        Instruction::Expose(words) | Instruction::Volume(words) => {
            words.iter().map(quoted).collect()
        }
        Instruction::Healthcheck(check) => healthcheck(check),
        Instruction::Maintainer(text)
        | Instruction::StopSignal(text)
        | Instruction::User(text)
        | Instruction::Workdir(text) => quoted(text),
        Instruction::Onbuild(onbuild) => {
            let parsed = match &onbuild.parsed {
                Some(parsed) => format!(" => {}", self::instruction(parsed)),
                None => " => ?".to_owned(),
            };
            format!(" {:?}{parsed}", onbuild.trigger)
        }
        Instruction::Shell(words) => format!(" {words:?}"),
    };
    format!("{}{rest}", instruction.name())
}

fn quoted(text: &Text) -> String {
    format!(" {:?}", text.value)
}

fn option(out: &mut String, name: &str, value: Option<&Text>) {
    if let Some(value) = value {
        let _ = write!(out, " --{name}={:?}", value.value);
    }
}

fn arguments(args: &[ArgDefinition]) -> String {
    let words = args.iter().map(|arg| match &arg.default {
        Some(default) => format!(" {}={default:?}", arg.name.value),
        None => format!(" {}", arg.name.value),
    });
    words.collect()
}

fn pairs(pairs: &[KeyValue]) -> String {
    let words = pairs.iter().map(|pair| {
        let legacy = if pair.legacy { " (legacy)" } else { "" };
        format!(" {}={:?}{legacy}", pair.key, pair.value)
    });
    words.collect()
}

fn command_line(command: &CommandLine) -> String {
    match command {
        CommandLine::Exec(words) => format!(" exec {words:?}"),
        CommandLine::Shell(text) => format!(" shell {text:?}"),
    }
}

fn heredoc(heredoc: &Heredoc) -> String {
    let fd = match heredoc.fd {
        0 => String::new(),
        fd => fd.to_string(),
    };
    let tabs = if heredoc.strip_tabs { "-" } else { "" };
    let raw = if heredoc.expand { "" } else { " raw" };
    format!(
        " {fd}<<{tabs}{}{raw}({:?})",
        heredoc.name,
        heredoc.content()
    )
}

fn run(run: &Run) -> String {
    let mut out = String::new();
    for mount in &run.mounts {
        let _ = write!(out, " --mount={:?}", mount.fields);
    }
    if let Some(network) = &run.network {
        let _ = write!(out, " --network={:?}", network.value);
    }
    if let Some(security) = &run.security {
        let _ = write!(out, " --security={:?}", security.value);
    }
    for device in &run.devices {
        let _ = write!(out, " --device={}", device.value);
    }
    out.push_str(&command_line(&run.command));
    out.extend(run.heredocs.iter().map(heredoc));
    if !run.heredocs.is_empty() {
        let form = match run.form() {
            RunForm::Exec(words) => format!("exec {words:?}"),
            RunForm::Body(text) => format!("body {text:?}"),
            RunForm::Shell(text) => format!("shell {text:?}"),
            RunForm::Script { name, content } => format!("script {name} {content:?}"),
        };
        let _ = write!(out, " => {form}");
    }
    out
}

fn paths(paths: &Paths) -> String {
    let sources = paths.sources.iter().map(|source| match source {
        CopySource::Path(path) => quoted(path),
        CopySource::Heredoc(found) => heredoc(found),
    });
    let sources: String = sources.collect();
    format!("{sources} ->{}", quoted(&paths.destination))
}

fn options(out: &mut String, options: &CopyOptions) {
    option(out, "chown", options.chown.as_ref());
    option(out, "chmod", options.chmod.as_ref());
    if options.link {
        out.push_str(" --link");
    }
    for pattern in &options.exclude {
        option(out, "exclude", Some(pattern));
    }
}

fn copy(copy: &Copy) -> String {
    let mut out = String::new();
    option(&mut out, "from", copy.from.as_ref());
    options(&mut out, &copy.options);
    if copy.parents {
        out.push_str(" --parents");
    }
    out + &paths(&copy.paths)
}

fn add(add: &Add) -> String {
    let mut out = String::new();
    option(&mut out, "checksum", add.checksum.as_ref());
    options(&mut out, &add.options);
    if let Some(keep) = &add.keep_git_dir {
        let _ = write!(out, " --keep-git-dir={}", keep.value);
    }
    if let Some(unpack) = &add.unpack {
        let _ = write!(out, " --unpack={}", unpack.value);
    }
    out + &paths(&add.paths)
}

fn healthcheck(check: &Healthcheck) -> String {
    match check {
        Healthcheck::None => " NONE".to_owned(),
        Healthcheck::Check {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => format!(
            " {interval:?} {timeout:?} {start_period:?} {start_interval:?} {retries}{}",
            command_line(command)
        ),
    }
}
