//! `COPY` and `ADD`.

use kiln_dockerfile::ast::{self, Add, Command, Copy, CopyOptions, Paths};
use kiln_dockerfile::ignore::Ignore;
use kiln_dockerfile::mode::Mode;
use kiln_dockerfile::{Diagnostic, Text};
use kiln_graph::{
    ContextOp, CopyFrom, CopyOp, CopySource, InlineFile, Op, StepIndex, StepMeta, Unpack,
};

use crate::lower::Lowerer;
use crate::paths;
use crate::run::check_name;
use crate::scope::refuse;
use crate::stage::StageState;
use crate::text::{Result, expand_heredoc};

/// The mode of a file that a heredoc makes.
const HEREDOC_MODE: u32 = 0o644;

/// What is common to both instructions, besides where sources are found.
struct Parts<'a> {
    name: &'static str,
    paths: &'a Paths,
    options: &'a CopyOptions,
    from: Option<StepIndex>,
    parents: bool,
    unpack: Unpack,
}

impl Lowerer<'_> {
    pub(crate) fn copy(
        &mut self,
        state: &mut StageState,
        command: &Command,
        copy: &Copy,
    ) -> Result<()> {
        let from = copy
            .from
            .as_ref()
            .map(|from| self.source(from))
            .transpose()?;
        self.refuse_remote(state, &copy.paths, "COPY")?;
        let parts = Parts {
            name: "COPY",
            paths: &copy.paths,
            options: &copy.options,
            from,
            parents: copy.parents,
            unpack: Unpack::Never,
        };
        self.copy_parts(state, command, &parts)
    }

    pub(crate) fn add(
        &mut self,
        state: &mut StageState,
        command: &Command,
        add: &Add,
    ) -> Result<()> {
        self.refuse_remote(state, &add.paths, "ADD")?;
        if let Some(checksum) = &add.checksum {
            let message = "`--checksum` needs a source that is fetched from elsewhere";
            return refuse(Diagnostic::error(checksum.span, message));
        }
        if let Some(keep) = &add.keep_git_dir {
            let message = "`--keep-git-dir` needs a git repository as source";
            return refuse(Diagnostic::error(keep.span, message));
        }
        let parts = Parts {
            name: "ADD",
            paths: &add.paths,
            options: &add.options,
            from: None,
            parents: false,
            unpack: match add.unpack.as_ref().map(|unpack| unpack.value) {
                None | Some(true) => Unpack::Archives,
                Some(false) => Unpack::Never,
            },
        };
        self.copy_parts(state, command, &parts)
    }

    /// Sources that are not files of a context or a root.
    fn refuse_remote(&mut self, state: &StageState, paths: &Paths, name: &str) -> Result<()> {
        for source in &paths.sources {
            let ast::CopySource::Path(text) = source else {
                continue;
            };
            let path = self.word(text, state)?;
            let Some(what) = remote(&path) else { continue };
            let diagnostic = if name == "ADD" {
                let message = format!("`ADD` from {what} is not supported yet");
                Diagnostic::error(text.span, message)
            } else {
                let message = format!("`{name}` can't copy from {what}");
                Diagnostic::error(text.span, message).with_hint("that is what `ADD` is for")
            };
            return refuse(diagnostic);
        }
        Ok(())
    }

    fn copy_parts(
        &mut self,
        state: &mut StageState,
        command: &Command,
        parts: &Parts<'_>,
    ) -> Result<()> {
        let chown = self.optional(parts.options.chown.as_ref(), state)?;
        let chmod = self.chmod(parts.options.chmod.as_ref(), state)?;
        let sources = self.sources(state, command, parts)?;
        let exclude = excluded(parts.options)?;
        let dest = self.word(&parts.paths.destination, state)?;
        state.record(
            history(parts, chown.as_deref(), chmod.as_deref(), &sources, &dest),
            false,
        );
        let dest = paths::absolute(state.cwd(), &dest);
        let title = self.expander.title(&command.source, &state.env);
        let meta = state.meta(command, &title, self.ignores_cache());
        // BuildKit makes an ordinary copy of it, which follows links in the destination.
        let link = parts.options.link && chmod.is_none();
        if parts.options.link && !link {
            let message = "`--link` has no effect together with `--chmod`";
            self.warnings
                .push(Diagnostic::warning(command.span, message));
        }
        let has_paths = sources
            .iter()
            .any(|source| matches!(source, CopySource::Path(_)));
        let mut op = CopyOp {
            sources,
            from: match (has_paths, parts.from) {
                (false, _) => CopyFrom::Nothing,
                (true, None) => CopyFrom::Context,
                (true, Some(_)) => CopyFrom::Root,
            },
            dest,
            chown,
            owners: 0,
            chmod,
            parents: parts.parents,
            exclude,
            unpack: parts.unpack,
            link,
        };
        let source = match op.from {
            CopyFrom::Nothing => None,
            CopyFrom::Context => Some(self.context(&state.progress.title)),
            CopyFrom::Root => parts.from,
        };
        if !link {
            let inputs = std::iter::once(state.root).chain(source).collect();
            state.root = self.builder.add(Op::Copy(op), inputs, meta);
            return Ok(());
        }
        // The layer of a linked copy does not depend on what it is put on, so it is made on an
        // empty root; that of the stage is an input only where names of users are looked up in it.
        let mut inputs: Vec<StepIndex> = std::iter::once(self.scratch(&state.progress.title))
            .chain(source)
            .collect();
        if op.chown.as_deref().is_some_and(|owner| !is_numeric(owner)) {
            op.owners = inputs.len();
            inputs.push(state.root);
        }
        let merge = StepMeta {
            name: format!("{} (merge)", meta.name),
            ..meta.clone()
        };
        let layer = self.builder.add(Op::Copy(op), inputs, meta);
        state.root = self.builder.add(Op::Merge, vec![state.root, layer], merge);
        Ok(())
    }

    /// A flag's value; one that is empty after expansion counts as none.
    fn optional(&mut self, text: Option<&Text>, state: &StageState) -> Result<Option<String>> {
        let value = text.map(|text| self.word(text, state)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn chmod(&mut self, text: Option<&Text>, state: &StageState) -> Result<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        let Some(mode) = self.optional(Some(text), state)? else {
            return Ok(None);
        };
        match mode.parse::<Mode>() {
            Ok(_) => Ok(Some(mode)),
            Err(error) => refuse(Diagnostic::error(text.span, error.to_string())),
        }
    }

    /// Paths come first, then files made of heredocs, as in BuildKit.
    fn sources(
        &mut self,
        state: &StageState,
        command: &Command,
        parts: &Parts<'_>,
    ) -> Result<Vec<CopySource>> {
        let mut sources = Vec::new();
        let mut files = Vec::new();
        for source in &parts.paths.sources {
            match source {
                ast::CopySource::Path(text) => {
                    sources.push(CopySource::Path(self.word(text, state)?));
                }
                ast::CopySource::Heredoc(heredoc) => {
                    check_name(&heredoc.name, command)?;
                    let mut content = heredoc.content();
                    if heredoc.expand {
                        let span = heredoc.body_span;
                        let expanded = expand_heredoc(&content, span, &state.env)?;
                        self.warn_of_unset(&expanded, span, state);
                        content = expanded.text;
                    }
                    files.push(CopySource::Inline(InlineFile {
                        path: heredoc.name.clone(),
                        mode: HEREDOC_MODE,
                        content: content.into_bytes(),
                    }));
                }
            }
        }
        sources.append(&mut files);
        Ok(sources)
    }

    fn context(&mut self, stage: &str) -> StepIndex {
        let meta = StepMeta {
            name: "[internal] load build context".to_owned(),
            stage: stage.to_owned(),
            span: None,
            ignore_cache: false,
        };
        self.builder
            .add(Op::Context(ContextOp { name: None }), Vec::new(), meta)
    }
}

