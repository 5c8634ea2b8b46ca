//! One instruction: its keyword, its flags, and the simple ones whole.

use super::flags::{Flags, Kind};
use super::source::{Joined, Lines, Piece};
use super::words::{self, Array};
use super::{Reader, copy, healthcheck, heredoc, run};
use crate::ast::{
    ArgDefinition, Command, CommandLine, From, Heredoc, Instruction, KeyValue, Onbuild,
};
use crate::{Diagnostic, Severity, Span, Text};

/// The eighteen instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
}

impl Keyword {
    pub(super) const ALL: [Self; 18] = [
        Self::Add,
        Self::Arg,
        Self::Cmd,
        Self::Copy,
        Self::Entrypoint,
        Self::Env,
        Self::Expose,
        Self::From,
        Self::Healthcheck,
        Self::Label,
        Self::Maintainer,
        Self::Onbuild,
        Self::Run,
        Self::Shell,
        Self::StopSignal,
        Self::User,
        Self::Volume,
        Self::Workdir,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Arg => "ARG",
            Self::Cmd => "CMD",
            Self::Copy => "COPY",
            Self::Entrypoint => "ENTRYPOINT",
            Self::Env => "ENV",
            Self::Expose => "EXPOSE",
            Self::From => "FROM",
            Self::Healthcheck => "HEALTHCHECK",
            Self::Label => "LABEL",
            Self::Maintainer => "MAINTAINER",
            Self::Onbuild => "ONBUILD",
            Self::Run => "RUN",
            Self::Shell => "SHELL",
            Self::StopSignal => "STOPSIGNAL",
            Self::User => "USER",
            Self::Volume => "VOLUME",
            Self::Workdir => "WORKDIR",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|keyword| keyword.name().eq_ignore_ascii_case(word))
    }

    const fn takes_heredocs(self) -> bool {
        matches!(self, Self::Add | Self::Copy | Self::Run)
    }
}

/// What a logical line says.
pub(super) enum Parsed {
    From(From),
    Command(Command),
}

/// The parts that every instruction has.
pub(super) struct Parts<'a> {
    keyword: Keyword,
    /// The keyword's place.
    pub(super) keyword_span: Span,
    pub(super) flags: Vec<Text>,
    /// What comes after the flags, trimmed.
    pub(super) args: Piece<'a>,
    /// The heredocs, with their bodies.
    pub(super) heredocs: Vec<Heredoc>,
    /// The whole line, untrimmed.
    line: Piece<'a>,
}

impl Parts<'_> {
    /// Checks the flags against those the instruction has.
    pub(super) fn check_flags(
        &mut self,
        known: &[(&'static str, Kind)],
        reader: &mut Reader<'_>,
    ) -> Flags {
        Flags::check(std::mem::take(&mut self.flags), known, reader)
    }

    /// The instruction's name in upper case.
    pub(super) const fn name(&self) -> &'static str {
        self.keyword.name()
    }

    fn no_flags(&mut self, reader: &mut Reader<'_>) {
        self.check_flags(&[], reader);
    }

    /// The flags of instructions for which BuildKit drops them unseen.
    pub(super) fn flags_without_effect(&self, reader: &mut Reader<'_>) {
        for flag in &self.flags {
            let name = self.name();
            reader.warn(
                flag.span,
                format!("`{}` has no effect on `{name}`", flag.value),
            );
        }
    }

    /// Where to point when an argument is missing.
    pub(super) fn place(&self) -> Span {
        if self.args.text.is_empty() {
            self.keyword_span
        } else {
            self.args.span()
        }
    }

    fn source(&self) -> String {
        self.line.text.trim().to_owned()
    }
}

/// Reads a logical line, and the bodies of its heredocs from the lines after it.
pub(super) fn read(
    line: &Joined,
    lines: &mut Lines<'_>,
    reader: &mut Reader<'_>,
) -> Option<Parsed> {
    let mut parts = split(line.piece(), reader)?;
    if has_heredocs(&parts, reader) {
        let mut heredocs = heredoc::find(line.piece());
        if !heredoc::read_bodies(&mut heredocs, lines, reader.diagnostics) {
            reader.failed = true;
        }
        parts.heredocs = heredocs;
    }
    let bodies = parts.heredocs.iter().map(|heredoc| heredoc.body_span);
    let span = bodies.fold(line.whole(), Span::to);
    if parts.keyword == Keyword::From {
        return Some(Parsed::From(from(parts, span, reader)));
    }
    command(parts, span, reader).map(Parsed::Command)
}

