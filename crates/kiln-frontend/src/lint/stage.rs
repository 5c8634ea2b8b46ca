//! The instructions of a stage, one after the other, with the values that variables have there.

use std::collections::{BTreeMap, BTreeSet};

use kiln_dockerfile::ast::{
    ArgDefinition, Command, CommandLine, Instruction, KeyValue, MountKind, Run,
};
use kiln_dockerfile::expand::Expanded;
use kiln_dockerfile::{LintRule, Span, Text};
use kiln_oci::ImageConfig;

use super::from::{Root, StageBase};
use super::secrets::is_secret;
use super::{Found, Linter, Reach, Site};
use crate::scope::{NOT_IN_ENVIRONMENT, Scope};

/// A stage after some of its instructions.
#[derive(Debug, Clone, Default)]
pub(crate) struct StageScope {
    pub(super) env: Scope,
    /// The base's variables are known, so that what is not among them is set nowhere.
    env_is_known: bool,
    /// Names that an `ARG` declares.
    declared: BTreeSet<String>,
    has_shell: bool,
    workdir_is_set: bool,
    /// Where `CMD`, `ENTRYPOINT` and `HEALTHCHECK` were last set in the stage itself.
    last: BTreeMap<&'static str, (Site, Span)>,
    pub(crate) capture: Capture,
}

/// What a stage asks its build for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Capture {
    /// The arguments that its `ARG`s declare, and their values. Those that take what was set before
    /// the first stage have no entry.
    pub(crate) args: BTreeMap<String, (Option<String>, Span)>,
    /// The names that its `ARG`s declare.
    pub(crate) used: BTreeSet<String>,
    pub(crate) secrets: BTreeMap<String, (bool, Span)>,
    pub(crate) ssh: BTreeMap<String, (bool, Span)>,
    pub(crate) caches: BTreeMap<String, Span>,
}

