//! From text to tree, with recovery: an instruction that can't be read becomes a diagnostic, and
//! reading goes on with the next.

mod copy;
mod directives;
mod duration;
mod flags;
mod healthcheck;
mod heredoc;
mod instruction;
mod run;
mod source;
mod words;

use crate::ast::{Command, Dockerfile, Instruction, InstructionLines, Stage};
use crate::{Diagnostic, Span, Spanned, suggest};
use instruction::{Keyword, Parsed};
use source::{Joined, Lines};

/// After this many errors the rest of the file is not read.
const MAX_ERRORS: usize = 100;

/// Reads a Dockerfile: the tree of all that is well formed, and what to tell its author.
///
/// The time it takes is proportional to the text's length.
pub fn parse(text: &str) -> (Dockerfile, Vec<Diagnostic>) {
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut diagnostics = Vec::new();
    let (directives, after) = directives::read(text, start, &mut diagnostics);
    let mut dockerfile = Dockerfile {
        directives,
        global_args: Vec::new(),
        stages: Vec::new(),
        lines: Vec::new(),
    };
    let mut lines = Lines::new(text, after);
    let mut is_empty = true;
    let mut errors = 0;
    while let Some(line) = Joined::read(&mut lines, dockerfile.directives.escape) {
        is_empty = false;
        let before = diagnostics.len();
        let reader = Reader::new(dockerfile.directives.escape, &mut diagnostics);
        read_instruction(&line, &mut lines, reader, &mut dockerfile);
        let whole = line.whole();
        dockerfile.lines.push(lines_of(line, text, lines.offset()));
        let new = diagnostics[before..].iter();
        errors += new.filter(|found| found.is_error()).count();
        if errors >= MAX_ERRORS {
            let message = "too many errors; the rest of the file was not read";
            diagnostics.push(Diagnostic::error(whole, message));
            break;
        }
    }
    if dockerfile.stages.is_empty() && diagnostics.iter().all(|found| !found.is_error()) {
        let message = if is_empty {
            "the file has no instructions"
        } else {
            "the file has no stages to build"
        };
        let error = Diagnostic::error(Span::new(start, start), message);
        diagnostics.push(error.with_hint("begin a stage with `FROM <image>`"));
    }
    diagnostics.sort_by_key(|found| found.span.start);
    (dockerfile, diagnostics)
}

/// Reads one instruction that stands by itself, as the triggers in an image's configuration do.
///
/// Spans are places in `text`. There is no command where a diagnostic is an error.
pub fn parse_trigger(text: &str) -> (Option<Command>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut lines = Lines::new(text, 0);
    let Some(line) = Joined::read(&mut lines, '\\') else {
        let message = "the trigger has no instruction";
        diagnostics.push(Diagnostic::error(Span::new(0, 0), message));
        return (None, diagnostics);
    };
    let mut reader = Reader::new('\\', &mut diagnostics);
    let parsed = instruction::read(&line, &mut lines, &mut reader);
    let command = match parsed {
        Some(Parsed::Command(command)) => Some(command),
        Some(Parsed::From(_)) => {
            reader.error(line.whole(), "`FROM` isn't allowed as a trigger");
            None
        }
        None => None,
    };
    if let Some(other) = Joined::read(&mut lines, '\\') {
        reader.error(other.whole(), "a trigger is a single instruction");
    }
    let command = command.filter(|_| !reader.failed);
    (command, diagnostics)
}

/// What is known of an instruction's lines; the next instruction begins at `next` or later.
fn lines_of(line: Joined, text: &str, next: usize) -> InstructionLines {
    let start = line.whole().start;
    let end = text[..next].trim_end_matches(['\r', '\n']).len();
    InstructionLines {
        span: Span::new(start, end),
        comments: line.comments,
        empty_continuation: line.empty_continuation,
    }
}

fn read_instruction(
    line: &Joined,
    lines: &mut Lines<'_>,
    mut reader: Reader<'_>,
    dockerfile: &mut Dockerfile,
) {
    match instruction::read(line, lines, &mut reader) {
        Some(Parsed::From(from)) => dockerfile.stages.push(Stage {
            from,
            commands: Vec::new(),
        }),
        Some(Parsed::Command(command)) => add_command(command, reader, dockerfile),
        None => {}
    }
}

fn add_command(command: Command, mut reader: Reader<'_>, dockerfile: &mut Dockerfile) {
    match (dockerfile.stages.last_mut(), command.instruction) {
        (Some(stage), instruction) => stage.commands.push(Command {
            instruction,
            ..command
        }),
        (None, Instruction::Arg(args)) => {
            dockerfile
                .global_args
                .push(Spanned::new(args, command.span));
        }
        (None, instruction) => reader.error_with(
            command.span,
            format!("`{}` before the first `FROM`", instruction.name()),
            Some("only `ARG` can come before it".to_owned()),
        ),
    }
}

/// What reading one instruction needs and reports to.
struct Reader<'d> {
    /// The file's escape character.
    escape: char,
    diagnostics: &'d mut Vec<Diagnostic>,
    /// Whether this instruction has an error.
    failed: bool,
}

impl<'d> Reader<'d> {
    fn new(escape: char, diagnostics: &'d mut Vec<Diagnostic>) -> Self {
        Self {
            escape,
            diagnostics,
            failed: false,
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.error_with(span, message, None);
    }

    fn error_with(&mut self, span: Span, message: impl Into<String>, hint: Option<String>) {
        self.failed = true;
        let error = Diagnostic::error(span, message);
        self.diagnostics.push(match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        });
    }

    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(span, message));
    }

    fn unknown_instruction(&mut self, word: &crate::Text) {
        let hint = suggest::hint(&word.value, Keyword::ALL.map(Keyword::name));
        let shown: String = word.value.chars().take(60).collect();
        self.error_with(word.span, format!("unknown instruction `{shown}`"), hint);
    }
}

#[cfg(test)]
mod tests;
