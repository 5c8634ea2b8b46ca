//! What goes wrong, as the user reads it: who can mend it, what happened, what to do next, and the
//! exit code.
//!
//! Libraries have typed errors; the one file with their conversions is [`crate::blame`].

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::render::FailedStep;
use crate::style::{Style, Tone};

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The user, by asking for something else.
    User,
    /// Whoever looks after the machine, the network or the registry.
    Environment,
    /// kiln's authors.
    Bug,
}

/// The exit codes, as docs/exit-codes.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    General,
    Build,
    Registry,
    Authentication,
    Usage,
    Resources,
    Timeout,
    Cancelled,
    /// `kiln diff`, `kiln rootfs diff`: they differ.
    Different,
    /// `kiln run`: the program is there but can't be executed. As shells and docker have it.
    NotExecutable,
    /// `kiln run`: the program is not there.
    NotFound,
}

impl Exit {
    /// The number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::General => 1,
            Self::Build => 2,
            Self::Registry => 3,
            Self::Authentication => 4,
            Self::Usage => 5,
            Self::Resources => 6,
            Self::Timeout => 7,
            Self::Cancelled => 8,
            Self::Different => 9,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) blame: Blame,
    pub(crate) exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    /// What to do next, each a sentence with something to paste where there is something.
    pub(crate) hints: Vec<String>,
    /// The last lines of the step that failed, shown before the messages.
    tail: String,
    /// Source text at fault, shown after the messages.
    excerpt: String,
    /// The user has read it already, or nobody is left to read it.
    told: bool,
}

impl CliError {
    /// An error with its blame and exit code.
    pub(crate) fn new(
        blame: Blame,
        exit: Exit,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            blame,
            exit,
            error: error.into(),
            hints: Vec::new(),
            tail: String::new(),
            excerpt: String::new(),
            told: false,
        }
    }

    /// The user asked for something that can't be.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Blame::User, Exit::Usage, error)
    }

    /// The same with a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same error as the cause of another: what could not be done.
    #[must_use]
    pub(crate) fn about(self, what: String) -> Self {
        let cause = self.error;
        Self {
            error: Box::new(About { what, cause }),
            ..self
        }
    }

    /// The same with source text that stands below the messages.
    #[must_use]
    pub(crate) fn excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = excerpt.into();
        self
    }

    /// The same, with the last lines of the step that failed before the message, and where the
    /// rest of its output is.
    #[must_use]
    pub(crate) fn with_failed_step(mut self, failed: &FailedStep, log: Option<&Path>) -> Self {
        if failed.lines.is_empty() {
            return self;
        }
        let mut text = format!("------\n > {}:\n", failed.name);
        for line in &failed.lines {
            _ = writeln!(text, "{line}");
        }
        text.push_str("------\n");
        self.tail = text;
        match log {
            Some(log) => self.hint(format!("the whole output is in `{}`", log.display())),
            None => self,
        }
    }

    /// A mistake in kiln.
    pub(crate) fn bug(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Blame::Bug, Exit::General, error)
    }

    /// The same error, which is not to be shown again.
    #[must_use]
    pub(crate) fn already_told(mut self) -> Self {
        self.told = true;
        self
    }

    /// Source text at fault; empty where there is none.
    pub(crate) fn source_text(&self) -> &str {
        &self.excerpt
    }

    /// What happened and its causes, the outermost first.
    pub(crate) fn messages(&self) -> Vec<String> {
        let first: &(dyn Error + 'static) = &*self.error;
        std::iter::successors(Some(first), |error| (*error).source())
            .map(ToString::to_string)
            .collect()
    }

    /// The whole as text for standard error; empty if the user has read it already.
    pub(crate) fn render(&self, style: Style) -> String {
        if self.told {
            return String::new();
        }
        let mut text = self.tail.clone();
        for (index, message) in self.messages().iter().enumerate() {
            let label = if index == 0 { "error" } else { "  caused by" };
            _ = writeln!(text, "{}: {message}", style.paint(Tone::Error, label));
        }
        text.push_str(&self.excerpt);
        let bug = (self.blame == Blame::Bug)
            .then_some("this is a mistake in kiln; please report it with the command you ran");
        let hints: Vec<&str> = self.hints.iter().map(String::as_str).chain(bug).collect();
        if !hints.is_empty() {
            text.push('\n');
        }
        for hint in hints {
            _ = writeln!(text, "{}: {hint}", style.paint(Tone::Hint, "hint"));
        }
        text
    }
}

impl From<io::Error> for CliError {
    /// Standard output could not be written. A reader that went away, as `head` does, is no error.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Blame::User, Exit::General, error).already_told();
        }
        Self::new(Blame::Environment, Exit::General, Output(error))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct About {
    what: String,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
#[error("could not write to standard output")]
struct Output(#[source] io::Error);

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not build `app`")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_and_hints_have_their_own_lines() {
        let error = CliError::usage(Outer(io::Error::other("the disk is on fire")))
            .hint("run `kiln doctor`")
            .hint("buy a disk");
        expect![[r#"
            error: could not build `app`
              caused by: the disk is on fire

            hint: run `kiln doctor`
            hint: buy a disk
        "#]]
        .assert_eq(&error.render(Style::plain()));
    }

    #[test]
    fn a_failed_step_shows_its_last_lines() {
        let failed = FailedStep {
            name: "[2/2] RUN make".into(),
            lines: vec!["cc a.c".to_owned(), "a.c:1: error".to_owned()],
        };
        let error = CliError::new(Blame::User, Exit::Build, "`make` failed with exit code 2")
            .excerpt("Dockerfile:2\n")
            .with_failed_step(&failed, Some(Path::new("/s/logs/1")));
        expect![[r#"
            ------
             > [2/2] RUN make:
            cc a.c
            a.c:1: error
            ------
            error: `make` failed with exit code 2
            Dockerfile:2

            hint: the whole output is in `/s/logs/1`
        "#]]
        .assert_eq(&error.render(Style::plain()));
    }

    #[test]
    fn bugs_ask_for_a_report() {
        let text = CliError::new(Blame::Bug, Exit::General, "impossible").render(Style::plain());
        assert!(text.contains("please report it"));
    }

    #[test]
    fn a_reader_that_went_away_is_told_nothing() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.render(Style::plain()), "");
    }
}
