//! The stages of a file as a graph: what each begins with, what it copies from, and in which order
//! they are lowered.

use std::collections::HashMap;

use kiln_dockerfile::ast::{Command, Instruction, Stage};
use kiln_dockerfile::{Diagnostic, Dockerfile, Span, Text};
use kiln_oci::{Platform, Reference};

use crate::scope::{Scope, refuse};
use crate::text::{Expander, Result};
use crate::{BaseRequest, Facts, ImageName, LowerOptions, NamedContext, contexts, mounts};

/// What a stage begins with, or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// Another stage of the file.
    Stage(usize),
    /// An image.
    Image(ImageName),
    /// The files of a named context, by the caller's number.
    Files(usize),
}

impl Base {
    fn of_context(context: &NamedContext) -> Self {
        match context {
            NamedContext::Files(number) => Self::Files(*number),
            NamedContext::Image(image) => Self::Image(image.clone()),
        }
    }
}

/// A stage with its first line understood.
#[derive(Debug)]
pub(crate) struct StageInfo<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) base: Base,
    /// `--platform`; otherwise that of the base, or of the build.
    pub(crate) platform: Option<Platform>,
    /// A named context stands in the stage's place: its instructions don't count.
    pub(crate) is_replaced: bool,
}

impl StageInfo<'_> {
    /// The stage's instructions.
    pub(crate) fn commands(&self) -> &[Command] {
        if self.is_replaced {
            &[]
        } else {
            &self.stage.commands
        }
    }
}

/// All stages, and the names by which they are found.
#[derive(Debug)]
pub(crate) struct Stages<'a> {
    pub(crate) all: Vec<StageInfo<'a>>,
    names: HashMap<String, usize>,
    options: &'a LowerOptions,
    expander: Expander,
}

/// A stage or an image that a stage needs, and where it says so.
struct Need {
    base: Base,
    platform: Platform,
    span: Span,
}

