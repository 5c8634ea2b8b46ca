//! Dockerfiles in, graphs and configurations out.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "`expect!` writes them when it is updated"
)]

mod config;
mod copies;
mod dump;
mod hostile;
mod refused;
mod stages;
mod variables;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::Expect;
use kiln_dockerfile::Diagnostic;
use kiln_oci::{Digest, History, ImageConfig, Platform, Reference, RuntimeConfig};

use crate::{BaseFacts, Facts, LowerOptions, Lowering, NoCache, lower};

fn options() -> LowerOptions {
    LowerOptions {
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        target_platform: Platform::new("linux", "amd64"),
        build_platform: Platform::new("linux", "amd64"),
        no_cache: NoCache::None,
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
fn image(reference: &Reference) -> BaseFacts {
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
        manifest: Digest::sha256(reference.to_string().as_bytes()),
        config,
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
        match lower(&dockerfile, options, &facts) {
            Ok(Lowering::NeedBases(bases)) => {
                assert!(!bases.is_empty());
                for base in bases {
                    let _ = writeln!(asked, "needs {} for {}", base.reference, base.platform);
                    let facts_of_base = image(&base.reference);
                    facts.insert(&base, facts_of_base);
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
