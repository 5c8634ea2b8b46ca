//! Ids and cache keys of a graph's steps.

use std::hint::black_box;

use kiln_graph::{
    CopyFrom, CopyOp, CopySource, GraphBuilder, KeyHasher, Network, Op, RunOp, Security, Sharing,
    StepIndex, StepMeta, Unpack,
};
use kiln_oci::Platform;

use crate::path::Walk;

const STEPS: usize = 200;

pub(crate) fn load() -> Walk {
    let ops: Vec<(Op, StepMeta)> = (0..STEPS).map(|index| (op(index), meta(index))).collect();
    Box::new(move || {
        black_box(walk(ops));
        Ok(())
    })
}

/// The id of each step, as lowering makes it, then its cache key, as the solver asks for it.
fn walk(ops: Vec<(Op, StepMeta)>) -> Vec<[u8; 32]> {
    let mut builder = GraphBuilder::new();
    let mut last: Option<StepIndex> = None;
    for (op, meta) in ops {
        last = Some(builder.add(op, last.into_iter().collect(), meta));
    }
    let graph = builder.finish();
    let mut keys: Vec<[u8; 32]> = Vec::with_capacity(graph.steps().len());
    for step in graph.steps() {
        let mut hasher = KeyHasher::new(step.op.kind());
        for input in &step.inputs {
            hasher.field("input", &keys[input.as_usize()]);
        }
        keys.push(hasher.parts(&step.op.parts()).finish());
    }
    keys
}

/// Nine of ten steps run something, with the environment of a usual base.
fn op(index: usize) -> Op {
    if index.is_multiple_of(10) {
        return Op::Copy(CopyOp {
            sources: vec![CopySource::Path(format!("services/module{index}"))],
            from: CopyFrom::Context,
            dest: format!("/srv/app/services/module{index}/"),
            chown: Some("app:app".to_owned()),
            owners: 0,
            chmod: None,
            parents: false,
            exclude: vec!["**/*.test.js".to_owned(), "**/node_modules".to_owned()],
            unpack: Unpack::Never,
            link: false,
        });
    }
    let command = format!("make -C /srv/app/services/module{index} install PREFIX=/usr/local");
    Op::Run(RunOp {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), command],
        env: environment(),
        uncached_env: vec![("http_proxy".to_owned(), "http://proxy:3128".to_owned())],
        cwd: "/srv/app".to_owned(),
        user: "app".to_owned(),
        network: Network::Default,
        security: Security::Sandbox,
        platform: Platform::new("linux", "amd64"),
        hostname: "buildkitsandbox".to_owned(),
        files: Vec::new(),
        mounts: Vec::new(),
        settings: Vec::new(),
    })
}

fn environment() -> Vec<(String, String)> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let pairs = [
        ("PATH", path),
        ("LANG", "C.UTF-8"),
        ("NODE_ENV", "production"),
        ("NODE_VERSION", "22.11.0"),
        ("YARN_VERSION", "1.22.22"),
        ("HOME", "/srv/app"),
        ("NPM_CONFIG_CACHE", "/var/cache/npm"),
        ("SOURCE_DATE_EPOCH", "1700000000"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.into_iter().map(owned).collect()
}

fn meta(index: usize) -> StepMeta {
    StepMeta {
        name: format!("[{index}/{STEPS}] RUN make"),
        stage: "build".to_owned(),
        span: None,
        ignore_cache: false,
        build: 0,
        sharing: Sharing::default(),
    }
}