/// Splits a line into keyword, flags and arguments; `None` where there is no such instruction.
fn split<'a>(line: Piece<'a>, reader: &mut Reader<'_>) -> Option<Parts<'a>> {
    let (word, rest) = words::split_first(line.trim());
    let Some(keyword) = Keyword::parse(word.text) else {
        reader.unknown_instruction(&word.to_text());
        return None;
    };
    let end = line.from(line.text.len());
    let (flags, args) = words::split_flags(rest.unwrap_or(end), reader.escape);
    Some(Parts {
        keyword,
        keyword_span: word.span(),
        flags,
        args,
        heredocs: Vec::new(),
        line,
    })
}

/// Heredocs belong to `ADD`, `COPY` and `RUN`, also as triggers, but not to their JSON forms.
fn has_heredocs(parts: &Parts<'_>, reader: &Reader<'_>) -> bool {
    let (keyword, args) = if parts.keyword == Keyword::Onbuild {
        let (word, rest) = words::split_first(parts.args);
        let Some((keyword, rest)) = Keyword::parse(word.text).zip(rest) else {
            return false;
        };
        (keyword, words::split_flags(rest, reader.escape).1)
    } else {
        (parts.keyword, parts.args)
    };
    keyword.takes_heredocs()
        && parts.line.text.contains("<<")
        && !matches!(words::json_array(args.text), Array::Strings(_))
}

fn command(mut parts: Parts<'_>, span: Span, reader: &mut Reader<'_>) -> Option<Command> {
    let source = parts.source();
    let instruction = instruction(&mut parts, reader)?;
    (!reader.failed).then_some(Command {
        instruction,
        source,
        span,
    })
}

