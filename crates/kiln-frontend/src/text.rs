//! Text of the Dockerfile with its variables replaced.

use kiln_dockerfile::expand::{
    ExpandError, ExpandOptions, Expanded, Quotes, Vars, expand_word, expand_words,
};
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
        let expanded = self.expand(&text.value, text.span, vars)?;
        Ok(expanded.text)
    }

    pub(crate) fn expand(self, text: &str, span: Span, vars: &dyn Vars) -> Result<Expanded> {
        expand_word(text, vars, ExpandOptions::word(self.escape))
            .map_err(|error| Box::new(failed(text, span, &error)))
    }

    /// Like [`Expander::expand`], for callers with an error of their own.
    pub(crate) fn raw(
        self,
        text: &str,
        vars: &dyn Vars,
    ) -> std::result::Result<String, ExpandError> {
        let expanded = expand_word(text, vars, ExpandOptions::word(self.escape))?;
        Ok(expanded.text)
    }

    pub(crate) fn words(self, text: &Text, vars: &dyn Vars) -> Result<Vec<String>> {
        expand_words(&text.value, vars, ExpandOptions::word(self.escape))
            .map_err(|error| Box::new(failed(&text.value, text.span, &error)))
    }

    /// An instruction as progress shows it: the keyword in upper case, variables replaced.
    pub(crate) fn title(self, source: &str, vars: &dyn Vars) -> String {
        shown(source, vars, ExpandOptions::word(self.escape))
    }

    /// Like [`Expander::title`] for a command: its quotes stay, and so does what the shell has to
    /// replace.
    pub(crate) fn command_title(self, source: &str, vars: &dyn Vars) -> String {
        let options = ExpandOptions {
            quotes: Quotes::Keep,
            keep_unset: true,
            ..ExpandOptions::word(self.escape)
        };
        shown(source, vars, options)
    }
}

fn shown(source: &str, vars: &dyn Vars, options: ExpandOptions) -> String {
    let text = match expand_word(source, vars, options) {
        Ok(expanded) => expanded.text,
        Err(_) => source.to_owned(),
    };
    match text.split_once(' ') {
        Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// The body of a heredoc with its variables replaced.
pub(crate) fn expand_heredoc(body: &str, span: Span, vars: &dyn Vars) -> Result<Expanded> {
    expand_word(body, vars, ExpandOptions::heredoc()).map_err(|error| {
        let message = format!("failed to expand the heredoc: {error}");
        Box::new(Diagnostic::error(span, message))
    })
}

fn failed(text: &str, span: Span, error: &dyn std::fmt::Display) -> Diagnostic {
    Diagnostic::error(span, format!("failed to expand `{text}`: {error}"))
}
