//! The image configuration: what a container made from the image runs, and how the image was made.
//!
//! OCI's fields and Docker's extensions (`Healthcheck`, `OnBuild`, `Shell`, `ArgsEscaped`) are
//! typed; every other field of a base image's configuration is kept in [`Unknown`] and printed
//! again. Fields that are `null` are taken as absent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::document::{self, DocumentError};
use crate::wire::ConfigWire;
use crate::{Digest, Platform};

/// Fields that kiln has no name for. They are only carried along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unknown(pub(crate) Map<String, Value>);

impl Unknown {
    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The configuration of one image, a value: an edit makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What the image runs on.
    pub platform: Platform,
    /// When the image was made, RFC 3339.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// What a container made from the image runs.
    pub runtime: RuntimeConfig,
    /// The digests of the uncompressed layers, base first.
    pub diff_ids: Vec<Digest>,
    /// What made each layer, and what made none; base first.
    pub history: Vec<History>,
    /// Other top-level fields.
    pub unknown: Unknown,
}

/// What a container made from the image runs, and with what surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty is root.
    pub user: String,
    /// `port`, `port/tcp` or `port/udp`.
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// The start of the command line; `None` inherits, empty clears.
    pub entrypoint: Option<Vec<String>>,
    /// The rest of the command line, which the user may replace.
    pub cmd: Option<Vec<String>>,
    /// Paths whose content belongs to the container's data.
    pub volumes: BTreeSet<String>,
    /// Where the command starts; empty is `/`.
    pub working_dir: String,
    /// Labels, by name.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the container to stop: a name or a number.
    pub stop_signal: Option<String>,
    /// How to find out whether the container works.
    pub healthcheck: Option<Healthcheck>,
    /// The shell of shell-form instructions in files built from this image.
    pub shell: Option<Vec<String>>,
    /// Instructions that run first in files built from this image.
    pub on_build: Vec<String>,
    /// Windows only: the command line is one already escaped string.
    pub args_escaped: bool,
    /// Other fields.
    pub unknown: Unknown,
}

/// A command that tells whether a container works. A time that is absent is inherited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", …]` runs, `["CMD-SHELL", text]` runs in a shell.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: Option<Duration>,
    /// How long one check may take.
    pub timeout: Option<Duration>,
    /// How long failures do not count after the start.
    pub start_period: Option<Duration>,
    /// Between two checks during the start period.
    pub start_interval: Option<Duration>,
    /// How many failures in a row mean that the container does not work.
    pub retries: Option<u32>,
}

/// One line of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// Who.
    pub author: Option<String>,
    /// Which tool.
    pub comment: Option<String>,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

impl ImageConfig {
    /// The configuration of an image without layers, command or history.
    pub fn empty(platform: Platform) -> Self {
        Self {
            platform,
            created: None,
            author: None,
            runtime: RuntimeConfig::default(),
            diff_ids: Vec::new(),
            history: Vec::new(),
            unknown: Unknown::default(),
        }
    }

    /// Reads a configuration of at most [`crate::MAX_DOCUMENT_SIZE`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::check_size(bytes)?;
        let wire: ConfigWire = serde_json::from_slice(bytes).map_err(DocumentError::json)?;
        Ok(wire.into())
    }

    /// The configuration as JSON: equal configurations give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        document::print(&ConfigWire::from(self))
    }

    /// The same image with one more layer on top.
    #[must_use]
    pub fn with_layer(mut self, diff_id: Digest, history: History) -> Self {
        self.diff_ids.push(diff_id);
        self.history.push(History {
            empty_layer: false,
            ..history
        });
        self
    }

    /// The same image with one more line of history that made no layer.
    #[must_use]
    pub fn with_empty_layer(mut self, history: History) -> Self {
        self.history.push(History {
            empty_layer: true,
            ..history
        });
        self
    }

    /// The same image with `change` applied to what it runs.
    #[must_use]
    pub fn with_runtime(mut self, change: impl FnOnce(RuntimeConfig) -> RuntimeConfig) -> Self {
        self.runtime = change(self.runtime);
        self
    }
}

impl RuntimeConfig {
    /// The value of the environment variable `name`; the last one counts.
    pub fn env_value(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| {
            let (known, value) = entry.split_once('=')?;
            (known == name).then_some(value)
        })
    }
}

