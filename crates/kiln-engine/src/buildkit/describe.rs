//! A step of the graph as BuildKit would have lowered the same line.

use kiln_cache::buildkit::{
    BkImage, BkPlatform, CopyAction, FileAction, FileOp, MkdirAction, MkfileAction, Owner,
    Selected, Step, UserName,
};
use kiln_graph::{
    CopyOp, CopySource, ImageOp, InlineFile, Op, Step as GraphStep, Unpack, WorkdirOp,
};
use kiln_oci::Platform;

use super::{Build, run};

/// What BuildKit has for a step.
pub(super) enum Described {
    /// The same as for another step.
    Same(usize),
    /// This.
    Step {
        /// As written in one way or another: what the graph does not tell apart.
        forms: Vec<Step>,
        /// In BuildKit's order.
        inputs: Vec<Taken>,
    },
}

/// An input, and what the step takes of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    pub(super) source: Source,
    /// What BuildKit names in the selector of a copy.
    pub(super) named: Vec<String>,
    /// What decides by its content alone.
    pub(super) selected: Vec<Selected>,
}

/// Where an input is from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// An empty root, which is no input at all.
    #[default]
    Nothing,
    /// Another step of the graph.
    Step(usize),
    /// A context, by its number.
    Context(usize),
    /// What BuildKit makes for this step alone.
    Made(FileAction),
}

/// Inputs, each once.
#[derive(Default)]
pub(super) struct Inputs(pub(super) Vec<Taken>);

impl Inputs {
    /// The place of an input; `None` for nothing.
    pub(super) fn add(&mut self, source: Source) -> Option<usize> {
        if source == Source::Nothing {
            return None;
        }
        let known = self.0.iter().position(|taken| taken.source == source);
        Some(known.unwrap_or_else(|| {
            self.0.push(Taken {
                source,
                ..Taken::default()
            });
            self.0.len() - 1
        }))
    }
}

/// A step of one action on nothing.
pub(super) fn alone(action: FileAction) -> FileOp {
    FileOp {
        base: None,
        inputs: 0,
        actions: vec![action],
    }
}

/// `None` for a step that BuildKit has no record of, or that can't be told exactly.
pub(super) fn describe(build: Build<'_>, index: usize) -> Option<Described> {
    let step = &build.graph.steps()[index];
    match &step.op {
        Op::Image(op) => image(build, op),
        Op::Run(op) => run::describe(build, step, op),
        Op::Copy(op) => copy(build, step, op),
        Op::Workdir(op) => workdir(build, step, op),
        Op::Merge => merge(build, step),
        Op::Scratch | Op::Context(_) | Op::Http(_) | Op::Git(_) => None,
    }
}

pub(super) fn platform(platform: &Platform) -> BkPlatform {
    let platform = platform.clone().normalized();
    BkPlatform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant.unwrap_or_default(),
    }
}

fn image(build: Build<'_>, op: &ImageOp) -> Option<Described> {
    let is_it = |digest| digest == op.manifest;
    let mut bases = build.bases.iter();
    let base = bases.find(|base| is_it(base.image.descriptor().digest.clone()))?;
    let image = BkImage {
        manifest: Some(op.manifest.clone()),
        diff_ids: base.image.config().diff_ids.clone(),
        platform: platform(&op.platform),
    };
    Some(Described::Step {
        forms: vec![Step::Image(image)],
        inputs: Vec::new(),
    })
}

/// Where an input of a step is from; `None` where there is no such input.
pub(super) fn source(build: Build<'_>, step: &GraphStep, input: usize) -> Option<Source> {
    let index = *step.inputs.get(input)?;
    let other = build.graph.step(index);
    Some(match &other.op {
        Op::Scratch => Source::Nothing,
        Op::Context(context) => Source::Context(context.id),
        _ => Source::Step(index.as_usize()),
    })
}

fn workdir(build: Build<'_>, step: &GraphStep, op: &WorkdirOp) -> Option<Described> {
    let mut inputs = Inputs::default();
    let base = inputs.add(source(build, step, 0)?);
    let request = build.builds.get(step.meta.build)?.request;
    let nanoseconds = |time: kiln_base::Timestamp| {
        let seconds = time.seconds().checked_mul(1_000_000_000)?;
        seconds.checked_add(i64::from(time.nanoseconds()))
    };
    let action = MkdirAction {
        path: op.path.clone(),
        owner: (!op.user.is_empty()).then(|| owner(&op.user)),
        timestamp: request.source_date_epoch.and_then(nanoseconds),
    };
    Some(file(base, inputs, vec![vec![FileAction::Mkdir(action)]]))
}

