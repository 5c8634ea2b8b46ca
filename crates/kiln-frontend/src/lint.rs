//! The checks: what can be built but should be written otherwise.
//!
//! [`lint`] is a pure function of the tree, the build's options and what is known of base images.
//! It needs no base: what only a base's configuration could tell is left out until its facts are
//! there, and [`Lint::missing`] names them. Conditions are those of BuildKit's checks of the same
//! names; each has a chapter in `docs/lint.md`.
//!
//! Deliberately absent: whether the file can be built at all, which the parser and
//! [`crate::lower`] say, and reading ignore files.

mod copy;
mod from;
mod ignored;
mod names;
mod report;
mod sarif;
mod secrets;
mod stage;

use std::collections::{HashMap, HashSet};

use kiln_dockerfile::ast::Command;
use kiln_dockerfile::{CheckConfig, Diagnostic, Dockerfile, LintRule, Span, Text, did_you_mean};

use crate::lower;
use crate::scope::{self, Scope};
use crate::text::Expander;
use crate::{BaseRequest, Facts, LowerOptions};

pub use ignored::IgnoreList;
pub use report::{LintReport, ReportSource};

pub(crate) use from::StageBase;
pub(crate) use stage::{Capture, StageScope};

/// The build argument that says which checks run, instead of the file's `# check=`.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// A misspelt name is compared with that many others at most.
const MAX_NAMES: usize = 500;

/// What the checks found.
#[derive(Debug, Clone, Default)]
pub struct Lint {
    /// What was found, in the order of the file. Most are warnings with a rule. What keeps the file
    /// from being built, a wrong `# check=` among it, is an error without one; a name in `# check=`
    /// that is no check's is a warning without.
    pub diagnostics: Vec<Diagnostic>,
    /// Images whose configuration would let more be checked.
    pub missing: Vec<BaseRequest>,
    /// Whether the file or the build asks for what was found to be an error.
    pub fails: bool,
}

impl Lint {
    /// The diagnostics, with one more at the end that says that the build fails, where it does.
    pub fn diagnostics_with_verdict(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics;
        if self.fails {
            let mut names: Vec<&str> = Vec::new();
            for rule in diagnostics.iter().filter_map(|found| found.rule) {
                if !names.contains(&rule.name()) {
                    names.push(rule.name());
                }
            }
            let names = names.join(", ");
            let message = format!("`error=true` makes an error of what was found by {names}");
            diagnostics.push(Diagnostic::error(Span::default(), message));
        }
        diagnostics
    }
}

/// Which stages are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The target and what it needs.
    Target,
    /// All.
    Everything,
}

/// Checks a Dockerfile as `kiln lint` and `--check` do: the target and what it needs, or all stages
/// where the options name no target. What keeps the target from being built is told, too, as far as
/// it is known without more facts.
pub fn lint(dockerfile: &Dockerfile, options: &LowerOptions, facts: &Facts) -> Lint {
    let reach = match options.target {
        Some(_) => Reach::Target,
        None => Reach::Everything,
    };
    let mut linter = Linter::new(dockerfile, options, facts);
    linter.run(reach);
    // A `FROM` that the parser could not read has no base, and lowering would tell that again.
    let mut stages = dockerfile.stages.iter();
    if stages.all(|stage| !stage.from.base.value.is_empty()) {
        let errors = lower::errors(dockerfile, options, facts);
        linter.found.extend(errors);
    }
    linter.finish()
}

/// Checks a Dockerfile as a build does: only the stages that the build needs.
pub fn lint_build(dockerfile: &Dockerfile, options: &LowerOptions, facts: &Facts) -> Lint {
    let mut linter = Linter::new(dockerfile, options, facts);
    linter.run(Reach::Target);
    linter.finish()
}

/// The instruction that a check looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Site {
    /// It stands at this place of the file.
    Own(Span),
    /// It is a trigger of a stage of the file, and runs at the `FROM` at this place.
    Trigger(Span),
    /// It is a trigger of a base image, which the file can't change: nothing is reported.
    Foreign,
}

/// The stages of a file after they were looked at.
pub(crate) struct Walked {
    /// What each begins with.
    pub(crate) bases: Vec<StageBase>,
    /// What each came to; `None` where it was not looked at.
    pub(crate) stages: Vec<Option<StageScope>>,
    /// The stage to be built.
    pub(crate) target: usize,
}

/// The work of checking: what is given, and what was found so far.
pub(crate) struct Linter<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) options: &'a LowerOptions,
    facts: &'a Facts,
    config: CheckConfig,
    expander: Expander,
    pub(crate) globals: Scope,
    found: Vec<Diagnostic>,
    /// What is among `found`: no warning is given twice.
    seen: HashSet<(LintRule, Span, String)>,
    /// The last stage of each name.
    names: HashMap<&'a str, usize>,
    missing: Vec<BaseRequest>,
}

