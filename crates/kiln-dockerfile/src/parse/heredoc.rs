//! Heredocs: finding them in an instruction and reading their bodies.

use super::source::{Lines, Piece};
use crate::ast::Heredoc;
use crate::expand::{ExpandOptions, NoVars, Quotes, expand_words, expand_words_at};
use crate::{Diagnostic, Span};

/// Heredocs are found by the shell's rules, whatever the file's escape character is.
const RAW: ExpandOptions = ExpandOptions {
    escape: '\\',
    quotes: Quotes::Keep,
    keep_escapes: true,
    keep_unset: true,
};

/// Finds the heredocs of an instruction, in order; bodies are still empty.
///
/// Text that the lexer can't read, as with an odd number of quotes, has none.
pub(super) fn find(instruction: Piece<'_>) -> Vec<Heredoc> {
    if !instruction.text.contains("<<") {
        return Vec::new();
    }
    let words = expand_words_at(instruction.text, &NoVars, RAW).unwrap_or_default();
    words
        .into_iter()
        .filter_map(|(word, place)| parse_word(&word, instruction.slice(place).span()))
        .collect()
}

/// Reads the word `[fd]<<[-]name`.
pub(super) fn parse_word(word: &str, span: Span) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|ch: char| ch.is_ascii_digit());
    let digits = &word[..word.len() - rest.len()];
    let rest = rest.strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(|ch: char| ch.is_ascii_whitespace());
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let plain = RAW_WITHOUT_QUOTES;
    let [name] = <[String; 1]>::try_from(expand_words(rest, &NoVars, plain).ok()?).ok()?;
    let quoted = ExpandOptions {
        quotes: Quotes::Keep,
        ..plain
    };
    let raw = expand_words(rest, &NoVars, quoted).ok()?;
    let count = |text: &str| text.matches(['\'', '"']).count();
    let expand = raw.iter().map(|word| count(word)).sum::<usize>() == count(&name);
    let fd = match digits {
        "" => 0,
        digits => digits.parse().unwrap_or(u32::MAX),
    };
    Some(Heredoc {
        name,
        fd,
        expand,
        strip_tabs,
        body: String::new(),
        span,
        body_span: span,
    })
}

const RAW_WITHOUT_QUOTES: ExpandOptions = ExpandOptions {
    escape: '\\',
    quotes: Quotes::Remove,
    keep_escapes: false,
    keep_unset: true,
};

/// Reads the bodies of `heredocs`, one after the other, from the lines after the instruction; false
/// where one has no end.
pub(super) fn read_bodies(
    heredocs: &mut [Heredoc],
    lines: &mut Lines<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let mut all_terminated = true;
    for heredoc in heredocs {
        let start = lines.offset();
        let mut end = start;
        let mut terminated = false;
        for line in lines.by_ref() {
            let content = if heredoc.strip_tabs {
                line.content().trim_start_matches('\t')
            } else {
                line.content()
            };
            if content == heredoc.name {
                terminated = true;
                break;
            }
            heredoc.body.push_str(line.text);
            end = line.start + line.text.len();
        }
        heredoc.body_span = Span::new(start, end);
        if !terminated {
            let message = format!("unterminated heredoc `{}`", heredoc.name);
            let hint = format!("end it with a line that is only `{}`", heredoc.name);
            diagnostics.push(Diagnostic::error(heredoc.span, message).with_hint(hint));
            all_terminated = false;
        }
    }
    all_terminated
}
