//! What came of lowering, as text: steps, configuration, history, warnings.

use std::fmt::Write as _;

use kiln_dockerfile::{Diagnostic, line_number};
use kiln_graph::{CopyFrom, CopyOp, CopySource, InlineFile, Network, Op, RunOp, Security, Unpack};
use kiln_oci::{ImageConfig, RuntimeConfig};

use crate::Lowered;

pub(super) fn dump(text: &str, lowered: &Lowered) -> String {
    let mut out = String::new();
    for (index, step) in lowered.graph().steps().iter().enumerate() {
        let inputs: Vec<String> = step
            .inputs
            .iter()
            .map(|input| input.as_usize().to_string())
            .collect();
        let no_cache = if step.meta.ignore_cache {
            " no-cache"
        } else {
            ""
        };
        let target = if lowered.target.as_usize() == index {
            " *"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "{index}({}) {}{no_cache}{target}    -- {}",
            inputs.join(","),
            op(&step.op),
            step.meta.name.replace('\n', "\\n")
        );
    }
    out += &config(&lowered.config);
    for (index, entry) in lowered.config.history.iter().enumerate() {
        let kind = match (index < lowered.base_history, entry.empty_layer) {
            (true, _) => "base ",
            (false, true) => "empty",
            (false, false) => "layer",
        };
        let text = entry.created_by.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{kind} {}", text.replace('\n', "\\n"));
    }
    for name in &lowered.unused_args {
        let _ = writeln!(out, "unused {name}");
    }
    out + &diagnostics(text, &lowered.warnings)
}

pub(super) fn diagnostics(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for found in diagnostics {
        let mark = if found.is_error() { '!' } else { '?' };
        let line = line_number(text, found.span.start);
        let pointed = &text[found.span.start..found.span.end];
        let _ = write!(out, "{mark} {line}: {} @ {pointed:?}", found.message);
        if let Some(hint) = &found.hint {
            let _ = write!(out, " -> {hint}");
        }
        out.push('\n');
    }
    out
}

fn op(op: &Op) -> String {
    match op {
        Op::Scratch => "scratch".to_owned(),
        Op::Image(image) => format!("image {} {}", image.name, image.platform),
        Op::Context(context) if context.id == 0 => "context".to_owned(),
        Op::Context(context) => format!("context {}", context.id),
        Op::Http(http) => format!("http {} as {:?}", http.url, http.name),
        Op::Git(git) => format!(
            "git {}{}",
            git.git,
            if git.git.keep_git_dir == Some(true) {
                " keep"
            } else {
                ""
            }
        ),
        Op::Run(run) => self::run(run),
        Op::Copy(copy) => self::copy(copy),
        Op::Workdir(workdir) => format!("workdir {} {:?}", workdir.path, workdir.user),
        Op::Merge => "merge".to_owned(),
    }
}

fn file(file: &InlineFile) -> String {
    let content = String::from_utf8_lossy(&file.content);
    format!("<<{} {:o} {content:?}", file.path, file.mode)
}

fn run(run: &RunOp) -> String {
    let mut out = format!("run {:?}", run.argv);
    for (name, value) in &run.env {
        // The usual one would only be noise.
        if name != "PATH" || !value.starts_with("/usr/local/sbin") {
            let _ = write!(out, " {name}={value:?}");
        }
    }
    for (name, value) in &run.uncached_env {
        let _ = write!(out, " ({name}={value:?})");
    }
    if run.cwd != "/" {
        let _ = write!(out, " in {}", run.cwd);
    }
    if !run.user.is_empty() {
        let _ = write!(out, " as {}", run.user);
    }
    if run.network != Network::Default {
        let _ = write!(out, " net {:?}", run.network);
    }
    if run.security == Security::Insecure {
        out += " insecure";
    }
    for script in &run.files {
        let _ = write!(out, " {}", file(script));
    }
    for mount in &run.mounts {
        let _ = write!(out, " {mount:?}");
    }
    out
}

fn copy(copy: &CopyOp) -> String {
    let mut out = "copy".to_owned();
    for source in &copy.sources {
        match source {
            CopySource::Path(path) => {
                let _ = write!(out, " {path:?}");
            }
            CopySource::Inline(inline) => {
                let _ = write!(out, " {}", file(inline));
            }
        }
    }
    let from = match copy.from {
        CopyFrom::Nothing => "nothing",
        CopyFrom::Context => "context",
        CopyFrom::Root => "root",
    };
    let _ = write!(out, " from {from} to {:?}", copy.dest);
    if let Some(owner) = &copy.chown {
        let _ = write!(out, " chown {owner} by {}", copy.owners);
    }
    if let Some(mode) = &copy.chmod {
        let _ = write!(out, " chmod {mode}");
    }
    for pattern in &copy.exclude {
        let _ = write!(out, " exclude {pattern}");
    }
    let flags = [
        (copy.parents, " parents"),
        (copy.unpack == Unpack::Archives, " unpack"),
        (copy.link, " no-follow"),
    ];
    out.extend(flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
    out
}

/// What the configuration has beside the usual `PATH`.
fn config(config: &ImageConfig) -> String {
    let RuntimeConfig {
        user,
        exposed_ports,
        env,
        entrypoint,
        cmd,
        volumes,
        working_dir,
        labels,
        stop_signal,
        healthcheck,
        shell,
        on_build,
        args_escaped: _,
        unknown: _,
    } = &config.runtime;
    let usual = |entry: &&String| !entry.starts_with("PATH=/usr/local/sbin");
    let env: Vec<&String> = env.iter().filter(usual).collect();
    let facts = [
        (
            "author",
            config.author.is_some(),
            format!("{:?}", config.author),
        ),
        ("user", !user.is_empty(), user.clone()),
        (
            "ports",
            !exposed_ports.is_empty(),
            format!("{exposed_ports:?}"),
        ),
        ("env", !env.is_empty(), format!("{env:?}")),
        (
            "entrypoint",
            entrypoint.is_some(),
            format!("{entrypoint:?}"),
        ),
        ("cmd", cmd.is_some(), format!("{cmd:?}")),
        ("volumes", !volumes.is_empty(), format!("{volumes:?}")),
        (
            "workdir",
            !matches!(working_dir.as_str(), "" | "/"),
            working_dir.clone(),
        ),
        ("labels", !labels.is_empty(), format!("{labels:?}")),
        (
            "stopsignal",
            stop_signal.is_some(),
            format!("{stop_signal:?}"),
        ),
        ("health", healthcheck.is_some(), format!("{healthcheck:?}")),
        ("shell", shell.is_some(), format!("{shell:?}")),
        ("onbuild", !on_build.is_empty(), format!("{on_build:?}")),
    ];
    let mut out = String::new();
    for (name, _, value) in facts.into_iter().filter(|(_, set, _)| *set) {
        let _ = writeln!(out, "{name} {value}");
    }
    out
}
