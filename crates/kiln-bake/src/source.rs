//! Where a word of a bake file stands, and how an error shows it.

use unicode_width::UnicodeWidthStr;

use crate::error::{BakeError, FileError};

impl std::ops::Deref for Fault {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::DerefMut for Fault {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

/// A range of bytes in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// Index of the file.
    pub(crate) file: usize,
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

impl Span {
    /// From the beginning of one range to the end of another.
    pub(crate) fn to(self, end: Self) -> Self {
        Self {
            end: end.end.max(self.start),
            ..self
        }
    }
}

/// What went wrong, before it is known how the file looks. It is boxed, for most results have none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault(Box<Parts>);

/// The parts of a [`Fault`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    /// A lower-case fragment.
    pub(crate) message: String,
    /// The words at fault.
    pub(crate) span: Option<Span>,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// A budget is used up: nothing may carry on after this, `try` included.
    pub(crate) fatal: bool,
}

/// The result of a step of reading.
pub(crate) type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// A fault at no particular place.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            message: message.into(),
            span: None,
            hint: None,
            fatal: false,
        }))
    }

    /// A fault at a place.
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self::new(message).or_at(span)
    }

    /// A budget that is used up.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            message: message.into(),
            span: None,
            hint: None,
            fatal: true,
        }))
    }

    /// The same fault at `span`, unless it knows its place.
    pub(crate) fn or_at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// The same fault with a hint, if there is one.
    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        if self.hint.is_none() {
            self.hint = hint;
        }
        self
    }

    /// The same fault with words in front.
    pub(crate) fn context(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The error that a reader sees.
    pub(crate) fn report(self, files: &[(&str, &str)]) -> BakeError {
        let place = self
            .span
            .and_then(|span| Some((span, *files.get(span.file)?)));
        let Some((span, (name, text))) = place else {
            return BakeError::Request {
                message: self.0.message,
                hint: self.0.hint,
            };
        };
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, span.end.clamp(start, line_end.max(start)));
        BakeError::File(Box::new(FileError {
            file: name.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            source_line: text[line_start..line_end].trim_end_matches('\r').to_owned(),
            width: text[start..end].width().max(1),
            message: self.0.message,
            hint: self.0.hint,
        }))
    }
}

/// The nearest boundary of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The hint for a word that is near another.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    kiln_dockerfile::did_you_mean(word, options).map(|option| format!("did you mean `{option}`?"))
}
