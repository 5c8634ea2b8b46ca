//! What the checks found, as text and as the JSON of BuildKit's `frontend.lint`.

use kiln_dockerfile::{Diagnostic, Dockerfile, Span, render};
use serde::Serialize;

use super::sarif;
use crate::location::{LineIndex, Location, Source};

/// The file that was checked.
#[derive(Debug, Clone, Copy)]
pub struct ReportSource<'a> {
    /// Its name, as reports show it.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Its tree.
    pub dockerfile: &'a Dockerfile,
}

/// What was found in one file: the parser's diagnostics and those of the checks.
#[derive(Debug, Clone)]
pub struct LintReport<'a> {
    source: ReportSource<'a>,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Results<'a> {
    warnings: Vec<Warning<'a>>,
    sources: [Source<'a>; 1],
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    error: Option<BuildError>,
}

#[derive(Serialize)]
struct Warning<'a> {
    #[serde(rename = "ruleName")]
    rule: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    detail: &'a str,
    location: Location,
}

#[derive(Serialize)]
struct BuildError {
    message: String,
    location: Location,
}

impl<'a> LintReport<'a> {
    /// A report of what was found in `source`, in the order of the file.
    pub fn new(
        source: ReportSource<'a>,
        diagnostics: impl IntoIterator<Item = Diagnostic>,
    ) -> Self {
        let mut diagnostics: Vec<Diagnostic> = diagnostics.into_iter().collect();
        // What has no place, as the verdict on all others, comes last.
        diagnostics.sort_by_key(|found| (found.span == Span::default(), found.span.start));
        diagnostics.dedup();
        Self {
            source,
            diagnostics,
        }
    }

    /// What was found.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether nothing was found, so that a check succeeds.
    pub fn is_clean(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// For people: each with its line, what to do, and where to read more. Ends with a newline,
    /// unless nothing was found.
    pub fn to_text(&self) -> String {
        let ReportSource { file, text, .. } = self.source;
        let shown = self.diagnostics.iter().map(|found| {
            let more = found.rule.map(|rule| format!("see {}\n", rule.url()));
            let shown = render(found, file, text);
            format!("{shown}\n{}", more.unwrap_or_default())
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    /// The JSON of BuildKit's `frontend.lint`, version 1.0.0. Warnings of the parser, which are no
    /// check's, have an empty `ruleName`; several errors become one `buildError`.
    pub fn to_json(&self) -> String {
        let index = LineIndex::new(self.source.text);
        let location =
            |found: &Diagnostic| Location::of(self.source.dockerfile, &index, found.span);
        let mut warnings = Vec::new();
        let mut errors: Vec<&Diagnostic> = Vec::new();
        for found in &self.diagnostics {
            if found.is_error() {
                errors.push(found);
                continue;
            }
            warnings.push(Warning {
                rule: found.rule.map_or("", |rule| rule.name()),
                description: found.rule.map_or("", |rule| rule.description()),
                url: found
                    .rule
                    .map_or_else(String::new, kiln_dockerfile::LintRule::url),
                detail: &found.message,
                location: location(found),
            });
        }
        let messages = errors.iter().map(|error| error.message.as_str());
        let message = messages.collect::<Vec<_>>().join("\n");
        let error = errors.first().map(|first| BuildError {
            message,
            location: location(first),
        });
        crate::location::json(&Results {
            warnings,
            sources: [Source::new(self.source.file, self.source.text)],
            error,
        })
    }

    /// SARIF 2.1.0, as code scanning services read it.
    pub fn to_sarif(&self) -> String {
        sarif::log(self.source, &self.diagnostics)
    }
}
