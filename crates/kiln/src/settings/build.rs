//! From the flags of `kiln build` to the engine's request.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_base::Timestamp;
use kiln_engine::{Allow, BuildRequest, CacheUse, Context, Dockerfile, Output, Pull, StepSettings};
use kiln_graph::Network;

use super::Settings;
use super::env::{Environment, SOURCE_DATE_EPOCH};
use super::outputs::{self, OutputsError, Packing, parse_name};
use super::trust;
use crate::args::{Assignment, BuildArgs, HostEntry, NetworkName, OutputSpec, OutputType};

/// Why a build can't be asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildArgsError {
    #[error("could not honour `{flag}`: {reason}")]
    Later {
        flag: &'static str,
        reason: &'static str,
    },
    #[error("could not use `{0}` as the build context: kiln can't fetch contexts yet")]
    RemoteContext(String),
    #[error("could not use `{0}` as the Dockerfile: kiln can't fetch Dockerfiles yet")]
    RemoteDockerfile(String),
    #[error("the context and the Dockerfile can't both be standard input")]
    StdinTwice,
    #[error("could not read standard input")]
    Stdin(#[source] std::io::Error),
    #[error(
        "what standard input holds is not a Dockerfile: kiln can't read contexts from archives yet"
    )]
    StdinArchive,
    #[error("what standard input holds is not a Dockerfile: it is not UTF-8")]
    StdinBinary,
    #[error("`SOURCE_DATE_EPOCH` is `{0}`, not a number of seconds")]
    Epoch(String),
    #[error("`--push` needs a name for the image")]
    PushNeedsName,
    #[error("`--iidfile` needs an image, and the outputs are files only")]
    NoImage,
    #[error(transparent)]
    Outputs(#[from] OutputsError),
    #[error(transparent)]
    Trust(#[from] trust::TrustError),
}

/// Decides what to build. `stdin` reads all of standard input, and is called at most once.
pub(crate) fn resolve(
    args: &BuildArgs,
    settings: &Settings,
    environment: &Environment,
    stdin: impl FnOnce() -> std::io::Result<Vec<u8>>,
) -> Result<BuildRequest, BuildArgsError> {
    if let Some((flag, reason)) = args.later.refused() {
        return Err(BuildArgsError::Later { flag, reason });
    }
    if !args.build_contexts.is_empty() {
        let (flag, reason) = ("--build-context", "this version of kiln can't do it");
        return Err(BuildArgsError::Later { flag, reason });
    }
    let (context, dockerfile) = sources(args, environment, stdin)?;
    let tags = args
        .tags
        .iter()
        .map(|tag| parse_name(tag))
        .collect::<Result<Vec<_>, _>>()?;
    let (outputs, packing) = all_outputs(args, settings, environment)?;
    let nameless =
        |output: &Output| matches!(output, Output::Push { image, .. } if image.names.is_empty());
    if tags.is_empty() && outputs.iter().any(nameless) {
        return Err(BuildArgsError::PushNeedsName);
    }
    let is_files = |output: &Output| matches!(output, Output::Tar { .. } | Output::Local { .. });
    if args.outputs.iidfile.is_some() && !outputs.is_empty() && outputs.iter().all(is_files) {
        return Err(BuildArgsError::NoImage);
    }
    let build_args = build_args(&args.build_args, environment);
    Ok(BuildRequest {
        name: String::new(),
        context,
        contexts: BTreeMap::new(),
        dockerfile,
        target: args.target.clone(),
        source_date_epoch: epoch(build_args.get(SOURCE_DATE_EPOCH.name))?,
        build_args,
        labels: labels(&args.labels, environment),
        platforms: vec![settings.platform.clone()],
        tags,
        outputs,
        cache: if args.cache.no_cache {
            CacheUse::Ignore
        } else {
            CacheUse::Use
        },
        pull: if args.cache.pull {
            Pull::Always
        } else {
            Pull::Missing
        },
        steps: StepSettings {
            network: network(settings.network),
            extra_hosts: extra_hosts(&args.steps.add_hosts),
            allow: Allow::default(),
            shm_size: None,
            ulimits: Vec::new(),
            cgroup_parent: None,
            resources: BTreeMap::new(),
        },
        secrets: BTreeMap::new(),
        ssh: BTreeMap::new(),
        proxies: Vec::new(),
        annotations: Vec::new(),
        jobs: settings.jobs,
        file_times: packing.file_times,
        format: packing.format,
        compression: packing.compression,
        trust: trust::read(&settings.trust_host_cas, environment)?,
        explain: args.explain,
    })
}

fn sources(
    args: &BuildArgs,
    environment: &Environment,
    stdin: impl FnOnce() -> std::io::Result<Vec<u8>>,
) -> Result<(Context, Dockerfile), BuildArgsError> {
    if is_remote(&args.context) {
        return Err(BuildArgsError::RemoteContext(args.context.clone()));
    }
    let from_stdin = args.file.as_deref() == Some(Path::new("-"));
    let context = match args.context.as_str() {
        "-" if from_stdin => return Err(BuildArgsError::StdinTwice),
        "-" => Context::Empty,
        path => Context::Directory(environment.resolve(Path::new(path))),
    };
    let dockerfile = match &args.file {
        None if context == Context::Empty => Dockerfile::Text(dockerfile_text(stdin)?),
        None => Dockerfile::Default,
        Some(_) if from_stdin => Dockerfile::Text(dockerfile_text(stdin)?),
        Some(file) => {
            let text = file.to_string_lossy();
            if is_remote(&text) {
                return Err(BuildArgsError::RemoteDockerfile(text.into_owned()));
            }
            Dockerfile::Path(environment.resolve(file))
        }
    };
    Ok((context, dockerfile))
}

/// What docker and BuildKit take for a URL or a git repository.
fn is_remote(text: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
    ];
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

fn dockerfile_text(
    stdin: impl FnOnce() -> std::io::Result<Vec<u8>>,
) -> Result<String, BuildArgsError> {
    let bytes = stdin().map_err(BuildArgsError::Stdin)?;
    if kiln_layer::detect_archive(&bytes).is_some() || kiln_layer::is_archive(bytes.as_slice()) {
        return Err(BuildArgsError::StdinArchive);
    }
    String::from_utf8(bytes).map_err(|_| BuildArgsError::StdinBinary)
}

/// `-o`, `--push` and `--load`. The two short flags keep the image in the store, too, so that it
/// can be run or be the next build's base.
fn all_outputs(
    args: &BuildArgs,
    settings: &Settings,
    environment: &Environment,
) -> Result<(Vec<Output>, Packing), OutputsError> {
    let mut specs = args.outputs.outputs.clone();
    if (args.outputs.push || args.outputs.load) && specs.is_empty() {
        specs.push(OutputSpec::bare(OutputType::Image));
    }
    if args.outputs.push {
        specs.push(OutputSpec::bare(OutputType::Registry));
    }
    if args.outputs.load {
        specs.push(OutputSpec::bare(OutputType::Docker));
    }
    outputs::resolve(
        &specs,
        args.outputs.rewrite_timestamp,
        settings,
        environment,
    )
}

/// Values for ARGs. One without a value takes the environment's, or is left out; as with docker,
/// `SOURCE_DATE_EPOCH` is handed on without being asked for.
fn build_args(typed: &[Assignment], environment: &Environment) -> BTreeMap<String, String> {
    let epoch = environment.get(&SOURCE_DATE_EPOCH).map(|epoch| {
        let epoch = epoch.to_string_lossy().into_owned();
        (SOURCE_DATE_EPOCH.name.to_owned(), epoch)
    });
    let typed = typed.iter().filter_map(|arg| {
        let value = arg
            .value
            .clone()
            .or_else(|| environment.passed_on(&arg.name))?;
        Some((arg.name.clone(), value))
    });
    epoch.into_iter().chain(typed).collect()
}

/// `SOURCE_DATE_EPOCH` of the environment.
pub(crate) fn source_date_epoch(
    environment: &Environment,
) -> Result<Option<Timestamp>, BuildArgsError> {
    epoch(environment.passed_on(SOURCE_DATE_EPOCH.name).as_ref())
}

fn epoch(text: Option<&String>) -> Result<Option<Timestamp>, BuildArgsError> {
    match text {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => match text.parse() {
            Ok(seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
            Err(_) => Err(BuildArgsError::Epoch(text.clone())),
        },
    }
}

fn labels(typed: &[Assignment], environment: &Environment) -> BTreeMap<String, String> {
    let value = |label: &Assignment| {
        let value = label
            .value
            .clone()
            .or_else(|| environment.passed_on(&label.name));
        value.unwrap_or_default()
    };
    typed
        .iter()
        .map(|label| (label.name.clone(), value(label)))
        .collect()
}

/// The engine's word for a network.
pub(crate) const fn network(name: NetworkName) -> Network {
    match name {
        NetworkName::Default => Network::Default,
        NetworkName::Host => Network::Host,
        NetworkName::None => Network::None,
    }
}

/// Lines for `/etc/hosts` as the engine takes them.
pub(crate) fn extra_hosts(entries: &[HostEntry]) -> Vec<(String, String)> {
    let pair = |entry: &HostEntry| (entry.host.clone(), entry.address.to_string());
    entries.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::super::env::tests::user;
    use super::super::from_flags;
    use super::*;
    use crate::args::{Command, parse};

    fn request(
        line: &str,
        variables: &[(&str, &str)],
        stdin: &str,
    ) -> Result<BuildRequest, BuildArgsError> {
        let environment = user(&[&[("HOME", "/me")], variables].concat());
        let cli = parse(line.split_whitespace().map(Into::into)).unwrap();
        let layer = from_flags(&cli);
        let settings = Settings::resolve(&layer, BTreeMap::new(), &environment).unwrap();
        let Command::Build(args) = cli.command else {
            panic!("not a build")
        };
        resolve(&args, &settings, &environment, || Ok(stdin.into()))
    }

    #[track_caller]
    fn refused(line: &str, expected: &str) {
        assert_eq!(request(line, &[], "").unwrap_err().to_string(), expected);
    }

    #[test]
    fn paths_count_from_the_working_directory() {
        let request = request("kiln build -f sub/D ctx", &[], "").unwrap();
        assert_eq!(request.context, Context::Directory("/here/ctx".into()));
        assert_eq!(request.dockerfile, Dockerfile::Path("/here/sub/D".into()));
        assert!(request.outputs.is_empty());
    }

    #[test]
    fn standard_input_is_a_dockerfile() {
        let only = request("kiln build -", &[], "FROM a").unwrap();
        assert_eq!(only.context, Context::Empty);
        assert_eq!(only.dockerfile, Dockerfile::Text("FROM a".to_owned()));
        let with_context = request("kiln build -f - .", &[], "FROM a").unwrap();
        assert_eq!(
            with_context.dockerfile,
            Dockerfile::Text("FROM a".to_owned())
        );
        assert!(matches!(
            dockerfile_text(|| Ok(vec![0x1f, 0x8b, 8, 0, 0, 0])),
            Err(BuildArgsError::StdinArchive)
        ));
        refused(
            "kiln build -f - -",
            "the context and the Dockerfile can't both be standard input",
        );
    }

    #[test]
    fn build_args_come_from_the_environment_where_they_have_no_value() {
        let variables = [("A", "1"), ("SOURCE_DATE_EPOCH", "5")];
        let line = "kiln build --build-arg A --build-arg UNSET --build-arg B= .";
        let request = request(line, &variables, "").unwrap();
        let args: Vec<String> = request
            .build_args
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(args, ["A=1", "B=", "SOURCE_DATE_EPOCH=5"]);
        assert_eq!(request.source_date_epoch, Some(Timestamp::from_seconds(5)));
    }

    #[test]
    fn a_pushed_image_stays_in_the_store() {
        let request = request("kiln build --push -t r.example/a .", &[], "").unwrap();
        assert_eq!(
            request.outputs,
            [
                Output::Store {
                    image: kiln_engine::ImageOptions::default(),
                    unpack: false
                },
                Output::Push {
                    image: kiln_engine::ImageOptions::default(),
                    by_digest: false,
                    insecure: false
                }
            ]
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        refused(
            "kiln build --iidfile i -o out .",
            "`--iidfile` needs an image, and the outputs are files only",
        );
        refused("kiln build --push .", "`--push` needs a name for the image");
        refused(
            "kiln build --secret id=a .",
            "could not honour `--secret`: this version of kiln can't do it",
        );
        refused(
            "kiln build --build-context a=b .",
            "could not honour `--build-context`: this version of kiln can't do it",
        );
        refused(
            "kiln build https://example.com/a.git",
            "could not use `https://example.com/a.git` as the build context: kiln can't fetch contexts yet",
        );
        refused(
            "kiln build --build-arg SOURCE_DATE_EPOCH=now .",
            "`SOURCE_DATE_EPOCH` is `now`, not a number of seconds",
        );
        refused("kiln build -t A .", "`A` is not a name for an image");
    }
}
