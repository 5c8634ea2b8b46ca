//! A build graph as the steps of provenance.

use std::collections::BTreeMap;
use std::ops::Range;

use kiln_graph::{
    CacheSharing, CopyOp, CopySource, Graph, InlineFile, Network, Op, RunMount, RunOp, Security,
    Step, StepIndex,
};

use super::{BuildStep, FileAction, LineRange, Mount, StepInput, StepOp};

/// The steps that `results` are made of, with their places in the graph. Steps of other results
/// are left out, since each image has provenance of its own.
///
/// The spans of the steps are places in `dockerfile`, the first of the build's sources; `contexts`
/// are the names of the build contexts by their id. Layers are added by whoever packed them.
pub fn steps_of(
    graph: &Graph,
    results: &[StepIndex],
    dockerfile: &str,
    contexts: &[String],
) -> Vec<(StepIndex, BuildStep)> {
    let mut needed = vec![false; graph.steps().len()];
    for result in results {
        needed[result.as_usize()] = true;
    }
    // Inputs come before the steps that need them.
    for (place, step) in graph.steps().iter().enumerate().rev() {
        if needed[place] {
            for input in &step.inputs {
                needed[input.as_usize()] = true;
            }
        }
    }
    let mut places = vec![0; needed.len()];
    let mut steps = Vec::new();
    for index in graph.indexes().filter(|index| needed[index.as_usize()]) {
        places[index.as_usize()] = steps.len();
        let step = graph.step(index);
        let inputs = step.inputs.iter().map(|input| StepInput {
            step: places[input.as_usize()],
            output: 0,
        });
        let span = step.meta.span.iter();
        let described = BuildStep {
            digest: format!("blake3:{}", step.id),
            name: step.meta.name.clone(),
            op: step_op(step, contexts),
            inputs: inputs.collect(),
            lines: span.map(|span| lines(dockerfile, span)).collect(),
            layers: Vec::new(),
        };
        steps.push((index, described));
    }
    steps
}

/// The lines that a range of bytes is on.
fn lines(text: &str, span: &Range<usize>) -> LineRange {
    let line_of = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        let breaks = before.split(|byte| *byte == b'\n').count() - 1;
        u32::try_from(breaks + 1).unwrap_or(u32::MAX)
    };
    LineRange {
        source: 0,
        first: line_of(span.start),
        // The end is one past the last byte, which may be the line break itself.
        last: line_of(span.end.saturating_sub(1).max(span.start)),
    }
}

fn step_op(step: &Step, contexts: &[String]) -> StepOp {
    match &step.op {
        Op::Image(image) => source(
            format!("docker-image://{}@{}", image.name, image.manifest),
            &[("platform", Some(image.platform.normalized().to_string()))],
        ),
        Op::Context(context) => {
            let name = contexts.get(context.id).map_or("context", String::as_str);
            source(format!("local://{name}"), &[])
        }
        Op::Http(http) => source(
            http.url.clone(),
            &[
                ("http.checksum", Some(http.digest.to_string())),
                ("http.filename", Some(http.name.clone())),
            ],
        ),
        Op::Git(git) => {
            let mut said = parts(&step.op.parts());
            // The identifier says it.
            said.remove("repository");
            said.extend(attributes(&[("reference", git.reference.clone())]));
            StepOp::Source {
                identifier: git.git.to_string(),
                attributes: said,
            }
        }
        Op::Run(run) => exec(run),
        Op::Copy(copy) => StepOp::File {
            actions: copy_actions(copy),
        },
        Op::Workdir(workdir) => StepOp::File {
            actions: vec![FileAction::MakeDir {
                path: workdir.path.clone(),
            }],
        },
        Op::Merge => StepOp::Merge,
        Op::Scratch => source("scratch://".to_owned(), &[]),
    }
}

fn source(identifier: String, values: &[(&str, Option<String>)]) -> StepOp {
    StepOp::Source {
        identifier,
        attributes: attributes(values),
    }
}

/// The values that are there and not empty.
fn attributes(values: &[(&str, Option<String>)]) -> BTreeMap<String, String> {
    let values = values.iter().filter_map(|(key, value)| {
        let value = value.as_ref().filter(|value| !value.is_empty())?;
        Some(((*key).to_owned(), value.clone()))
    });
    values.collect()
}

fn yes(on: bool) -> Option<String> {
    on.then(|| "true".to_owned())
}

fn parts(parts: &[kiln_graph::Part]) -> BTreeMap<String, String> {
    let parts = parts.iter().map(|part| {
        let value = String::from_utf8_lossy(&part.value).into_owned();
        (part.label.clone(), value)
    });
    parts.collect()
}

fn exec(run: &RunOp) -> StepOp {
    let mut said = parts(&run.settings);
    said.extend(attributes(&[
        ("platform", Some(run.platform.normalized().to_string())),
        ("hostname", Some(run.hostname.clone())),
        (
            "security",
            (run.security == Security::Insecure).then(|| "insecure".to_owned()),
        ),
    ]));
    let env = run.env.iter();
    StepOp::Exec {
        args: run.argv.clone(),
        env: env.map(|(name, value)| format!("{name}={value}")).collect(),
        cwd: run.cwd.clone(),
        user: run.user.clone(),
        network: match run.network {
            Network::Default => "sandbox",
            Network::Host => "host",
            Network::None => "none",
        },
        mounts: run.mounts.iter().map(mount).collect(),
        files: run
            .files
            .iter()
            .map(|file| make_file(file, file.path.clone()))
            .collect(),
        attributes: said,
    }
}