/// The chain ID of each layer: the digest of everything up to and including it.
///
/// `chain(0) = diff(0)`, `chain(n) = sha256(chain(n-1) + " " + diff(n))`.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &Expect) {
        let config = ImageConfig::from_bytes(input.as_bytes()).expect("a configuration");
        let printed = String::from_utf8(config.to_bytes()).expect("UTF-8");
        expected.assert_eq(&printed);
        assert_eq!(
            ImageConfig::from_bytes(printed.as_bytes()).ok(),
            Some(config)
        );
    }

    #[test]
    fn the_smallest_configuration() {
        check(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
            &expect![[
                r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#
            ]],
        );
    }

    #[test]
    fn what_docker_writes_survives() {
        check(
            r#"{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-01-01T00:00:00Z",
               "container":"abc","docker_version":"20.10",
               "config":{"Hostname":"h","Env":["A=b"],"Cmd":null,"Entrypoint":[],"Image":"x",
                 "Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}},"OnBuild":null,"Labels":null,
                 "Shell":["/bin/bash","-c"],"ArgsEscaped":true,"StopSignal":"SIGINT",
                 "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":3}},
               "rootfs":{"type":"layers","diff_ids":[
                 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
               "history":[{"created_by":"ADD"},{"created_by":"ENV A=b","empty_layer":true}]}"#,
            &expect![[
                r#"{"created":"2024-01-01T00:00:00Z","architecture":"arm64","variant":"v8","os":"linux","config":{"ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Entrypoint":[],"Volumes":{"/data":{}},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":3},"Shell":["/bin/bash","-c"],"ArgsEscaped":true,"Hostname":"h","Image":"x"},"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"history":[{"created_by":"ADD"},{"created_by":"ENV A=b","empty_layer":true}],"container":"abc","docker_version":"20.10"}"#
            ]],
        );
    }

    /// Found by fuzzing: what was written was read as a number a little less.
    #[test]
    fn numbers_of_unknown_members_do_not_drift() {
        check(
            r#"{"architecture":"a","os":"b","rootfs":{"diff_ids":[]},"x":1014570923990231728895}"#,
            &expect![[
                r#"{"architecture":"a","os":"b","config":{},"rootfs":{"type":"layers","diff_ids":[]},"x":1.0145709239902317e+21}"#
            ]],
        );
    }

    #[test]
    fn edits_make_new_values() {
        let base = ImageConfig::empty(Platform::new("linux", "amd64"));
        let edited = base
            .clone()
            .with_layer(Digest::sha256(b"layer"), History::default())
            .with_empty_layer(History::default())
            .with_runtime(|runtime| RuntimeConfig {
                env: vec!["A=1".to_owned(), "A=2".to_owned()],
                ..runtime
            });
        assert!(base.history.is_empty());
        assert_eq!(edited.history.len(), 2);
        assert!(edited.history[1].empty_layer);
        assert_eq!(edited.runtime.env_value("A"), Some("2"));
        assert_eq!(edited.runtime.env_value("B"), None);
    }

    #[test]
    fn chain_ids_hash_what_is_below() {
        let layers = [Digest::sha256(b"a"), Digest::sha256(b"b")];
        let chain = chain_ids(&layers);
        assert_eq!(chain[0], layers[0]);
        assert_eq!(
            chain[1],
            Digest::sha256(format!("{} {}", layers[0], layers[1]).as_bytes())
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in r#"[{}\[\]",:a-z0-9]{0,60}"#) {
            let _ = ImageConfig::from_bytes(text.as_bytes());
        }

        #[test]
        fn print_then_parse_is_identity(
            env in proptest::collection::vec("[A-Z]{1,4}=.{0,6}", 0..3),
            user in ".{0,6}",
            labels in proptest::collection::btree_map(".{0,4}", ".{0,4}", 0..3),
            cmd in proptest::option::of(proptest::collection::vec(".{0,4}", 0..3)),
            seconds in proptest::option::of(0_u64..1_000_000),
        ) {
            let healthcheck = seconds.map(|seconds| Healthcheck {
                interval: Some(Duration::from_secs(seconds + 1)),
                ..Healthcheck::default()
            });
            let config = ImageConfig::empty(Platform::new("linux", "arm")).with_runtime(|runtime| {
                RuntimeConfig { user, env, cmd, labels, healthcheck, ..runtime }
            });
            prop_assert_eq!(ImageConfig::from_bytes(&config.to_bytes()).ok(), Some(config));
        }
    }
}
