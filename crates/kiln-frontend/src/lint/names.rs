//! What only looks at words: names of stages, the case of keywords, comments.

use std::collections::HashSet;

use kiln_dockerfile::ast::From;
use kiln_dockerfile::{LintRule, Span, Text};

use super::{Found, Linter, Site, first_word_span};

/// Names that mean something else where a stage is named.
const RESERVED: [&str; 2] = ["context", "scratch"];

impl Linter<'_> {
    pub(super) fn names(&mut self) {
        let dockerfile = self.dockerfile;
        let mut seen: HashSet<&str> = HashSet::new();
        for stage in &dockerfile.stages {
            let from = &stage.from;
            let Some(name) = &from.name else { continue };
            self.stage_name_casing(from, name);
            self.as_casing(from, name);
            let site = Site::Own(from.span);
            if RESERVED.contains(&name.value.as_str()) {
                let found = Found::new(format!("the stage name `{}` is reserved", name.value))
                    .hint("it means something else after `FROM` and in `--from`");
                self.report(LintRule::ReservedStageName, site, name.span, found);
            }
            if !seen.insert(&name.value) {
                let found = Found::new(format!("another stage is also named `{}`", name.value))
                    .hint("the name stands for the last one only");
                self.report(LintRule::DuplicateStageName, site, name.span, found);
            }
        }
    }

    fn stage_name_casing(&mut self, from: &From, name: &Text) {
        let written = from.source.split_whitespace().next_back();
        let written = written.unwrap_or_default();
        if written == written.to_lowercase() {
            return;
        }
        let found = Found::new(format!(
            "the stage name `{written}` should be in lower case"
        ))
        .hint(format!("write `{}`", name.value));
        let site = Site::Own(from.span);
        self.report(LintRule::StageNameCasing, site, name.span, found);
    }

    /// A `FROM` in mixed case is a matter of another check.
    fn as_casing(&mut self, from: &From, name: &Text) {
        let keyword = from.source.split_whitespace().next().unwrap_or_default();
        let written = from.source.split_whitespace().nth_back(1);
        let written = written.unwrap_or_default();
        let expected = if keyword == keyword.to_lowercase() {
            written.to_lowercase()
        } else if keyword == keyword.to_uppercase() {
            written.to_uppercase()
        } else {
            return;
        };
        if written != expected {
            let found = Found::new(format!(
                "`{written}` is not in the same case as `{keyword}`"
            ))
            .hint(format!("write `{expected}`"));
            let site = Site::Own(from.span);
            let span = Span::new(from.span.start, name.span.start);
            self.report(LintRule::FromAsCasing, site, span, found);
        }
    }

    /// The keyword that most instructions agree on decides; a tie is for upper case. Global `ARG`s
    /// don't count.
    pub(super) fn casing(&mut self) {
        let dockerfile = self.dockerfile;
        let mut keywords: Vec<(&str, Span)> = Vec::new();
        for stage in &dockerfile.stages {
            keywords.push((keyword(&stage.from.source), stage.from.span));
            let commands = stage.commands.iter();
            keywords.extend(commands.map(|command| (keyword(&command.source), command.span)));
        }
        let count = |is_case: fn(&str) -> bool| {
            let of_case = keywords.iter().filter(|(keyword, _)| is_case(keyword));
            of_case.count()
        };
        let most_are_lower = count(is_lower) > count(is_upper);
        for (keyword, span) in keywords {
            let (expected, case) = if most_are_lower {
                (keyword.to_lowercase(), "lower")
            } else {
                (keyword.to_uppercase(), "upper")
            };
            if keyword != expected {
                let message =
                    format!("`{keyword}` is not in {case} case, as most instructions are");
                let found = Found::new(message).hint(format!("write `{expected}`"));
                let place = first_word_span(span, keyword);
                let rule = LintRule::ConsistentInstructionCasing;
                self.report(rule, Site::Own(span), place, found);
            }
        }
    }

    /// The last comment above a named stage or an `ARG` begins with what it describes.
    pub(super) fn definitions(&mut self) {
        let dockerfile = self.dockerfile;
        for stage in &dockerfile.stages {
            if let Some(name) = &stage.from.name {
                self.definition("FROM", &[name.value.as_str()], stage.from.span);
            }
        }
        let global = dockerfile.global_args.iter();
        let global = global.map(|instruction| (&instruction.value, instruction.span));
        let local = self
            .commands()
            .filter_map(|command| match &command.instruction {
                kiln_dockerfile::ast::Instruction::Arg(definitions) => {
                    Some((definitions, command.span))
                }
                _ => None,
            });
        for (definitions, span) in global.chain(local) {
            let names = definitions.iter();
            let names: Vec<&str> = names
                .map(|definition| definition.name.value.as_str())
                .collect();
            self.definition("ARG", &names, span);
        }
    }

    fn definition(&mut self, keyword: &str, names: &[&str], span: Span) {
        let dockerfile = self.dockerfile;
        let lines = dockerfile.lines_at(span.start);
        let Some(last) = lines.and_then(|lines| lines.comments.last()) else {
            return;
        };
        let first = last.value.split(' ').next().unwrap_or_default();
        if names.is_empty() || names.contains(&first) {
            return;
        }
        let expected = match names {
            [name] => name,
            _ => "<name>",
        };
        let found = Found::new(format!("the comment does not describe this `{keyword}`")).hint(
            format!("begin it with `# {expected} `, or put an empty comment line after it"),
        );
        let rule = LintRule::InvalidDefinitionDescription;
        self.report(rule, Site::Own(span), first_word_span(span, keyword), found);
    }
}

fn keyword(source: &str) -> &str {
    source.split_whitespace().next().unwrap_or_default()
}

fn is_lower(word: &str) -> bool {
    word == word.to_lowercase()
}

fn is_upper(word: &str) -> bool {
    word == word.to_uppercase()
}