impl<'a> Stages<'a> {
    /// Reads every `FROM`, also of stages that will not be needed.
    pub(crate) fn read(
        dockerfile: &'a Dockerfile,
        options: &'a LowerOptions,
        globals: &Scope,
    ) -> Result<Self> {
        let mut stages = Self {
            all: Vec::new(),
            names: HashMap::new(),
            options,
            expander: Expander::new(dockerfile),
        };
        let expander = stages.expander;
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let from = &stage.from;
            let base = expander.word(&from.base, globals)?;
            if base.is_empty() {
                let message = format!("the base `{}` is empty after expansion", from.base.value);
                return refuse(Diagnostic::error(from.base.span, message).with_hint(
                    "give the `ARG` before the first `FROM` a default, or pass `--build-arg`",
                ));
            }
            let platform = match &from.platform {
                None => None,
                Some(text) => Some(platform(text, &expander.word(text, globals)?)?),
            };
            let for_platform = platform.as_ref().unwrap_or(&options.target_platform);
            let named = |name: &str| contexts::find(&options.contexts, name, for_platform);
            let replacement = from.name.as_ref().and_then(|name| named(&name.value));
            let base = match replacement {
                Some(context) => Base::of_context(context),
                None => stages.find(&base, for_platform, from.base.span)?,
            };
            stages.all.push(StageInfo {
                stage,
                base,
                platform,
                is_replaced: replacement.is_some(),
            });
            if let Some(name) = &from.name {
                stages.names.insert(name.value.to_lowercase(), index);
            }
        }
        Ok(stages)
    }

    /// A stage by its name, or else `scratch`, a named context or an image.
    fn find(&self, name: &str, platform: &Platform, span: Span) -> Result<Base> {
        if let Some(&stage) = self.names.get(&name.to_lowercase()) {
            return Ok(Base::Stage(stage));
        }
        if name == "scratch" {
            return Ok(Base::Scratch);
        }
        if let Some(context) = contexts::find(&self.options.contexts, name, platform) {
            return Ok(Base::of_context(context));
        }
        match name.parse::<Reference>() {
            Ok(reference) => Ok(Base::Image(ImageName::Reference(reference))),
            Err(error) => refuse(Diagnostic::error(
                span,
                format!("`{name}` is neither a stage nor the name of an image: {error}"),
            )),
        }
    }

    /// What is wrong with any `COPY --from` or `RUN --mount=from=`, also in stages that are not
    /// needed.
    pub(crate) fn wrong_sources(&self) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        for (index, info) in self.all.iter().enumerate() {
            for from in info.commands().iter().flat_map(sources) {
                match self.source(&from) {
                    Ok(Base::Stage(stage)) if stage == index => {
                        let message = format!("the stage `{}` copies from itself", from.name.value);
                        wrong.push(Diagnostic::error(from.name.span, message));
                    }
                    Ok(_) => {}
                    Err(error) => wrong.push(*error),
                }
            }
        }
        wrong
    }

    /// What `COPY --from` or `RUN --mount=from=` names: a stage by name, for a copy also by number,
    /// a named context or an image.
    pub(crate) fn source(&self, from: &SourceName) -> Result<Base> {
        let SourceName { name: from, kind } = from;
        let name = &from.value;
        if name.contains('$') {
            let message = "variables are not expanded in `--from`";
            return refuse(
                Diagnostic::error(from.span, message)
                    .with_hint("begin a stage with `FROM $NAME AS name` and copy from that"),
            );
        }
        if let (Ok(number), SourceKind::Copy) = (name.parse::<usize>(), kind) {
            if number < self.all.len() {
                return Ok(Base::Stage(number));
            }
            let message = format!("there is no stage {number}");
            return refuse(Diagnostic::error(from.span, message));
        }
        self.find(name, &self.options.target_platform, from.span)
    }

    /// The stage to build.
    pub(crate) fn target(&self, wanted: Option<&str>) -> Result<usize> {
        let Some(wanted) = wanted else {
            return Ok(self.all.len().saturating_sub(1));
        };
        if let Some(&stage) = self.names.get(&wanted.to_lowercase()) {
            return Ok(stage);
        }
        if let Ok(number) = wanted.parse::<usize>()
            && number < self.all.len()
        {
            return Ok(number);
        }
        let message = format!("there is no stage `{wanted}` to build");
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        let hint = format!("the stages are: {}", names.join(", "));
        let diagnostic = Diagnostic::error(Span::default(), message);
        refuse(if names.is_empty() {
            diagnostic
        } else {
            diagnostic.with_hint(hint)
        })
    }

    /// The platform of a stage: that of the stage it begins with, its own, or the build's.
    pub(crate) fn platform(&self, index: usize) -> &Platform {
        let mut at = index;
        loop {
            let info = &self.all[at];
            match (&info.base, &info.platform) {
                // A base stage always comes earlier, so this ends.
                (Base::Stage(base), _) => at = *base,
                (Base::Scratch | Base::Files(_) | Base::Image(_), None) | (Base::Scratch, _) => {
                    return &self.options.target_platform;
                }
                (Base::Image(_) | Base::Files(_), Some(platform)) => return platform,
            }
        }
    }

    /// What a stage is called in progress: nothing where there is only one.
    pub(crate) fn title(&self, index: usize) -> String {
        match &self.all[index].stage.from.name {
            Some(name) => name.value.clone(),
            None if self.all.len() == 1 => String::new(),
            None => format!("stage-{index}"),
        }
    }

    /// The triggers that a stage runs before its own commands.
    pub(crate) fn triggers(&self, index: usize, facts: &Facts) -> Vec<String> {
        match &self.all[index].base {
            _ if self.all[index].is_replaced => Vec::new(),
            Base::Scratch | Base::Files(_) => Vec::new(),
            Base::Image(image) => {
                let known = facts.get(image, self.platform(index));
                known.map_or_else(Vec::new, |facts| facts.config.runtime.on_build.clone())
            }
            Base::Stage(base) => {
                let commands = self.all[*base].commands().iter();
                let triggers = commands.filter_map(|command| match &command.instruction {
                    Instruction::Onbuild(onbuild) => Some(onbuild.trigger.clone()),
                    _ => None,
                });
                triggers.collect()
            }
        }
    }

    /// Which stages and images a stage needs.
    fn needs(&self, index: usize, facts: &Facts) -> Result<Vec<Need>> {
        let info = &self.all[index];
        let mut needs = vec![Need {
            base: info.base.clone(),
            platform: self.platform(index).clone(),
            span: info.stage.from.base.span,
        }];
        let span = info.stage.from.span;
        for trigger in &self.triggers(index, facts) {
            let command = parse_trigger(trigger, span)?;
            for mut from in sources(&command) {
                from.name.span = span;
                needs.push(self.source_of(index, &from)?);
            }
        }
        for from in info.commands().iter().flat_map(sources) {
            needs.push(self.source_of(index, &from)?);
        }
        Ok(needs)
    }

    fn source_of(&self, index: usize, from: &SourceName) -> Result<Need> {
        let base = self.source(from)?;
        let from = &from.name;
        if let Base::Stage(stage) = base
            && stage >= index
        {
            let message = format!(
                "cannot copy from stage `{}`: it has to come before the stage that copies",
                from.value
            );
            return refuse(Diagnostic::error(from.span, message));
        }
        Ok(Need {
            base,
            platform: self.options.target_platform.clone(),
            span: from.span,
        })
    }

    /// The stages that the target needs, each after those it needs itself, and the images that are
    /// not known yet.
    pub(crate) fn order(
        &self,
        target: usize,
        facts: &Facts,
    ) -> Result<(Vec<usize>, Vec<BaseRequest>)> {
        let mut visit = Visit {
            state: vec![Mark::New; self.all.len()],
            order: Vec::new(),
            missing: Vec::new(),
        };
        // A work list instead of recursion: a file may have any number of stages.
        let mut open = vec![(target, false)];
        while let Some((index, is_done)) = open.pop() {
            if is_done {
                visit.state[index] = Mark::Done;
                visit.order.push(index);
                continue;
            }
            match visit.state[index] {
                Mark::Done => continue,
                Mark::Open => {
                    let span = self.all[index].stage.from.span;
                    let title = self.title(index);
                    let message = format!("the stage `{title}` needs itself");
                    return refuse(Diagnostic::error(span, message));
                }
                Mark::New => visit.state[index] = Mark::Open,
            }
            open.push((index, true));
            for need in self.needs(index, facts)?.into_iter().rev() {
                match need.base {
                    Base::Scratch | Base::Files(_) => {}
                    Base::Stage(stage) if visit.state[stage] == Mark::Done => {}
                    Base::Stage(stage) => open.push((stage, false)),
                    Base::Image(image) => visit.want(
                        BaseRequest {
                            image,
                            platform: need.platform,
                            span: need.span,
                        },
                        facts,
                    ),
                }
            }
        }
        Ok((visit.order, visit.missing))
    }
}

