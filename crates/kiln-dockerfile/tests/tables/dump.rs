//! A Dockerfile's tree as the tables describe it: one line for each instruction.

use std::fmt::Write as _;

use kiln_dockerfile::Text;
use kiln_dockerfile::ast::{
    Add, ArgDefinition, CommandLine, Copy, CopyOptions, CopySource, Dockerfile, Healthcheck,
    Instruction, KeyValue, Network, Paths, Run, Security,
};

pub(crate) fn dump(dockerfile: &Dockerfile) -> Vec<String> {
    let mut lines = Vec::new();
    if dockerfile.directives.escape != '\\' {
        lines.push(format!(
            "escape {}",
            quote(&dockerfile.directives.escape.to_string())
        ));
    }
    if let Some(syntax) = &dockerfile.directives.syntax {
        lines.push(format!("syntax {}", quote(&syntax.value)));
    }
    for args in &dockerfile.global_args {
        lines.push(format!("global {}", arg(&args.value)));
    }
    for stage in &dockerfile.stages {
        let base = quote(&stage.from.base.value);
        let platform = option("platform", stage.from.platform.as_ref());
        let name = stage.from.name.as_ref();
        let name = name.map(|name| format!(" as {}", quote(&name.value)));
        lines.push(format!("from {base}{platform}{}", name.unwrap_or_default()));
        lines.extend(
            stage
                .commands
                .iter()
                .map(|command| instruction(&command.instruction)),
        );
    }
    lines
}

pub(crate) fn quote(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let text = text
        .replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\r', "\\r");
    format!("\"{text}\"")
}

fn quote_all<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quote).collect();
    quoted.join(" ")
}

fn option(name: &str, value: Option<&Text>) -> String {
    match value {
        Some(value) if !value.value.is_empty() => format!(" {name}={}", quote(&value.value)),
        _ => String::new(),
    }
}

fn instruction(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Add(add) => dump_add(add),
        Instruction::Arg(args) => arg(args),
        Instruction::Cmd(line) => format!("cmd {}", command_line(line)),
        Instruction::Copy(copy) => dump_copy(copy),
        Instruction::Entrypoint(line) => format!("entrypoint {}", command_line(line)),
        Instruction::Env(pairs) => format!("env {}", key_values(pairs)),
        Instruction::Expose(ports) => {
            let mut ports: Vec<&str> = ports.iter().map(|port| port.value.as_str()).collect();
            ports.sort_unstable();
            format!("expose {}", quote_all(ports))
        }
        Instruction::Healthcheck(check) => healthcheck(check),
        Instruction::Label(pairs) => format!("label {}", key_values(pairs)),
        Instruction::Maintainer(name) => format!("maintainer {}", quote(&name.value)),
        Instruction::Onbuild(onbuild) => format!("onbuild {}", quote(&onbuild.trigger)),
        Instruction::Run(run) => dump_run(run),
        Instruction::Shell(words) => {
            format!("shell {}", quote_all(words.iter().map(String::as_str)))
        }
        Instruction::StopSignal(signal) => format!("stopsignal {}", quote(&signal.value)),
        Instruction::User(user) => format!("user {}", quote(&user.value)),
        Instruction::Volume(paths) => {
            format!(
                "volume {}",
                quote_all(paths.iter().map(|path| path.value.as_str()))
            )
        }
        Instruction::Workdir(path) => format!("workdir {}", quote(&path.value)),
    }
}

fn arg(args: &[ArgDefinition]) -> String {
    let one = |arg: &ArgDefinition| match &arg.default {
        Some(default) => format!(" {}={}", quote(&arg.name.value), quote(default)),
        None => format!(" {}", quote(&arg.name.value)),
    };
    format!("arg{}", args.iter().map(one).collect::<String>())
}

fn key_values(pairs: &[KeyValue]) -> String {
    let one = |pair: &KeyValue| {
        let between = if pair.legacy { ' ' } else { '=' };
        format!("{}{between}{}", quote(&pair.key), quote(&pair.value))
    };
    pairs.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn command_line(line: &CommandLine) -> String {
    match line {
        CommandLine::Exec(words) if words.is_empty() => "exec".to_owned(),
        CommandLine::Exec(words) => {
            format!("exec {}", quote_all(words.iter().map(String::as_str)))
        }
        CommandLine::Shell(text) => format!("shell {}", quote(text)),
    }
}

fn dump_run(run: &Run) -> String {
    let mut line = format!("run {}", command_line(&run.command));
    for heredoc in &run.heredocs {
        let chomp = if heredoc.strip_tabs { " chomp" } else { "" };
        let _ = write!(
            line,
            " <<{}{chomp} {}",
            quote(&heredoc.name),
            quote(&heredoc.body)
        );
    }
    line += match run.network.as_ref().map(|network| network.value) {
        None | Some(Network::Default) => "",
        Some(Network::None) => " network=none",
        Some(Network::Host) => " network=host",
    };
    line += match run.security.as_ref().map(|security| security.value) {
        None | Some(Security::Sandbox) => "",
        Some(Security::Insecure) => " security=insecure",
    };
    if !run.mounts.is_empty() {
        let _ = write!(line, " mounts={}", run.mounts.len());
    }
    line
}

fn paths(paths: &Paths) -> String {
    let mut files = String::new();
    let mut heredocs = String::new();
    for source in &paths.sources {
        match source {
            CopySource::Path(path) => {
                let _ = write!(files, " {}", quote(&path.value));
            }
            CopySource::Heredoc(heredoc) => {
                let kind = if heredoc.expand { "expand" } else { "literal" };
                let (name, content) = (quote(&heredoc.name), quote(&heredoc.content()));
                let _ = write!(heredocs, " <<{name} {kind} {content}");
            }
        }
    }
    format!("{files}{heredocs} -> {}", quote(&paths.destination.value))
}

fn copy_options(options: &CopyOptions) -> String {
    let mut line = option("chown", options.chown.as_ref());
    line += &option("chmod", options.chmod.as_ref());
    if options.link {
        line += " link";
    }
    for pattern in &options.exclude {
        let _ = write!(line, " exclude={}", quote(&pattern.value));
    }
    line
}

fn dump_add(add: &Add) -> String {
    let mut line = format!("add{}{}", paths(&add.paths), copy_options(&add.options));
    line += &option("checksum", add.checksum.as_ref());
    if let Some(keep) = &add.keep_git_dir {
        let _ = write!(line, " keep-git-dir={}", keep.value);
    }
    if let Some(unpack) = &add.unpack {
        let _ = write!(line, " unpack={}", unpack.value);
    }
    line
}

fn dump_copy(copy: &Copy) -> String {
    let line = format!("copy{}{}", paths(&copy.paths), copy_options(&copy.options));
    let parents = if copy.parents { " parents" } else { "" };
    line + &option("from", copy.from.as_ref()) + parents
}

fn healthcheck(check: &Healthcheck) -> String {
    match check {
        Healthcheck::None => "healthcheck none".to_owned(),
        Healthcheck::Check {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => {
            let times = [interval, timeout, start_period, start_interval];
            let times = times.map(|time| time.as_nanos().to_string()).join(" ");
            format!("healthcheck {times} {retries} {}", command_line(command))
        }
    }
}