/// The patterns of `--exclude`, which are never expanded.
fn excluded(options: &CopyOptions) -> Result<Vec<String>> {
    for pattern in &options.exclude {
        if let Err(error) = Ignore::from_patterns(&[&pattern.value]) {
            return refuse(Diagnostic::error(pattern.span, error.to_string()));
        }
    }
    let patterns = options.exclude.iter();
    Ok(patterns.map(|pattern| pattern.value.clone()).collect())
}

/// What a source is, if it is not a path of the context.
fn remote(source: &str) -> Option<&'static str> {
    let lower = source.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        let path = lower.split(['#', '?']).next().unwrap_or_default();
        return Some(if path.strip_suffix(".git").is_some() {
            "a git repository"
        } else {
            "a URL"
        });
    }
    let has_scheme = ["git://", "ssh://"]
        .iter()
        .any(|scheme| lower.starts_with(scheme));
    (has_scheme || is_scp_like(&lower)).then_some("a git repository")
}

/// `user@host:path`.
fn is_scp_like(source: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    source
        .split_once(':')
        .and_then(|(login, _)| login.split_once('@'))
        .is_some_and(|(user, host)| is_word(user) && is_word(host))
}

fn is_numeric(owner: &str) -> bool {
    owner
        .split(':')
        .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn history(
    parts: &Parts<'_>,
    chown: Option<&str>,
    chmod: Option<&str>,
    sources: &[CopySource],
    dest: &str,
) -> String {
    let mut words = vec![parts.name.to_owned()];
    if parts.parents {
        words.push("--parents".to_owned());
    }
    words.extend(chown.map(|owner| format!("--chown={owner}")));
    words.extend(chmod.map(|mode| format!("--chmod={mode}")));
    words.extend(sources.iter().map(|source| match source {
        CopySource::Path(path) => path.clone(),
        CopySource::Inline(file) => format!("<<{}", file.path),
    }));
    words.push(dest.to_owned());
    words.push("# buildkit".to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_sources() {
        assert_eq!(remote("https://a.b/c.tar"), Some("a URL"));
        assert_eq!(remote("https://a.b/c.git#main"), Some("a git repository"));
        assert_eq!(remote("git@a.b:c"), Some("a git repository"));
        assert_eq!(remote("me@host.org:a/b"), Some("a git repository"));
        for local in ["http.txt", "a@b/c:d", "a@b", "C:x", "github.com/a/b"] {
            assert_eq!(remote(local), None, "{local}");
        }
    }
}
