//! Why bake files can't be read.

use std::fmt;

use unicode_width::UnicodeWidthStr;

/// Why a set of bake files can't be resolved to targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BakeError {
    /// Something in a file is wrong; the text shows the line.
    #[error(transparent)]
    File(Box<FileError>),
    /// The request, or what several files say together, is wrong.
    #[error("{message}{}", hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
    Request {
        /// What is wrong: a lower-case fragment.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// An error at a place in a file. Its text has several lines: place and message, the line of the
/// file, and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// The file's name as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line without its end.
    pub source_line: String,
    /// How many cells of a terminal the words at fault take, at least 1.
    pub width: usize,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A longer line is not shown.
const MAX_LINE: usize = 400;

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            source_line,
            width,
            message,
            hint,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        if source_line.len() <= MAX_LINE {
            let before: String = source_line.chars().take(column - 1).collect();
            let indent: String = before
                .chars()
                .flat_map(|ch| {
                    let cell = if ch == '\t' { '\t' } else { ' ' };
                    std::iter::repeat_n(cell, ch.to_string().width().max(usize::from(ch == '\t')))
                })
                .collect();
            let gutter = " ".repeat(line.to_string().len());
            write!(
                f,
                "\n{line} | {source_line}\n{gutter} | {indent}{}",
                "^".repeat(*width)
            )?;
        }
        match hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
