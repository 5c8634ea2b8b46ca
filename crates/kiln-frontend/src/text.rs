//! Text of the Dockerfile with its variables replaced.

use kiln_dockerfile::expand::{ExpandOptions, Vars, expand_word, expand_words};
use kiln_dockerfile::{Diagnostic, Dockerfile, Span, Text};

/// What lowering one piece gives; boxed, since it is rare and large.
pub(crate) type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// Replaces variables as the file's escape character asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expander {
    escape: char,
}

impl Expander {
    pub(crate) fn new(dockerfile: &Dockerfile) -> Self {
        Self {
            escape: dockerfile.directives.escape,
        }
    }

    pub(crate) fn word(self, text: &Text, vars: &dyn Vars) -> Result<String> {
        self.expand(&text.value, text.span, vars)
    }

    pub(crate) fn expand(self, text: &str, span: Span, vars: &dyn Vars) -> Result<String> {
        match expand_word(text, vars, ExpandOptions::word(self.escape)) {
            Ok(expanded) => Ok(expanded.text),
            Err(error) => Err(Box::new(failed(text, span, &error))),
        }
    }

    pub(crate) fn words(self, text: &Text, vars: &dyn Vars) -> Result<Vec<String>> {
        expand_words(&text.value, vars, ExpandOptions::word(self.escape))
            .map_err(|error| Box::new(failed(&text.value, text.span, &error)))
    }
}

/// The body of a heredoc with its variables replaced.
pub(crate) fn expand_heredoc(body: &str, span: Span, vars: &dyn Vars) -> Result<String> {
    match expand_word(body, vars, ExpandOptions::heredoc()) {
        Ok(expanded) => Ok(expanded.text),
        Err(error) => Err(Box::new(Diagnostic::error(
            span,
            format!("failed to expand the heredoc: {error}"),
        ))),
    }
}

fn failed(text: &str, span: Span, error: &dyn std::fmt::Display) -> Diagnostic {
    Diagnostic::error(span, format!("failed to expand `{text}`: {error}"))
}
