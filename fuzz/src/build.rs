//! What a build of a Dockerfile is told, from text.
//!
//! Each line is a letter, a blank and a value:
//!
//! | line | what it says |
//! |---|---|
//! | `a NAME=value` | a build argument |
//! | `l NAME=value` | a label |
//! | `t name` | the target |
//! | `p linux/arm64` | the platform to build for |
//! | `n name` | stages that ignore the cache |
//! | `c name=image` | a named context: an image, or the files `1` where there is none of that name |
//! | `e NAME=value`, `w /folder`, `u user`, `s word` | environment, folder, user and shell of every base |
//! | `o COPY . /` | a trigger of every base but `scratch` |
//! | `i pattern` | a line of the ignore file |

use std::collections::BTreeMap;

use kiln_frontend::{
    Allow, BaseFacts, BaseRoot, Facts, IgnoreList, ImageName, LowerOptions, NamedContext, Needs,
    NoCache, RemoteSource, SourceFacts,
};
use kiln_graph::Sharing;
use kiln_oci::{Digest, History, ImageConfig, Platform, RuntimeConfig};

/// The options of a build, and what every base image is like.
pub struct Build {
    /// How to lower.
    pub options: LowerOptions,
    /// What is known from the start.
    pub facts: Facts,
    base: RuntimeConfig,
}

impl Build {
    /// Reads the lines.
    pub fn parse(text: &str) -> Self {
        let mut options = options();
        let mut base = RuntimeConfig::default();
        let mut ignored = String::new();
        for line in text.lines() {
            let (letter, value) = line.split_once(' ').unwrap_or((line, ""));
            let pair = || {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                (name.to_owned(), value.to_owned())
            };
            match letter {
                "a" => options.build_args.extend([pair()]),
                "l" => options.labels.extend([pair()]),
                "t" => options.target = Some(value.to_owned()),
                "p" => {
                    if let Ok(platform) = value.parse() {
                        options.target_platform = platform;
                    }
                }
                "n" => options.no_cache = NoCache::Stages(vec![value.to_owned()]),
                "c" => {
                    let (name, image) = pair();
                    let context = match image.parse() {
                        Ok(image) => NamedContext::Image(ImageName::Reference(image)),
                        Err(_) => NamedContext::Files(1),
                    };
                    options.contexts.insert(name, context);
                }
                "e" => base.env.push(value.to_owned()),
                "w" => value.clone_into(&mut base.working_dir),
                "u" => value.clone_into(&mut base.user),
                "s" => base.shell.get_or_insert_default().push(value.to_owned()),
                "o" => base.on_build.push(value.to_owned()),
                "i" => ignored = ignored + value + "\n",
                _ => {}
            }
        }
        let mut facts = Facts::default();
        if let Ok(ignore) = IgnoreList::parse(&ignored) {
            facts.set_ignore(ignore);
        }
        Self {
            options,
            facts,
            base,
        }
    }

    /// Answers what lowering asked for. Nothing may be asked for twice.
    pub fn answer(&mut self, needs: Needs) {
        assert!(needs.bases.len() + needs.sources.len() > 0);
        for request in needs.bases {
            assert!(self.facts.get(&request.image, &request.platform).is_none());
            let name = request.image.to_string();
            let config = ImageConfig::empty(request.platform.clone())
                .with_runtime(|_| self.base.clone())
                .with_layer(Digest::sha256(name.as_bytes()), History::default());
            let root = BaseRoot::Manifest(Digest::sha256(name.as_bytes()));
            self.facts.insert(&request, BaseFacts { root, config });
        }
        for request in needs.sources {
            assert!(self.facts.source(&request.source).is_none());
            let facts = fetched(&request.source);
            self.facts.insert_source(&request, facts);
        }
    }
}

fn options() -> LowerOptions {
    LowerOptions {
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        target_platform: Platform::new("linux", "amd64"),
        build_platform: Platform::new("linux", "amd64"),
        no_cache: NoCache::None,
        build: 0,
        prefix: String::new(),
        context: 0,
        contexts: BTreeMap::new(),
        sharing: Sharing::default(),
        allow: Allow {
            network_host: true,
            security_insecure: true,
        },
        run_settings: Vec::new(),
    }
}

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
