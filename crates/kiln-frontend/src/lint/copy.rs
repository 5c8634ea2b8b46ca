//! `COPY` and `ADD`: the variables in their words, and sources that the ignore file excludes.

use kiln_dockerfile::ast::{Add, Copy, CopyOptions, CopySource, Paths};
use kiln_dockerfile::{LintRule, Span};

use super::stage::StageScope;
use super::{Found, Linter, Site};
use crate::text::expand_heredoc;

impl Linter<'_> {
    pub(super) fn copy(&mut self, scope: &StageScope, copy: &Copy, site: Site) {
        self.copy_options(scope, &copy.options, site);
        self.paths(scope, &copy.paths, ("COPY", copy.from.is_none()), site);
    }

    pub(super) fn add(&mut self, scope: &StageScope, add: &Add, site: Site) {
        self.copy_options(scope, &add.options, site);
        if let Some(checksum) = &add.checksum {
            self.word(scope, checksum, site);
        }
        self.paths(scope, &add.paths, ("ADD", true), site);
    }

    fn copy_options(&mut self, scope: &StageScope, options: &CopyOptions, site: Site) {
        for text in options.chown.iter().chain(&options.chmod) {
            self.word(scope, text, site);
        }
    }

    fn paths(
        &mut self,
        scope: &StageScope,
        paths: &Paths,
        (keyword, from_context): (&str, bool),
        site: Site,
    ) {
        for source in &paths.sources {
            match source {
                CopySource::Path(text) => {
                    let path = self.word(scope, text, site);
                    if from_context && !is_remote(&path) {
                        self.ignored(keyword, &path, (site, text.span));
                    }
                }
                CopySource::Heredoc(heredoc) if heredoc.expand => {
                    let span = heredoc.body_span;
                    let expanded = expand_heredoc(&heredoc.content(), span, &scope.env);
                    if let Ok(expanded) = expanded {
                        self.undefined(scope, &expanded, span, site);
                    }
                }
                CopySource::Heredoc(_) => {}
            }
        }
        self.word(scope, &paths.destination, site);
    }

    fn ignored(&mut self, keyword: &str, path: &str, (site, span): (Site, Span)) {
        if self
            .facts
            .ignore()
            .is_some_and(|ignore| ignore.excludes(path))
        {
            let found = Found::new(format!(
                "`{keyword}` of `{path}`, which the ignore file excludes"
            ))
            .hint("take the pattern out of the ignore file, or don't copy it");
            self.report(LintRule::CopyIgnoredFile, site, span, found);
        }
    }
}

/// Whether `ADD` fetches a source instead of finding it in the context.
fn is_remote(source: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@"];
    schemes.iter().any(|scheme| source.starts_with(scheme))
}