fn file(base: Option<usize>, inputs: Inputs, forms: Vec<Vec<FileAction>>) -> Described {
    let forms = forms.into_iter().map(|actions| {
        Step::File(FileOp {
            base,
            inputs: inputs.0.len(),
            actions,
        })
    });
    Described::Step {
        forms: forms.collect(),
        inputs: inputs.0,
    }
}

/// A user, and a group if there is one, as `--chown` and `USER` name them.
fn owner(text: &str) -> Owner {
    let name = |text: &str| match text.parse::<u32>() {
        Ok(id) if !text.starts_with('+') => UserName::Id(id),
        _ => UserName::Name(text.to_owned()),
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    Owner {
        user: Some(name(user)),
        group: group.map(name),
    }
}

fn merge(build: Build<'_>, step: &GraphStep) -> Option<Described> {
    let layer = step.inputs.get(1)?.as_usize();
    let below = source(build, step, 0)?;
    if below == Source::Nothing {
        return Some(Described::Same(layer));
    }
    let inputs = [below, Source::Step(layer)].map(|source| Taken {
        source,
        ..Taken::default()
    });
    Some(Described::Step {
        forms: vec![Step::Merge(2)],
        inputs: inputs.to_vec(),
    })
}

fn copy(build: Build<'_>, step: &GraphStep, op: &CopyOp) -> Option<Described> {
    if op.parents || !op.exclude.is_empty() {
        return None;
    }
    let mut inputs = Inputs::default();
    let base = inputs.add(source(build, step, 0)?);
    let mut actions = Vec::new();
    for one in &op.sources {
        actions.push(match one {
            CopySource::Path(path) => {
                let from = source(build, step, 1)?;
                path_action(build, op, (path, from), (base, &mut inputs))?
            }
            CopySource::Inline(file) => heredoc_action(op, file, &mut inputs)?,
        });
    }
    let mut forms = vec![actions];
    if op.dest.len() > 1 && op.dest.ends_with('/') {
        // `dir/.` is the same place, and another word for it.
        let dotted = forms[0].iter().cloned().map(|action| match action {
            FileAction::Copy(copy) => FileAction::Copy(CopyAction {
                dest: format!("{}.", copy.dest),
                ..copy
            }),
            other => other,
        });
        forms.push(dotted.collect());
    }
    Some(file(base, inputs, forms))
}

fn path_action(
    build: Build<'_>,
    op: &CopyOp,
    (path, from): (&str, Source),
    (base, inputs): (Option<usize>, &mut Inputs),
) -> Option<FileAction> {
    let is_fetched = match &from {
        Source::Step(step) => matches!(build.graph.steps()[*step].op, Op::Http(_) | Op::Git(_)),
        Source::Context(_) | Source::Made(_) | Source::Nothing => false,
    };
    let input = inputs.add(from)?;
    if Some(input) == base {
        return None;
    }
    let src = clean(path);
    let taken = &mut inputs.0[input];
    taken.named.push(src.clone());
    taken.selected.push(Selected {
        path: src.clone(),
        is_pattern: !is_fetched,
    });
    Some(FileAction::Copy(CopyAction {
        src,
        unpack: op.unpack == Unpack::Archives,
        is_selection: !is_fetched,
        ..action(op, input)
    }))
}

fn heredoc_action(op: &CopyOp, file: &InlineFile, inputs: &mut Inputs) -> Option<FileAction> {
    let path = format!("/{}", file.path);
    let input = inputs.add(Source::Made(FileAction::Mkfile(MkfileAction {
        path: path.clone(),
        mode: file.mode,
        data: file.content.clone(),
    })))?;
    inputs.0[input].named.push(path.clone());
    Some(FileAction::Copy(CopyAction {
        src: path,
        ..action(op, input)
    }))
}

/// What all sources of a copy have in common.
fn action(op: &CopyOp, from: usize) -> CopyAction {
    let (mut mode, mut mode_text) = (None, String::new());
    if let Some(text) = &op.chmod {
        match u32::from_str_radix(text, 8) {
            Ok(bits) => mode = Some(bits),
            Err(_) => mode_text.clone_from(text),
        }
    }
    CopyAction {
        from,
        src: String::new(),
        dest: op.dest.clone(),
        owner: op.chown.as_deref().map(owner),
        mode,
        mode_text,
        unpack: false,
        is_selection: false,
    }
}

/// Absolute, without `.`, `..`, doubled slashes and one at the end.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}
