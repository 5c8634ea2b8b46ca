//! `FROM`: what a stage begins with, and the checks of that line.

use std::collections::{BTreeSet, HashMap};

use kiln_dockerfile::ast::{Command, From, Instruction};
use kiln_dockerfile::expand::Expanded;
use kiln_dockerfile::{Dockerfile, LintRule, Text};
use kiln_oci::{Platform, Reference};

use super::{Found, Linter, Site};
use crate::scope::{self, Scope};
use crate::{BaseFacts, BaseRequest, ImageName, LowerOptions, NamedContext, contexts};

/// What a stage begins with.
#[derive(Debug, Clone)]
pub(crate) struct StageBase {
    pub(crate) root: Root,
    /// `--platform`.
    pub(crate) platform: Option<Platform>,
    /// A named context stands in the stage's place, so that its instructions don't count.
    pub(crate) is_replaced: bool,
    /// The variables that its `FROM` uses.
    pub(crate) used: BTreeSet<String>,
}

/// Where a stage's files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    Scratch,
    /// An earlier stage.
    Stage(usize),
    Image(ImageName),
    /// Files of a named context, or something that is no image's name.
    Other,
}

/// The last stage of each name.
pub(super) fn names(dockerfile: &Dockerfile) -> HashMap<&str, usize> {
    let stages = dockerfile.stages.iter().enumerate();
    let names = stages.filter_map(|(index, stage)| {
        let name = stage.from.name.as_ref()?;
        Some((name.value.as_str(), index))
    });
    names.collect()
}

impl<'a> Linter<'a> {
    /// The number of the stage to build; that of the last one also where there is none of that
    /// name, which lowering refuses.
    pub(super) fn target(&self) -> usize {
        let last = self.dockerfile.stages.len().saturating_sub(1);
        let wanted = self.options.target.as_deref();
        wanted.map_or(last, |name| self.find_stage(name).unwrap_or(last))
    }

    /// A stage by its name, or else its number.
    fn find_stage(&self, name: &str) -> Option<usize> {
        let named = self.names.get(name.to_lowercase().as_str()).copied();
        named
            .or_else(|| name.parse().ok())
            .filter(|&index| index < self.dockerfile.stages.len())
    }

