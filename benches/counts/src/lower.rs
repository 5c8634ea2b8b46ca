//! A Dockerfile's text to a graph.

use std::collections::BTreeMap;
use std::hint::black_box;

use kiln_dockerfile::{Diagnostic, parse};
use kiln_frontend::{
    Allow, BaseFacts, BaseRoot, Facts, LowerOptions, Lowered, Lowering, NoCache, lower,
};
use kiln_graph::{GraphBuilder, Sharing};
use kiln_oci::{Digest, History, ImageConfig, Platform, RuntimeConfig};

use crate::Failure;
use crate::path::Walk;

/// What a monorepo's Dockerfile looks like.
const TEXT: &str = include_str!("large.Dockerfile");

pub(crate) fn load() -> Walk {
    let options = LowerOptions {
        build: 0,
        sharing: Sharing::default(),
        prefix: String::new(),
        target: None,
        build_args: BTreeMap::from([("VERSION".to_owned(), "1.2.3".to_owned())]),
        labels: BTreeMap::new(),
        target_platform: platform(),
        build_platform: platform(),
        no_cache: NoCache::None,
        context: 0,
        contexts: BTreeMap::new(),
        allow: Allow {
            network_host: false,
            security_insecure: false,
        },
        run_settings: Vec::new(),
    };
    Box::new(move || {
        black_box(walk(black_box(TEXT), &options)?);
        Ok(())
    })
}

/// Parses and lowers; what lowering asks for it gets, as from an engine that has all images.
fn walk(text: &str, options: &LowerOptions) -> Result<Lowered, Failure> {
    let (dockerfile, diagnostics) = parse(text);
    if let Some(error) = diagnostics.iter().find(|each| each.is_error()) {
        return Err(shown(error).into());
    }
    let mut facts = Facts::default();
    loop {
        match lower(&dockerfile, options, &facts, &GraphBuilder::new()) {
            Ok(Lowering::Done(lowered)) => return Ok(*lowered),
            Ok(Lowering::Needs(needs)) => {
                if needs.bases.is_empty() {
                    return Err("the Dockerfile needs more than images".into());
                }
                for base in needs.bases {
                    let facts_of_base = image(&base.image.to_string());
                    facts.insert(&base, facts_of_base);
                }
            }
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(shown).collect();
                return Err(errors.join("; ").into());
            }
        }
    }
}

fn shown(diagnostic: &Diagnostic) -> String {
    format!("{diagnostic:?}")
}

fn image(name: &str) -> BaseFacts {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let config = ImageConfig::empty(platform()).with_runtime(|_| RuntimeConfig {
        env: vec![path.to_owned(), "LANG=C.UTF-8".to_owned()],
        cmd: Some(vec!["bash".to_owned()]),
        ..RuntimeConfig::default()
    });
    let history = History {
        created_by: Some("base".to_owned()),
        ..History::default()
    };
    BaseFacts {
        root: BaseRoot::Manifest(Digest::sha256(name.as_bytes())),
        config: config.with_layer(Digest::sha256(b"layer"), history),
    }
}

fn platform() -> Platform {
    Platform::new("linux", "amd64")
}
