//! Dockerfiles in, graphs and configurations out.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "`expect!` writes them when it is updated"
)]

mod config;
mod copies;
mod dump;
mod hostile;
mod lint;
mod questions;
mod refused;
mod sources;
mod stages;
mod variables;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::Expect;
use kiln_dockerfile::Diagnostic;
use kiln_graph::GraphBuilder;
use kiln_oci::{Digest, History, ImageConfig, Platform, RuntimeConfig};

use crate::{
    Allow, BaseFacts, BaseRoot, Facts, ImageName, LowerOptions, Lowering, NoCache, RemoteSource,
    SourceFacts, lower,
};

fn options() -> LowerOptions {
    LowerOptions {
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        target_platform: Platform::new("linux", "amd64"),
        build_platform: Platform::new("linux", "amd64"),
        no_cache: NoCache::None,
        build: 0,
        sharing: kiln_graph::Sharing::default(),
        prefix: String::new(),
        context: 0,
        contexts: BTreeMap::new(),
        allow: Allow {
            network_host: true,
            security_insecure: true,
        },
        run_settings: Vec::new(),
    }
}

fn with_args(args: &[(&str, &str)]) -> LowerOptions {
    let args = args.iter();
    LowerOptions {
        build_args: args
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..options()
    }
}

fn with_target(target: &str) -> LowerOptions {
    LowerOptions {
        target: Some(target.to_owned()),
        ..options()
    }
}

/// The images that exist. `debian` has little, `full` has everything, `onbuild` has triggers,
/// `hollow` has no layers.
fn image(image: &ImageName) -> BaseFacts {
    let reference = match image {
        ImageName::Reference(reference) => reference,
        ImageName::Layout(_) | ImageName::Build(_) => &"layout".parse().unwrap(),
    };
    let empty = ImageConfig::empty(Platform::new("linux", "amd64"));
    let name = reference.repository().trim_start_matches("library/");
    let runtime = match name {
        "full" => RuntimeConfig {
            user: "app".to_owned(),
            env: vec!["PATH=/bin".to_owned(), "BASE=yes".to_owned()],
            entrypoint: Some(vec!["/entry".to_owned()]),
            cmd: Some(vec!["run".to_owned()]),
            working_dir: "/srv".to_owned(),
            shell: Some(vec!["/bin/bash".to_owned(), "-c".to_owned()]),
            ..RuntimeConfig::default()
        },
        "onbuild" => RuntimeConfig {
            on_build: vec!["COPY . /src".to_owned(), "RUN make $WHAT".to_owned()],
            ..RuntimeConfig::default()
        },
        "broken" => RuntimeConfig {
            on_build: vec!["RUNN make".to_owned()],
            ..RuntimeConfig::default()
        },
        "chained" => RuntimeConfig {
            on_build: vec!["COPY --from=debian /etc/x /x".to_owned()],
            ..RuntimeConfig::default()
        },
        _ => RuntimeConfig::default(),
    };
    let config = empty.with_runtime(|_| runtime);
    let config = if name == "hollow" {
        config
    } else {
        let history = History {
            created_by: Some("base".to_owned()),
            ..History::default()
        };
        config.with_layer(Digest::sha256(name.as_bytes()), history)
    };
    BaseFacts {
        root: BaseRoot::Manifest(Digest::sha256(reference.to_string().as_bytes())),
        config,
    }
}

fn shown(source: &RemoteSource) -> String {
    match source {
        RemoteSource::Http {
            url,
            checksum: None,
        } => url.clone(),
        RemoteSource::Http {
            url,
            checksum: Some(checksum),
        } => format!("{url} with {checksum}"),
        RemoteSource::Git(git) => git.to_string(),
    }
}

/// What every source leads to.
fn fetched(source: &RemoteSource) -> SourceFacts {
    match source {
        RemoteSource::Http { url, .. } => SourceFacts::Http {
            digest: Digest::sha256(url.as_bytes()),
            name: url.rsplit('/').next().unwrap_or_default().to_owned(),
            modified: None,
        },
        RemoteSource::Git(_) => SourceFacts::Git {
            commit: "c".repeat(40),
            reference: None,
            tag: None,
        },
    }
}

/// Lowers `text`, with any image it asks for.
fn run(text: &str, options: &LowerOptions) -> String {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(text);
    assert!(
        !diagnostics.iter().any(Diagnostic::is_error),
        "{diagnostics:#?}"
    );
    let mut facts = Facts::default();
    let mut asked = String::new();
    loop {
        match lower(&dockerfile, options, &facts, &GraphBuilder::new()) {
            Ok(Lowering::Needs(needs)) => {
                assert!(needs.bases.len() + needs.sources.len() > 0);
                for base in needs.bases {
                    let _ = writeln!(asked, "needs {} for {}", base.image, base.platform);
                    let facts_of_base = image(&base.image);
                    facts.insert(&base, facts_of_base);
                }
                for source in needs.sources {
                    let _ = writeln!(asked, "needs {}", shown(&source.source));
                    facts.insert_source(&source, fetched(&source.source));
                }
            }
            Ok(Lowering::Done(lowered)) => return asked + &dump::dump(text, &lowered),
            Err(errors) => return asked + &dump::diagnostics(text, &errors),
        }
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check_with(options: &LowerOptions, text: &str, expected: Expect) {
    expected.assert_eq(&run(text, options));
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    check_with(&options(), text, expected);
}