    /// The bases, all looked at whether they are needed or not.
    pub(super) fn bases(&mut self) -> Vec<StageBase> {
        let dockerfile = self.dockerfile;
        let declared = self.global_names();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut bases = Vec::new();
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let from = &stage.from;
            let name = self.expand_in_from(from, &from.base, &declared);
            let name = name.unwrap_or_default();
            let (platform, mut used) = self.platform(from, &declared);
            used.extend(name.used);
            let base = self.base(from, &name.text, platform, &names);
            bases.push(StageBase { used, ..base });
            if let Some(name) = &from.name {
                names.insert(&name.value, index);
            }
        }
        bases
    }

    fn base(
        &self,
        from: &From,
        name: &str,
        platform: Option<Platform>,
        names: &HashMap<&str, usize>,
    ) -> StageBase {
        let wanted = platform.as_ref().unwrap_or(&self.options.target_platform);
        let context = |name: &str| contexts::find(&self.options.contexts, name, wanted);
        let own = from.name.as_ref().and_then(|own| context(&own.value));
        let stage = names.get(name.to_lowercase().as_str());
        let root = match (own, stage) {
            (Some(context), _) => Root::of(context),
            (None, Some(&stage)) => Root::Stage(stage),
            (None, None) if name == "scratch" => Root::Scratch,
            (None, None) => match (context(name), name.parse::<Reference>()) {
                (Some(context), _) => Root::of(context),
                (None, Ok(reference)) => Root::Image(ImageName::Reference(reference)),
                (None, Err(_)) => Root::Other,
            },
        };
        StageBase {
            root,
            platform,
            is_replaced: own.is_some(),
            used: BTreeSet::new(),
        }
    }

    /// The names that `FROM` may use.
    fn global_names(&self) -> BTreeSet<String> {
        let set = self.globals.pairs().iter().map(|(name, _)| name.clone());
        let written = self.dockerfile.global_args.iter();
        let written = written.flat_map(|instruction| &instruction.value);
        set.chain(written.map(|definition| definition.name.value.clone()))
            .collect()
    }

    /// A word of a `FROM` with its variables replaced; `None` where that fails.
    fn expand_in_from(
        &mut self,
        from: &From,
        text: &Text,
        declared: &BTreeSet<String>,
    ) -> Option<Expanded> {
        let expanded = self
            .expander
            .expand(&text.value, text.span, &self.globals)
            .ok()?;
        for name in expanded
            .unset
            .iter()
            .filter(|name| !declared.contains(*name))
        {
            let found = Found::new(format!("`FROM` uses `${name}`, which nothing declares"))
                .meant(name, declared.iter().map(String::as_str));
            let site = Site::Own(from.span);
            self.report(LintRule::UndefinedArgInFrom, site, text.span, found);
        }
        Some(expanded)
    }

    /// `--platform`, and the variables in it.
    fn platform(
        &mut self,
        from: &From,
        declared: &BTreeSet<String>,
    ) -> (Option<Platform>, BTreeSet<String>) {
        let Some(text) = &from.platform else {
            return (None, BTreeSet::new());
        };
        let Some(expanded) = self.expand_in_from(from, text, declared) else {
            return (None, BTreeSet::new());
        };
        let site = Site::Own(from.span);
        let platform = expanded.text.parse::<Platform>().ok();
        let platform = platform.map(|platform| platform.normalized());
        let is_target = expanded.used.iter().eq(["TARGETPLATFORM"]) && expanded.unset.is_empty();
        if is_target && self.globals.value("TARGETPLATFORM") == Some(&expanded.text) {
            let found = Found::new(format!("`--platform={}` is the default", text.value))
                .hint("leave it out");
            self.report(LintRule::RedundantTargetPlatform, site, text.span, found);
        }
        let is_constant = expanded.used.is_empty() && expanded.unset.is_empty();
        if let Some(platform) = platform.as_ref().filter(|_| is_constant) {
            let name = from.name.as_ref().map_or("", |name| name.value.as_str());
            // A name that says what the stage is for shows that the platform is meant.
            if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
                let message = format!("`--platform` has the constant value `{}`", expanded.text);
                let found = Found::new(message)
                    .hint("leave it out and give the build `--platform`, or use a variable");
                let rule = LintRule::FromPlatformFlagConstDisallowed;
                self.report(rule, site, text.span, found);
            }
        }
        (platform, expanded.used)
    }

    /// Bases whose names are invalid when no build argument is given.
    pub(super) fn default_bases(&mut self) {
        let dockerfile = self.dockerfile;
        let automatic = |name: &str| name.starts_with("TARGET") || name.starts_with("BUILD");
        let written = dockerfile.global_args.iter();
        let written: BTreeSet<&str> = written
            .flat_map(|instruction| &instruction.value)
            .map(|definition| definition.name.value.as_str())
            .collect();
        let mut options: LowerOptions = self.options.clone();
        options
            .build_args
            .retain(|name, _| automatic(name) && !written.contains(name.as_str()));
        let Ok(globals) = scope::global(dockerfile, &options) else {
            return;
        };
        for stage in &dockerfile.stages {
            let text = &stage.from.base;
            let expanded = self.expander.expand(&text.value, text.span, &globals);
            let Ok(expanded) = expanded else { return };
            if text.value.is_empty() || expanded.text.parse::<Reference>().is_ok() {
                continue;
            }
            let message = format!(
                "`{}` is no image's name without build arguments",
                text.value
            );
            let found = Found::new(message).hint("give the `ARG` a default that makes it one");
            let site = Site::Own(stage.from.span);
            self.report(LintRule::InvalidDefaultArgInFrom, site, text.span, found);
        }
    }

    /// What is known of a stage's base image; where nothing is, that is noted.
    pub(super) fn base_facts(
        &mut self,
        image: &ImageName,
        base: &StageBase,
        from: &From,
    ) -> Option<&'a BaseFacts> {
        let wanted = base.platform.as_ref();
        let platform = wanted.unwrap_or(&self.options.target_platform).clone();
        if let Some(facts) = self.facts.get(image, &platform) {
            self.base_platform(from, facts, &platform);
            return Some(facts);
        }
        let same = |other: &BaseRequest| other.image == *image && other.platform == platform;
        if !self.missing.iter().any(same) {
            self.missing.push(BaseRequest {
                image: image.clone(),
                platform,
                span: from.base.span,
            });
        }
        None
    }

    fn base_platform(&mut self, from: &From, facts: &BaseFacts, wanted: &Platform) {
        let is = &facts.config.platform;
        if is.os == wanted.os && is.architecture == wanted.architecture {
            return;
        }
        let (name, is, wanted) = (&from.base.value, is.normalized(), wanted.normalized());
        let found = Found::new(format!(
            "the base `{name}` is for `{is}`, not for `{wanted}`"
        ))
        .hint("its programs may not run");
        let site = Site::Own(from.span);
        self.report(
            LintRule::InvalidBaseImagePlatform,
            site,
            from.base.span,
            found,
        );
    }

    /// Which stages a stage needs.
    pub(crate) fn needed(&self, index: usize, bases: &[StageBase]) -> Vec<usize> {
        let Some(stage) = self.dockerfile.stages.get(index) else {
            return Vec::new();
        };
        let mut needed = Vec::new();
        let base = &bases[index];
        if let Root::Stage(base) = base.root {
            needed.push(base);
            for command in &self.dockerfile.stages[base].commands {
                if let Instruction::Onbuild(onbuild) = &command.instruction
                    && let Some(trigger) = &onbuild.parsed
                {
                    needed.extend(self.sources(trigger));
                }
            }
        }
        if !base.is_replaced {
            needed.extend(
                stage
                    .commands
                    .iter()
                    .flat_map(|command| self.sources(command)),
            );
        }
        needed
    }

    /// The stages that an instruction takes files from.
    fn sources(&self, command: &Command) -> Vec<usize> {
        let names: Vec<&str> = match &command.instruction {
            Instruction::Copy(copy) => copy.from.iter().map(|from| from.value.as_str()).collect(),
            Instruction::Run(run) => {
                let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
                fields
                    .filter_map(|field| field.strip_prefix("from="))
                    .collect()
            }
            _ => Vec::new(),
        };
        let names = names.into_iter();
        names.filter_map(|name| self.find_stage(name)).collect()
    }

    /// The stages that the target needs, itself among them.
    pub(super) fn reachable(&self, target: usize, bases: &[StageBase]) -> Vec<bool> {
        let mut reachable = vec![false; bases.len()];
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if let Some(seen) = reachable.get_mut(index)
                && !std::mem::replace(seen, true)
            {
                open.extend(self.needed(index, bases));
            }
        }
        reachable
    }

    /// What the variables before the first stage come to.
    pub(crate) fn global_scope(&self) -> &Scope {
        &self.globals
    }
}

impl Root {
    fn of(context: &NamedContext) -> Self {
        match context {
            NamedContext::Files(_) => Self::Other,
            NamedContext::Image(image) => Self::Image(image.clone()),
        }
    }
}