struct Visit {
    state: Vec<Mark>,
    order: Vec<usize>,
    missing: Vec<BaseRequest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

impl Visit {
    fn want(&mut self, request: BaseRequest, facts: &Facts) {
        let known = facts.get(&request.image, &request.platform).is_some();
        let same = |other: &BaseRequest| {
            other.image == request.image && other.platform == request.platform
        };
        if !known && !self.missing.iter().any(same) {
            self.missing.push(request);
        }
    }
}

/// A name by which an instruction calls a place to take files from.
#[derive(Debug, Clone)]
pub(crate) struct SourceName {
    pub(crate) name: Text,
    pub(crate) kind: SourceKind,
}

/// Which instruction names a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// `COPY --from`, where a number is a stage.
    Copy,
    /// `RUN --mount=from=`.
    Mount,
}

/// What an instruction takes files from, beside the build context.
fn sources(command: &Command) -> Vec<SourceName> {
    match &command.instruction {
        Instruction::Copy(copy) => copy
            .from
            .iter()
            .map(|from| SourceName {
                name: from.clone(),
                kind: SourceKind::Copy,
            })
            .collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(mounts::source_name).collect(),
        _ => Vec::new(),
    }
}

fn platform(text: &Text, value: &str) -> Result<Platform> {
    if value.is_empty() {
        let message = "the platform is empty after expansion";
        return refuse(Diagnostic::error(text.span, message));
    }
    match value.parse::<Platform>() {
        Ok(platform) => Ok(platform.normalized()),
        Err(error) => refuse(Diagnostic::error(text.span, error.to_string())),
    }
}

/// Reads a trigger of `ONBUILD`; its place becomes that of the `FROM` that runs it.
pub(crate) fn parse_trigger(trigger: &str, span: Span) -> Result<Command> {
    let (command, diagnostics) = kiln_dockerfile::parse_trigger(trigger);
    if let Some(command) = command {
        return Ok(Command { span, ..command });
    }
    let errors: Vec<String> = diagnostics
        .into_iter()
        .filter(Diagnostic::is_error)
        .map(|error| error.message)
        .collect();
    let shown: String = trigger.chars().take(80).collect();
    let message = format!(
        "the base's `ONBUILD {shown}` can't be run: {}",
        errors.join("; ")
    );
    refuse(Diagnostic::error(span, message))
}