impl<'a> Linter<'a> {
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        options: &'a LowerOptions,
        facts: &'a Facts,
    ) -> Self {
        let mut linter = Self {
            dockerfile,
            options,
            facts,
            config: CheckConfig::default(),
            expander: Expander::new(dockerfile),
            // What is wrong with a global `ARG` lowering says.
            globals: scope::global(dockerfile, options).unwrap_or_default(),
            found: Vec::new(),
            seen: HashSet::new(),
            names: from::names(dockerfile),
            missing: Vec::new(),
        };
        linter.configure();
        linter
    }

    /// Looks at the file.
    pub(crate) fn run(&mut self, reach: Reach) -> Walked {
        self.empty_continuations();
        self.maintainers();
        self.names();
        self.casing();
        self.definitions();
        self.default_bases();
        let bases = self.bases();
        let target = self.target();
        let stages = self.stages(&bases, target, reach);
        Walked {
            bases,
            stages,
            target,
        }
    }

    fn finish(mut self) -> Lint {
        self.found.sort_by_key(|found| found.span.start);
        let fails = self.config.error && self.found.iter().any(|found| found.rule.is_some());
        Lint {
            diagnostics: self.found,
            missing: self.missing,
            fails,
        }
    }

    /// Reads which checks run, and reports what is wrong with that.
    fn configure(&mut self) {
        let given = self.options.build_args.get(CHECK_ARGUMENT);
        let given = given.map(|value| Text::new(value.clone(), Span::default()));
        let is_given = given.is_some();
        let written = self.dockerfile.directives.check.clone();
        if let Some(text) = given.or(written) {
            let value = if is_given {
                text.value.as_str()
            } else {
                first_word(&text.value)
            };
            match CheckConfig::parse(value) {
                Ok(config) => {
                    self.report_unknown(&config, text.span);
                    self.config = config;
                }
                Err(error) => self
                    .found
                    .push(Diagnostic::error(text.span, error.to_string())),
            }
        }
        for lines in &self.dockerfile.lines {
            let Some((value, span)) = check_comment(&lines.comments) else {
                continue;
            };
            match CheckConfig::parse(value) {
                Ok(config) => self.report_unknown(&config, span),
                Err(error) => {
                    let warning = Diagnostic::warning(span, error.to_string());
                    self.found
                        .push(warning.with_hint("the comment has no effect"));
                }
            }
        }
    }

    fn report_unknown(&mut self, config: &CheckConfig, span: Span) {
        for (name, meant) in config.suggestions() {
            let warning = Diagnostic::warning(span, format!("there is no check `{name}`"));
            self.found.push(match meant {
                Some(meant) => warning.with_hint(format!("did you mean `{meant}`?")),
                None => warning,
            });
        }
    }

    /// Whether a check runs for the instruction at a place: what holds for the file, and the first
    /// `# check=` among the comments above the instruction.
    fn allows(&self, rule: LintRule, at: Span) -> bool {
        let lines = self.dockerfile.lines_at(at.start);
        let comment = lines.and_then(|lines| check_comment(&lines.comments));
        let own = comment.and_then(|(value, _)| CheckConfig::parse(value).ok());
        match own {
            Some(own) => self.config.merged(&own).allows(rule),
            None => self.config.allows(rule),
        }
    }

    /// Adds what a check found at `span`, which is in the instruction at `site`.
    pub(crate) fn report(&mut self, rule: LintRule, site: Site, span: Span, found: Found) {
        let (at, span) = match site {
            Site::Own(at) => (at, span),
            Site::Trigger(from) => (from, from),
            Site::Foreign => return,
        };
        if !self.allows(rule, at) {
            return;
        }
        let warning = Diagnostic::lint(rule, span, found.message);
        let warning = match found.hint {
            Some(hint) => warning.with_hint(hint),
            None => warning,
        };
        if self.seen.insert((rule, span, warning.message.clone())) {
            self.found.push(warning);
        }
    }

    fn empty_continuations(&mut self) {
        let dockerfile = self.dockerfile;
        for lines in &dockerfile.lines {
            let Some(span) = lines.empty_continuation else {
                continue;
            };
            let found = Found::new("empty line in a continued instruction")
                .hint("remove it, or make it a comment: it will become an error");
            self.report(
                LintRule::NoEmptyContinuation,
                Site::Own(lines.span),
                span,
                found,
            );
        }
    }

    fn maintainers(&mut self) {
        for command in self.commands() {
            if let kiln_dockerfile::ast::Instruction::Maintainer(_) = command.instruction {
                let found = Found::new("`MAINTAINER` is deprecated")
                    .hint("use `LABEL org.opencontainers.image.authors=…`");
                let span = first_word_span(command.span, "MAINTAINER");
                self.report(
                    LintRule::MaintainerDeprecated,
                    Site::Own(command.span),
                    span,
                    found,
                );
            }
        }
    }

    /// The instructions of all stages.
    fn commands(&self) -> impl Iterator<Item = &'a Command> + use<'a> {
        let stages = self.dockerfile.stages.iter();
        stages.flat_map(|stage| &stage.commands)
    }
}

/// What a check says.
pub(crate) struct Found {
    message: String,
    hint: Option<String>,
}

impl Found {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// With the name that may have been meant, if there is one.
    fn meant<'n>(self, name: &str, known: impl IntoIterator<Item = &'n str>) -> Self {
        match did_you_mean(name, known.into_iter().take(MAX_NAMES)) {
            Some(known) => self.hint(format!("did you mean `${known}`?")),
            None => self,
        }
    }
}

/// The value of the first `check=` among comments, up to the first space, and the comment's place.
fn check_comment(comments: &[Text]) -> Option<(&str, Span)> {
    comments.iter().find_map(|comment| {
        let (name, value) = comment.value.split_once('=')?;
        let value = value.trim();
        let is_check = name.trim_end().eq_ignore_ascii_case("check") && !value.is_empty();
        is_check.then(|| (first_word(value), comment.span))
    })
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// The place of an instruction's keyword.
fn first_word_span(span: Span, keyword: &str) -> Span {
    Span::new(span.start, (span.start + keyword.len()).min(span.end))
}