impl Linter<'_> {
    /// Looks at the stages in the order of the file.
    pub(super) fn stages(
        &mut self,
        bases: &[StageBase],
        target: usize,
        reach: Reach,
    ) -> Vec<Option<StageScope>> {
        let dockerfile = self.dockerfile;
        let reachable = match reach {
            Reach::Target => self.reachable(target, bases),
            Reach::Everything => vec![true; bases.len()],
        };
        let mut done: Vec<Option<StageScope>> = Vec::new();
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            if !reachable[index] {
                done.push(None);
                continue;
            }
            let mut scope = self.begin(index, bases, &done);
            if !bases[index].is_replaced {
                if let Root::Stage(base) = bases[index].root {
                    self.triggers(&mut scope, base, stage.from.span);
                }
                for command in &stage.commands {
                    self.command(&mut scope, command, Site::Own(command.span));
                }
            }
            done.push(Some(scope));
        }
        done
    }

    fn begin(
        &mut self,
        index: usize,
        bases: &[StageBase],
        done: &[Option<StageScope>],
    ) -> StageScope {
        let from = &self.dockerfile.stages[index].from;
        let base = &bases[index];
        match &base.root {
            Root::Stage(stage) => {
                let inherited = done.get(*stage).cloned().flatten().unwrap_or_default();
                StageScope {
                    last: BTreeMap::new(),
                    capture: Capture::default(),
                    ..inherited
                }
            }
            Root::Scratch => StageScope::known(),
            Root::Other => StageScope::default(),
            Root::Image(image) => match self.base_facts(image, base, from) {
                Some(facts) => {
                    let config = facts.config.clone();
                    self.image_scope(&config)
                }
                None => StageScope::default(),
            },
        }
    }

    /// What a base image leaves to its child, its triggers run.
    fn image_scope(&mut self, config: &ImageConfig) -> StageScope {
        let runtime = &config.runtime;
        let mut scope = StageScope::known();
        for entry in &runtime.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            scope.env.set(name, value);
        }
        scope.has_shell = runtime
            .shell
            .as_ref()
            .is_some_and(|shell| !shell.is_empty());
        for trigger in &runtime.on_build {
            if let (Some(command), _) = kiln_dockerfile::parse_trigger(trigger) {
                self.command(&mut scope, &command, Site::Foreign);
            }
        }
        scope
    }

    /// The triggers of a stage of the file, run by its child.
    fn triggers(&mut self, scope: &mut StageScope, base: usize, from: Span) {
        let dockerfile = self.dockerfile;
        for command in &dockerfile.stages[base].commands {
            if let Instruction::Onbuild(onbuild) = &command.instruction
                && let Some(trigger) = &onbuild.parsed
            {
                self.command(scope, trigger, Site::Trigger(from));
            }
        }
    }

    fn command(&mut self, scope: &mut StageScope, command: &Command, site: Site) {
        match &command.instruction {
            Instruction::Env(pairs) => {
                for (name, value) in self.pairs(scope, pairs, ("ENV", site)) {
                    scope.env.set(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                self.pairs(scope, pairs, ("LABEL", site));
            }
            Instruction::Arg(definitions) => self.arg(scope, definitions, site),
            Instruction::Copy(copy) => self.copy(scope, copy, site),
            Instruction::Add(add) => self.add(scope, add, site),
            Instruction::Run(run) => self.run_mounts(scope, run, site),
            Instruction::Workdir(path) => self.workdir(scope, path, site),
            Instruction::User(text) | Instruction::StopSignal(text) => {
                self.word(scope, text, site);
            }
            Instruction::Volume(texts) => {
                for text in texts {
                    self.word(scope, text, site);
                }
            }
            Instruction::Expose(specs) => self.expose(scope, specs, site),
            Instruction::Cmd(line) | Instruction::Entrypoint(line) => {
                self.set_once(scope, command, site);
                self.shell_form(scope, command, line, site);
            }
            Instruction::Healthcheck(_) => self.set_once(scope, command, site),
            Instruction::Shell(_) => scope.has_shell = true,
            Instruction::Maintainer(_) | Instruction::Onbuild(_) => {}
        }
    }

    /// Replaces the variables of a text; where that fails, which lowering tells, it stays.
    pub(super) fn word(&mut self, scope: &StageScope, text: &Text, site: Site) -> String {
        self.expand(scope, &text.value, text.span, site)
    }

    fn expand(&mut self, scope: &StageScope, text: &str, span: Span, site: Site) -> String {
        match self.expander.expand(text, span, &scope.env) {
            Ok(expanded) => {
                self.undefined(scope, &expanded, span, site);
                expanded.text
            }
            Err(_) => text.to_owned(),
        }
    }

    pub(super) fn undefined(
        &mut self,
        scope: &StageScope,
        expanded: &Expanded,
        span: Span,
        site: Site,
    ) {
        if !scope.env_is_known {
            return;
        }
        for name in &expanded.unset {
            if scope.declared.contains(name) || NOT_IN_ENVIRONMENT.contains(&name.as_str()) {
                continue;
            }
            let known = scope.env.pairs().iter().map(|(known, _)| known.as_str());
            let found = Found::new(format!("usage of undefined variable `${name}`"));
            let found = found.meant(name, known);
            self.report(LintRule::UndefinedVar, site, span, found);
        }
    }

    /// All values are replaced with what was set before the instruction.
    fn pairs(
        &mut self,
        scope: &StageScope,
        pairs: &[KeyValue],
        (keyword, site): (&str, Site),
    ) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for pair in pairs {
            let name = self.expand(scope, &pair.key, pair.span, site);
            let value = self.expand(scope, &pair.value, pair.span, site);
            if pair.legacy {
                let key = &pair.key;
                let found = Found::new(format!("`{keyword}` without `=`"))
                    .hint(format!("write `{keyword} {key}=…`"));
                self.report(LintRule::LegacyKeyValueFormat, site, pair.span, found);
            }
            if keyword == "ENV" {
                self.secret(keyword, &name, (site, pair.span));
            }
            values.push((name, value));
        }
        values
    }

    fn secret(&mut self, keyword: &str, name: &str, (site, span): (Site, Span)) {
        if is_secret(name) {
            let found = Found::new(format!("`{keyword} {name}` puts a secret into the image"))
                .hint("hand it to a step by `RUN --mount=type=secret`");
            self.report(LintRule::SecretsUsedInArgOrEnv, site, span, found);
        }
    }

    fn arg(&mut self, scope: &mut StageScope, definitions: &[ArgDefinition], site: Site) {
        for definition in definitions {
            let Text { value: name, span } = &definition.name;
            self.secret("ARG", name, (site, *span));
            let given = self.options.build_args.get(name).cloned();
            let global = self.globals.value(name).map(str::to_owned);
            let is_inherited = given.is_none() && definition.default.is_none() && global.is_some();
            let value = match (given, &definition.default) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some(self.expand(scope, default, *span, site)),
                (None, None) => global,
            };
            if let Some(value) = value.as_ref()
                && !NOT_IN_ENVIRONMENT.contains(&name.as_str())
            {
                scope.env.set(name, value);
            }
            scope.declared.insert(name.clone());
            scope.capture.used.insert(name.clone());
            if !is_inherited {
                let place = site.place(*span);
                scope.capture.args.insert(name.clone(), (value, place));
            }
        }
    }

    fn run_mounts(&mut self, scope: &mut StageScope, run: &Run, site: Site) {
        for flag in &run.mounts {
            let expander = self.expander;
            let mut texts = Vec::new();
            let mount = flag.resolve(|word| {
                texts.push(word.to_owned());
                expander.raw(word, &scope.env)
            });
            for text in texts {
                self.expand(scope, &text, flag.span, site);
            }
            let Ok(mount) = mount else { continue };
            let target = mount.target.as_deref().unwrap_or_default();
            let base = target.rsplit('/').next().unwrap_or_default();
            let place = site.place(flag.span);
            match mount.kind {
                MountKind::Secret { id, required, .. } => {
                    let id = id.unwrap_or_else(|| base.to_owned());
                    scope.capture.secrets.entry(id).or_insert((required, place));
                }
                MountKind::Ssh { id, required, .. } => {
                    let id = id.unwrap_or_else(|| "default".to_owned());
                    scope.capture.ssh.entry(id).or_insert((required, place));
                }
                MountKind::Cache { id, .. } => {
                    let id = id.unwrap_or_else(|| target.to_owned());
                    scope.capture.caches.entry(id).or_insert(place);
                }
                MountKind::Bind { .. } | MountKind::Tmpfs { .. } => {}
            }
        }
    }

    fn workdir(&mut self, scope: &mut StageScope, text: &Text, site: Site) {
        let path = self.word(scope, text, site);
        if !scope.workdir_is_set && !self.is_absolute(&path) {
            let found = Found::new(format!("the working directory `{path}` is relative"))
                .hint("begin it with `/`: it depends on what the base image says");
            self.report(LintRule::WorkdirRelativePath, site, text.span, found);
        }
        scope.workdir_is_set = true;
    }

    fn is_absolute(&self, path: &str) -> bool {
        let on_windows = self.options.target_platform.os == "windows";
        path.starts_with('/')
            || on_windows && (path.starts_with('\\') || path.as_bytes().get(1) == Some(&b':'))
    }

    fn expose(&mut self, scope: &StageScope, specs: &[Text], site: Site) {
        for text in specs {
            let Ok(words) = self.expander.words(text, &scope.env) else {
                continue;
            };
            for spec in words {
                self.port(&spec, text.span, site);
            }
        }
    }

    fn port(&mut self, spec: &str, span: Span, site: Site) {
        let (host, container) = spec.rsplit_once(':').unwrap_or(("", spec));
        let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
        let lower = protocol.to_lowercase();
        if port.is_empty() || !matches!(lower.as_str(), "" | "tcp" | "udp" | "sctp") {
            return;
        }
        if protocol != lower {
            let found = Found::new(format!("the protocol of `{spec}` is not in lower case"))
                .hint(format!("write `{port}/{lower}`"));
            self.report(LintRule::ExposeProtoCasing, site, span, found);
        }
        if !host.is_empty() {
            let found = Found::new(format!("`{spec}` names an address or a port of the host"))
                .hint("`EXPOSE` takes the container's port only; `docker run -p` takes the other");
            self.report(LintRule::ExposeInvalidFormat, site, span, found);
        }
    }

    /// What is reported is the instruction that takes no effect, the one before.
    fn set_once(&mut self, scope: &mut StageScope, command: &Command, site: Site) {
        let name = command.instruction.name();
        let this = (site, site.place(command.span));
        let Some((before, span)) = scope.last.insert(name, this) else {
            return;
        };
        let rule = LintRule::MultipleInstructionsDisallowed;
        // A comment above either of them counts.
        if let Site::Own(at) | Site::Trigger(at) = site
            && self.allows(rule, at)
        {
            let found = Found::new(format!("only the last `{name}` of a stage takes effect"))
                .hint("remove it");
            self.report(rule, before, span, found);
        }
    }

    fn shell_form(
        &mut self,
        scope: &StageScope,
        command: &Command,
        line: &CommandLine,
        site: Site,
    ) {
        if !matches!(line, CommandLine::Shell(_)) || scope.has_shell {
            return;
        }
        let name = command.instruction.name();
        let message = format!("the shell form of `{name}` keeps signals from the program");
        let found = Found::new(message).hint(format!("write `{name} [\"program\", \"argument\"]`"));
        self.report(LintRule::JSONArgsRecommended, site, command.span, found);
    }
}

impl StageScope {
    /// A stage that begins with nothing but the default search path.
    fn known() -> Self {
        let mut scope = Self {
            env_is_known: true,
            ..Self::default()
        };
        scope.env.set("PATH", "");
        scope
    }
}

impl Site {
    /// Where an instruction that stands at `span` is shown.
    fn place(self, span: Span) -> Span {
        match self {
            Self::Own(_) | Self::Foreign => span,
            Self::Trigger(from) => from,
        }
    }
}
