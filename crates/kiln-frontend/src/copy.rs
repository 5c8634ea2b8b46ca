//! `COPY` and `ADD`.

use kiln_dockerfile::ast::{self, Add, Command, Copy, CopyOptions, Paths};
use kiln_dockerfile::mode::Mode;
use kiln_dockerfile::{Diagnostic, Text};
use kiln_graph::{
    ContextOp, CopyFrom, CopyOp, CopySource, InlineFile, Op, StepIndex, StepMeta, Unpack,
};

use crate::lower::Lowerer;
use crate::paths;
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
            .map(|from| self.source(from, state))
            .transpose()?;
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
        for source in &add.paths.sources {
            if let ast::CopySource::Path(text) = source {
                let path = self.expander.word(text, &state.env)?;
                if let Some(what) = remote(&path) {
                    let message = format!("`ADD` from {what} is not supported yet");
                    return refuse(Diagnostic::error(text.span, message));
                }
            }
        }
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

    fn copy_parts(
        &mut self,
        state: &mut StageState,
        command: &Command,
        parts: &Parts<'_>,
    ) -> Result<()> {
        let chown = self.optional(parts.options.chown.as_ref(), state)?;
        let chmod = self.chmod(parts.options.chmod.as_ref(), state)?;
        let sources = self.sources(parts, state)?;
        let dest = self.expander.word(&parts.paths.destination, &state.env)?;
        let dest = paths::absolute(state.cwd(), &dest);
        let exclude: Result<Vec<String>> = parts
            .options
            .exclude
            .iter()
            .map(|pattern| self.expander.word(pattern, &state.env))
            .collect();
        state.record(
            history(parts, chown.as_deref(), chmod.as_deref(), &sources, &dest),
            false,
        );
        let meta = state.meta(command, &command.source, self.ignores_cache());
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
            exclude: exclude?,
            unpack: parts.unpack,
            no_follow: parts.options.link,
        };
        let source = match op.from {
            CopyFrom::Nothing => None,
            CopyFrom::Context => Some(self.context(&state.title)),
            CopyFrom::Root => parts.from,
        };
        if !parts.options.link {
            let inputs = std::iter::once(state.root).chain(source).collect();
            state.root = self.builder.add(Op::Copy(op), inputs, meta);
            return Ok(());
        }
        // The layer of a linked copy does not depend on what it is put on, so it is made on an
        // empty root; that of the stage is an input only where names of users are looked up in it.
        let mut inputs: Vec<StepIndex> = std::iter::once(self.scratch(&state.title))
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

    fn optional(&self, text: Option<&Text>, state: &StageState) -> Result<Option<String>> {
        text.map(|text| self.expander.word(text, &state.env))
            .transpose()
    }

    fn chmod(&self, text: Option<&Text>, state: &StageState) -> Result<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        let mode = self.expander.word(text, &state.env)?;
        match mode.parse::<Mode>() {
            Ok(_) => Ok(Some(mode)),
            Err(error) => refuse(Diagnostic::error(text.span, error.to_string())),
        }
    }

    fn sources(&self, parts: &Parts<'_>, state: &StageState) -> Result<Vec<CopySource>> {
        parts
            .paths
            .sources
            .iter()
            .map(|source| match source {
                ast::CopySource::Path(text) => {
                    Ok(CopySource::Path(self.expander.word(text, &state.env)?))
                }
                ast::CopySource::Heredoc(heredoc) => {
                    let mut content = heredoc.content();
                    if heredoc.expand {
                        content = expand_heredoc(&content, heredoc.body_span, &state.env)?;
                    }
                    Ok(CopySource::Inline(InlineFile {
                        path: heredoc.name.clone(),
                        mode: HEREDOC_MODE,
                        content: content.into_bytes(),
                    }))
                }
            })
            .collect()
    }

    fn context(&mut self, stage: &str) -> StepIndex {
        let meta = StepMeta {
            name: "[internal] load build context".to_owned(),
            stage: stage.to_owned(),
            offset: None,
            ignore_cache: false,
        };
        self.builder
            .add(Op::Context(ContextOp { name: None }), Vec::new(), meta)
    }
}

/// What a source is, if it is not a path of the context.
fn remote(source: &str) -> Option<&'static str> {
    let lower = source.to_ascii_lowercase();
    let http = lower.starts_with("http://") || lower.starts_with("https://");
    let path = lower.split(['#', '?']).next().unwrap_or_default();
    if ["git@", "git://", "ssh://"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
        || (http && path.strip_suffix(".git").is_some())
    {
        return Some("a git repository");
    }
    http.then_some("a URL")
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
        assert_eq!(remote("http.txt"), None);
    }
}