fn mount(mount: &RunMount) -> Mount {
    let dest = mount.target().unwrap_or_default().to_owned();
    let plain = |kind: &str, id: Option<&String>| Mount {
        kind: kind.to_owned(),
        dest: dest.clone(),
        id: id.cloned(),
        input: None,
        readonly: false,
        attributes: BTreeMap::new(),
    };
    match mount {
        RunMount::Bind {
            input,
            source,
            read_only,
            ..
        } => Mount {
            input: Some(*input),
            readonly: *read_only,
            attributes: attributes(&[("source", Some(source.clone()))]),
            ..plain("bind", None)
        },
        RunMount::Cache(cache) => Mount {
            input: cache.from.as_ref().map(|(input, _)| *input),
            readonly: cache.read_only,
            attributes: attributes(&[
                (
                    "sharing",
                    Some(
                        match cache.sharing {
                            CacheSharing::Shared => "shared",
                            CacheSharing::Private => "private",
                            CacheSharing::Locked => "locked",
                        }
                        .to_owned(),
                    ),
                ),
                ("source", cache.from.as_ref().map(|(_, path)| path.clone())),
                ("namespace", Some(cache.namespace.clone())),
            ]),
            ..plain("cache", Some(&cache.id))
        },
        RunMount::Tmpfs { size, .. } => Mount {
            attributes: attributes(&[("size", size.map(|size| size.to_string()))]),
            ..plain("tmpfs", None)
        },
        RunMount::Secret {
            id, env, required, ..
        } => Mount {
            readonly: true,
            attributes: attributes(&[("env", env.clone()), ("required", yes(*required))]),
            ..plain("secret", Some(id))
        },
        RunMount::Ssh { id, required, .. } => Mount {
            attributes: attributes(&[("required", yes(*required))]),
            ..plain("ssh", Some(id))
        },
    }
}

fn make_file(file: &InlineFile, path: String) -> FileAction {
    FileAction::MakeFile {
        path,
        mode: file.mode,
        data: file.content.clone(),
    }
}

fn copy_actions(copy: &CopyOp) -> Vec<FileAction> {
    let mut paths = Vec::new();
    let mut actions = Vec::new();
    for source in &copy.sources {
        match source {
            CopySource::Path(path) => paths.push(path.clone()),
            CopySource::Inline(file) => {
                let path = match copy.dest.strip_suffix('/') {
                    Some(folder) => format!("{folder}/{}", file.path),
                    None => copy.dest.clone(),
                };
                actions.push(make_file(file, path));
            }
        }
    }
    if !paths.is_empty() {
        let exclude = copy.exclude.join("\n");
        actions.push(FileAction::Copy {
            sources: paths,
            dest: copy.dest.clone(),
            attributes: attributes(&[
                ("chown", copy.chown.clone()),
                ("chmod", copy.chmod.clone()),
                ("parents", yes(copy.parents)),
                ("link", yes(copy.link)),
                ("unpack", yes(copy.unpack == kiln_graph::Unpack::Archives)),
                ("exclude", Some(exclude)),
            ]),
        });
    }
    actions
}

#[cfg(test)]
mod tests {
    use kiln_graph::{GraphBuilder, StepMeta, WorkdirOp};

    use super::*;

    fn meta(name: &str, span: Range<usize>) -> StepMeta {
        StepMeta {
            name: name.to_owned(),
            stage: "0".to_owned(),
            span: Some(span),
            ignore_cache: false,
            build: 0,
            sharing: kiln_graph::Sharing::default(),
        }
    }

    fn workdir(path: &str) -> Op {
        Op::Workdir(WorkdirOp {
            path: path.to_owned(),
            user: String::new(),
        })
    }

    #[test]
    fn only_what_a_result_is_made_of() {
        let dockerfile = "FROM scratch\nWORKDIR /a\nWORKDIR \\\n/b\n";
        let mut builder = GraphBuilder::new();
        let scratch = builder.add(Op::Scratch, vec![], meta("FROM scratch", 0..12));
        let other = builder.add(workdir("/a"), vec![scratch], meta("WORKDIR /a", 13..23));
        let result = builder.add(workdir("/b"), vec![scratch], meta("WORKDIR /b", 24..37));
        let graph = builder.finish();
        let steps = steps_of(&graph, &[result], dockerfile, &[]);
        let said: Vec<_> = steps
            .iter()
            .map(|(index, step)| {
                let lines = step.lines[0];
                let inputs: Vec<usize> = step.inputs.iter().map(|input| input.step).collect();
                (*index, step.name.as_str(), lines.first, lines.last, inputs)
            })
            .collect();
        assert_eq!(
            said,
            [
                (scratch, "FROM scratch", 1, 1, vec![]),
                (result, "WORKDIR /b", 3, 4, vec![0]),
            ]
        );
        assert!(steps.iter().all(|(index, _)| *index != other));
        let action = FileAction::MakeDir {
            path: "/b".to_owned(),
        };
        assert_eq!(
            steps[1].1.op,
            StepOp::File {
                actions: vec![action]
            }
        );
    }
}
