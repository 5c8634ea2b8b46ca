//! `COPY`, and what `ADD` shares with it.

use kiln_dockerfile::ast::{self, Command, Copy, CopyOptions, Paths};
use kiln_dockerfile::ignore::Ignore;
use kiln_dockerfile::mode::Mode;
use kiln_dockerfile::{Diagnostic, Text};
use kiln_graph::{CopyFrom, CopyOp, CopySource, InlineFile, Op, StepIndex, StepMeta, Unpack};

use crate::add::Remote;
use crate::lower::{Lowerer, Source};
use crate::paths;
use crate::run::check_name;
use crate::scope::refuse;
use crate::stage::StageState;
use crate::stages::{SourceKind, SourceName};
use crate::text::{Result, expand_heredoc};

/// The mode of a file that a heredoc makes.
const HEREDOC_MODE: u32 = 0o644;

/// What is common to both instructions, besides where sources are found.
pub(crate) struct Parts<'a> {
    pub(crate) name: &'static str,
    pub(crate) paths: &'a Paths,
    pub(crate) options: &'a CopyOptions,
    /// The sources as the history shows them.
    pub(crate) shown: Vec<CopySource>,
    /// The sources as they are found in `from`.
    pub(crate) sources: Vec<CopySource>,
    pub(crate) from: Source,
    pub(crate) parents: bool,
    pub(crate) exclude: Vec<String>,
    pub(crate) unpack: Unpack,
}

impl Lowerer<'_> {
    pub(crate) fn copy(
        &mut self,
        state: &mut StageState,
        command: &Command,
        copy: &Copy,
    ) -> Result<()> {
        let from = match &copy.from {
            None => Source::Files(self.options.context),
            Some(name) => self.source(&SourceName {
                name: name.clone(),
                kind: SourceKind::Copy,
            })?,
        };
        let sources = self.sources(state, command, &copy.paths)?;
        for (source, written) in sources.iter().zip(&copy.paths.sources) {
            refuse_remote(source, written)?;
        }
        let parts = Parts {
            name: "COPY",
            paths: &copy.paths,
            options: &copy.options,
            shown: sources.clone(),
            sources,
            from,
            parents: copy.parents,
            exclude: excluded(&copy.options)?,
            unpack: Unpack::Never,
        };
        self.copy_parts(state, command, parts)
    }

    pub(crate) fn copy_parts(
        &mut self,
        state: &mut StageState,
        command: &Command,
        parts: Parts<'_>,
    ) -> Result<()> {
        let chown = self.optional(parts.options.chown.as_ref(), state)?;
        let chmod = self.chmod(parts.options.chmod.as_ref(), state)?;
        let dest = self.word(&parts.paths.destination, state)?;
        state.record(
            history(&parts, chown.as_deref(), chmod.as_deref(), &dest),
            false,
        );
        let dest = paths::absolute(state.cwd(), &dest);
        let title = self.expander.title(&command.source, &state.env);
        let meta = self.meta(state, command, &title);
        // BuildKit makes an ordinary copy of it, which follows links in the destination.
        let link = parts.options.link && chmod.is_none();
        if parts.options.link && !link {
            let message = "`--link` has no effect together with `--chmod`";
            self.warnings
                .push(Diagnostic::warning(command.span, message));
        }
        let has_paths = parts
            .sources
            .iter()
            .any(|source| matches!(source, CopySource::Path(_)));
        let source = match (has_paths, parts.from) {
            (false, _) => None,
            (true, Source::Root(root)) => Some(root),
            (true, Source::Files(context)) => Some(self.context(&state.progress.title, context)),
        };
        let mut op = CopyOp {
            sources: parts.sources,
            from: match (has_paths, parts.from) {
                (false, _) => CopyFrom::Nothing,
                (true, Source::Files(_)) => CopyFrom::Context,
                (true, Source::Root(_)) => CopyFrom::Root,
            },
            dest,
            chown,
            owners: 0,
            chmod,
            parents: parts.parents,
            exclude: parts.exclude,
            unpack: parts.unpack,
            link,
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
    pub(crate) fn sources(
        &mut self,
        state: &StageState,
        command: &Command,
        paths: &Paths,
    ) -> Result<Vec<CopySource>> {
        let mut sources = Vec::new();
        let mut files = Vec::new();
        for source in &paths.sources {
            match source {
                ast::CopySource::Path(text) => {
                    sources.push(CopySource::Path(self.word(text, state)?));
                }
                ast::CopySource::Heredoc(heredoc) => {
                    check_name(&heredoc.name, command)?;
                    let mut content = heredoc.content();
                    if heredoc.expand {
                        let span = heredoc.body_span;
                        content = expand_heredoc(&content, span, &state.env)?.text;
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
}

/// The patterns of `--exclude`, which are never expanded.
pub(crate) fn excluded(options: &CopyOptions) -> Result<Vec<String>> {
    for pattern in &options.exclude {
        if let Err(error) = Ignore::from_patterns(&[&pattern.value]) {
            return refuse(Diagnostic::error(pattern.span, error.to_string()));
        }
    }
    let patterns = options.exclude.iter();
    Ok(patterns.map(|pattern| pattern.value.clone()).collect())
}

/// Sources that only `ADD` takes.
fn refuse_remote(source: &CopySource, written: &ast::CopySource) -> Result<()> {
    let (CopySource::Path(path), ast::CopySource::Path(text)) = (source, written) else {
        return Ok(());
    };
    let what = match Remote::of(path, text.span)? {
        None => return Ok(()),
        Some(Remote::Http) => "a URL",
        Some(Remote::Git(_)) => "a git repository",
    };
    let message = format!("`COPY` can't copy from {what}");
    refuse(Diagnostic::error(text.span, message).with_hint("that is what `ADD` is for"))
}

fn is_numeric(owner: &str) -> bool {
    owner
        .split(':')
        .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn history(parts: &Parts<'_>, chown: Option<&str>, chmod: Option<&str>, dest: &str) -> String {
    let mut words = vec![parts.name.to_owned()];
    if parts.parents {
        words.push("--parents".to_owned());
    }
    words.extend(chown.map(|owner| format!("--chown={owner}")));
    words.extend(chmod.map(|mode| format!("--chmod={mode}")));
    words.extend(parts.shown.iter().map(|source| match source {
        CopySource::Path(path) => path.clone(),
        CopySource::Inline(file) => format!("<<{}", file.path),
    }));
    words.push(dest.to_owned());
    words.push("# buildkit".to_owned());
    words.join(" ")
}