/// What a command says. `None`, or an error in `reader`, where it can't be understood.
fn instruction(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Instruction> {
    Some(match parts.keyword {
        Keyword::Add => Instruction::Add(copy::add(parts, reader)?),
        Keyword::Copy => Instruction::Copy(copy::copy(parts, reader)?),
        Keyword::Run => Instruction::Run(run::run(parts, reader)?),
        Keyword::Arg => Instruction::Arg(args(parts, reader)?),
        Keyword::Cmd => Instruction::Cmd(plain_command_line(parts, reader)?),
        Keyword::Entrypoint => Instruction::Entrypoint(plain_command_line(parts, reader)?),
        Keyword::Env => Instruction::Env(key_values(parts, reader)?),
        Keyword::Label => Instruction::Label(key_values(parts, reader)?),
        Keyword::Expose => Instruction::Expose(expose(parts, reader)?),
        Keyword::Healthcheck => Instruction::Healthcheck(healthcheck::healthcheck(parts, reader)?),
        Keyword::Maintainer => {
            parts.no_flags(reader);
            Instruction::Maintainer(single(parts, reader)?)
        }
        Keyword::Onbuild => Instruction::Onbuild(onbuild(parts, reader)?),
        Keyword::Shell => Instruction::Shell(shell(parts, reader)?),
        Keyword::StopSignal => {
            parts.flags_without_effect(reader);
            Instruction::StopSignal(single(parts, reader)?)
        }
        Keyword::User => {
            parts.no_flags(reader);
            Instruction::User(single(parts, reader)?)
        }
        Keyword::Volume => Instruction::Volume(volume(parts, reader)?),
        Keyword::Workdir => {
            parts.no_flags(reader);
            Instruction::Workdir(single(parts, reader)?)
        }
        Keyword::From => return None,
    })
}

/// Reads a `FROM`. One with errors still begins a stage, so that what follows has a place.
fn from(mut parts: Parts<'_>, span: Span, reader: &mut Reader<'_>) -> From {
    let flags = parts.check_flags(&[("platform", Kind::Value)], reader);
    let words = words::split_blanks(parts.args);
    let name = match words.as_slice() {
        [_] => None,
        [_, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => stage_name(*name, reader),
        _ => {
            let message = "`FROM` requires either one or three arguments";
            let hint = Some("write `FROM <image> [AS <name>]`".to_owned());
            reader.error_with(parts.place(), message, hint);
            None
        }
    };
    let base = match words.first() {
        Some(word) => word.to_text(),
        None => Text::new(String::new(), parts.keyword_span),
    };
    From {
        base,
        platform: flags.value("platform"),
        name,
        source: parts.source(),
        span,
    }
}

fn stage_name(word: Piece<'_>, reader: &mut Reader<'_>) -> Option<Text> {
    let name = word.text.to_lowercase();
    let allowed = |ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || "-_.".contains(ch);
    if !name.starts_with(|ch: char| ch.is_ascii_lowercase()) || !name.chars().all(allowed) {
        let message = format!("invalid name for build stage: `{}`", word.text);
        let hint = "a name begins with a letter and has letters, digits, `-`, `_` and `.`";
        reader.error_with(word.span(), message, Some(hint.to_owned()));
        return None;
    }
    Some(Text::new(name, word.span()))
}

/// The only argument, which may have spaces in it.
fn single(parts: &Parts<'_>, reader: &mut Reader<'_>) -> Option<Text> {
    if parts.args.text.is_empty() {
        let message = format!("`{}` requires exactly one argument", parts.name());
        reader.error(parts.place(), message);
        return None;
    }
    Some(parts.args.to_text())
}

fn args(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Vec<ArgDefinition>> {
    parts.flags_without_effect(reader);
    let words = words::split_quoted(parts.args, reader.escape);
    if words.is_empty() {
        return needs_arguments(parts, reader);
    }
    let definitions = words.into_iter().map(|word| {
        let (name, default) = match word.value.split_once('=') {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (word.value.as_str(), None),
        };
        if name.is_empty() {
            reader.error(word.span, "`ARG` names can not be blank");
        }
        let name = Text::new(name.to_owned(), word.span);
        ArgDefinition { name, default }
    });
    Some(definitions.collect())
}

pub(super) fn needs_arguments<T>(parts: &Parts<'_>, reader: &mut Reader<'_>) -> Option<T> {
    let message = format!("`{}` requires at least one argument", parts.name());
    reader.error(parts.place(), message);
    None
}

fn plain_command_line(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<CommandLine> {
    parts.no_flags(reader);
    command_line(parts.args, reader)
}

/// A JSON array of strings, or text for a shell.
pub(super) fn command_line(args: Piece<'_>, reader: &mut Reader<'_>) -> Option<CommandLine> {
    match words::json_array(args.text) {
        Array::Strings(words) => Some(CommandLine::Exec(words)),
        Array::NotJson => {
            warn_of_broken_json(args, reader);
            Some(CommandLine::Shell(args.text.to_owned()))
        }
        Array::Mixed => mixed_array(args, reader),
    }
}

/// Text that looks like a JSON array of strings but isn't one is handed to the shell, which is
/// hardly ever meant.
pub(super) fn warn_of_broken_json(args: Piece<'_>, reader: &mut Reader<'_>) {
    if args.text.starts_with('[') && args.text.ends_with(']') {
        let inner = &args.text[1..];
        // `[ "$a" = b ]` is a command.
        let is_test = inner.starts_with(' ') && !inner.contains(',');
        if !is_test && inner.trim_start().starts_with(['"', '\'']) {
            let warning = Diagnostic::warning(args.span(), "not a JSON array, so taken as text");
            let hint = "JSON has double quotes, and no comma after the last item";
            reader.diagnostics.push(warning.with_hint(hint));
        }
    }
}

pub(super) fn mixed_array<T>(args: Piece<'_>, reader: &mut Reader<'_>) -> Option<T> {
    let message = "an array in JSON syntax can have strings only";
    reader.error(args.span(), message);
    None
}

fn key_values(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Vec<KeyValue>> {
    parts.no_flags(reader);
    let words = words::split_quoted(parts.args, reader.escape);
    let Some(first) = words.first() else {
        return needs_arguments(parts, reader);
    };
    if !first.value.contains('=') {
        return legacy_key_value(parts, reader).map(|pair| vec![pair]);
    }
    let mut pairs = Vec::new();
    for Text { value: word, span } in words {
        match word.split_once('=') {
            Some(("", _)) => {
                reader.error(span, format!("`{}` names can not be blank", parts.name()));
            }
            Some((key, value)) => pairs.push(KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
                legacy: false,
                span,
            }),
            None => {
                let hint = "write `name=value`, with quotes round a value that has spaces";
                let message = format!("can't find `=` in `{word}`");
                reader.error_with(span, message, Some(hint.to_owned()));
            }
        }
    }
    Some(pairs)
}

/// `ENV name the whole rest`.
fn legacy_key_value(parts: &Parts<'_>, reader: &mut Reader<'_>) -> Option<KeyValue> {
    let name = parts.name();
    let (key, value) = words::split_first(parts.args);
    let Some(value) = value else {
        let hint = format!("write `{name} {}=value`", key.text);
        let message = format!("`{name}` must have two arguments");
        reader.error_with(key.span(), message, Some(hint));
        return None;
    };
    Some(KeyValue {
        key: key.text.to_owned(),
        value: value.text.to_owned(),
        legacy: true,
        span: parts.args.span(),
    })
}

fn expose(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Vec<Text>> {
    parts.no_flags(reader);
    let words = words::split_blanks(parts.args);
    if words.is_empty() {
        return needs_arguments(parts, reader);
    }
    Some(words.into_iter().map(Piece::to_text).collect())
}

/// A JSON array of strings, or words separated by blanks.
pub(super) fn list(args: Piece<'_>, reader: &mut Reader<'_>) -> Option<Vec<Text>> {
    match words::json_array(args.text) {
        Array::Strings(words) => {
            let span = args.span();
            Some(
                words
                    .into_iter()
                    .map(|word| Text::new(word, span))
                    .collect(),
            )
        }
        Array::Mixed => mixed_array(args, reader),
        Array::NotJson => {
            warn_of_broken_json(args, reader);
            let words = words::split_blanks(args);
            Some(words.into_iter().map(Piece::to_text).collect())
        }
    }
}

fn volume(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Vec<Text>> {
    parts.no_flags(reader);
    let mut volumes = list(parts.args, reader)?;
    if volumes.is_empty() {
        return needs_arguments(parts, reader);
    }
    for volume in &mut volumes {
        volume.value = volume.value.trim().to_owned();
        if volume.value.is_empty() {
            reader.error(volume.span, "a volume can not be an empty string");
        }
    }
    Some(volumes)
}

fn shell(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    parts.no_flags(reader);
    match words::json_array(parts.args.text) {
        Array::Strings(words) if words.is_empty() => needs_arguments(parts, reader),
        Array::Strings(words) => Some(words),
        Array::Mixed => mixed_array(parts.args, reader),
        Array::NotJson if parts.args.text.is_empty() => needs_arguments(parts, reader),
        Array::NotJson => {
            let hint = r#"write `SHELL ["/bin/bash", "-c"]`"#.to_owned();
            let message = "`SHELL` requires the arguments to be in JSON form";
            reader.error_with(parts.args.span(), message, Some(hint));
            None
        }
    }
}

fn onbuild(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Onbuild> {
    parts.no_flags(reader);
    let (word, _) = words::split_first(parts.args);
    match Keyword::parse(word.text) {
        None if word.text.is_empty() => return needs_arguments(parts, reader),
        Some(keyword @ (Keyword::Onbuild | Keyword::From | Keyword::Maintainer)) => {
            let message = format!("`{}` isn't allowed as an `ONBUILD` trigger", keyword.name());
            reader.error(word.span(), message);
            return None;
        }
        _ => {}
    }
    let mut trigger = strip_onbuild(parts.line.text).to_owned();
    for heredoc in &parts.heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.body);
        trigger.push_str(&heredoc.name);
    }
    let parsed = nested(parts, reader).map(Box::new);
    Some(Onbuild { trigger, parsed })
}

/// The line after the keyword; blanks at its end stay, as they do in BuildKit.
fn strip_onbuild(line: &str) -> &str {
    let line = line.trim_start();
    line[Keyword::Onbuild.name().len()..].trim_start()
}

/// Reads the trigger. It runs only in builds of child images, so that its errors are warnings here.
fn nested(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Command> {
    let mut diagnostics = Vec::new();
    let mut inner = Reader::new(reader.escape, &mut diagnostics);
    let command = split(parts.args, &mut inner).and_then(|nested| {
        let nested = Parts {
            heredocs: std::mem::take(&mut parts.heredocs),
            ..nested
        };
        command(nested, parts.args.span(), &mut inner)
    });
    let warnings = diagnostics.into_iter().map(|found| match found.severity {
        Severity::Warning => found,
        Severity::Error => Diagnostic {
            severity: Severity::Warning,
            message: format!("the trigger will fail: {}", found.message),
            ..found
        },
    });
    reader.diagnostics.extend(warnings);
    command
}
