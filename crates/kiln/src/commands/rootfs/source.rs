//! What a disk is made of: an image that is there, or one that is built first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_base::events::{BuildEvent, Events, StepNumber};
use kiln_base::{CancelToken, Secret};
use kiln_dockerfile::gitref::GitRef;
use kiln_engine::{BuildRequest, Engine};
use kiln_oci::Reference;
use kiln_registry::Credential;
use kiln_rootfs::spec::{ArchiveSource, GitAuth, GitSource, ImageAuth, Source, Spec};

use crate::args::{AccessArgs, BuildArgs, CacheArgs, NetworkName, RootfsArgs, StepArgs};
use crate::commands::Invocation;
use crate::error::CliError;
use crate::settings::build::{self, Plan};

/// What stands for the commit that is built, in builderd's build arguments.
const COMMIT: &str = "{{.GitCommit}}";

/// An image, or how it is made.
pub(super) struct Wish {
    pub(super) from: From,
    /// Credentials for these registries and no others.
    pub(super) given: Vec<(String, Credential)>,
}

pub(super) enum From {
    /// As it is named.
    Image(String),
    /// As it is built.
    Build(Box<Plan>),
}

/// Decides what the disk is made of.
pub(super) fn wish(
    args: &RootfsArgs,
    spec: Option<&Spec>,
    network: NetworkName,
    invocation: &Invocation,
) -> Result<Wish, CliError> {
    let mut given = Vec::new();
    if let Some(Source::Image {
        name,
        auth: Some(auth),
    }) = spec.map(|spec| &spec.source)
    {
        given.push(credential(name, auth)?);
    }
    let source = match (&args.image, &args.build.context, spec) {
        (Some(image), _, _) => Some(image.clone()),
        (None, None, Some(spec)) => match &spec.source {
            Source::Image { name, .. } => Some(name.clone()),
            Source::Git(_) | Source::Archive(_) => None,
        },
        (None, _, _) => None,
    };
    if let Some(image) = source {
        refuse_build_flags(args)?;
        let from = From::Image(image);
        return Ok(Wish { from, given });
    }
    let mut build = flags(args, network, invocation)?;
    let mut secrets = BTreeMap::new();
    match (&args.build.context, spec.map(|spec| &spec.source)) {
        (Some(_), _) => {}
        (None, Some(Source::Git(git))) => add_git(git, &mut build, &mut secrets)?,
        (None, Some(Source::Archive(archive))) => add_archive(archive, &mut build, &mut secrets)?,
        (None, _) => return Err(CliError::usage("no image is named")),
    }
    let settings = (&invocation.settings, &invocation.environment);
    let mut plan = build::resolve(&build, settings.0, settings.1, &mut std::io::stdin())?;
    plan.request.secrets.extend(secrets);
    if let (None, Some(Source::Git(git))) = (&args.build.context, spec.map(|spec| &spec.source)) {
        // Those of flags are stronger.
        for (name, value) in &git.build_args {
            let known = plan.request.build_args.entry(name.clone());
            known.or_insert_with(|| value.clone());
        }
    }
    let from = From::Build(Box::new(plan));
    Ok(Wish { from, given })
}

fn refuse_build_flags(args: &RootfsArgs) -> Result<(), CliError> {
    let build = &args.build;
    let used = [
        (build.file.is_some(), "--file"),
        (build.target.is_some(), "--target"),
        (!build.build_args.is_empty(), "--build-arg"),
        (!build.secrets.is_empty(), "--secret"),
        (!build.ssh.is_empty(), "--ssh"),
        (build.no_cache, "--no-cache"),
        (build.pull, "--pull"),
    ];
    match used.iter().find(|(is_used, _)| *is_used) {
        Some((_, flag)) => Err(
            CliError::usage(format!("`{flag}` is for images that are built"))
                .hint("build one: `kiln rootfs --build CONTEXT`, instead of naming an image"),
        ),
        None => Ok(()),
    }
}

fn flags(
    args: &RootfsArgs,
    network: NetworkName,
    invocation: &Invocation,
) -> Result<BuildArgs, CliError> {
    let build = &args.build;
    Ok(BuildArgs {
        context: build.context.clone().unwrap_or_default(),
        file: build.file.clone(),
        target: build.target.clone(),
        build_args: build.build_args.clone(),
        // A disk is of one.
        platforms: vec![invocation.settings.platform()?.to_string()],
        cache: CacheArgs {
            no_cache: build.no_cache,
            pull: build.pull,
            ..CacheArgs::default()
        },
        access: AccessArgs {
            secrets: build.secrets.clone(),
            ssh: build.ssh.clone(),
            ..AccessArgs::default()
        },
        steps: StepArgs {
            network: Some(network),
            ..StepArgs::default()
        },
        ..BuildArgs::default()
    })
}

fn add_git(
    git: &GitSource,
    build: &mut BuildArgs,
    secrets: &mut BTreeMap<String, Secret<Vec<u8>>>,
) -> Result<(), CliError> {
    let address = git_address(git)?;
    let no_repository =
        || CliError::usage("`source.git_repository.clone_url` is no git repository's URL");
    let parsed =
        GitRef::parse(&address).map_err(|error| no_repository().hint(error.to_string()))?;
    let parsed = parsed.ok_or_else(no_repository)?;
    let host = parsed.remote.host_and_port();
    match &git.auth {
        Some(GitAuth::Token(token)) => {
            let token = token.expose().clone().into_bytes();
            secrets.insert(format!("GIT_AUTH_TOKEN.{host}"), Secret::new(token));
        }
        Some(GitAuth::Password { user, password }) => {
            let both = STANDARD.encode(format!("{user}:{}", password.expose()));
            let header = format!("Basic {both}").into_bytes();
            secrets.insert(format!("GIT_AUTH_HEADER.{host}"), Secret::new(header));
        }
        None => {}
    }
    for (name, value) in &git.build_args {
        if value.replace(COMMIT, "").contains("{{.") {
            let place = format!("config.strategy.git_strategy.build_args.{name}");
            let error = format!("`{place}` has a template that is not known");
            return Err(CliError::usage(error).hint(format!("`{COMMIT}` is the only one")));
        }
    }
    build.context = address;
    build.file = build.file.take().or_else(|| git.dockerfile.clone());
    Ok(())
}

/// The repository's URL with what is wanted of it, as contexts are written.
fn git_address(git: &GitSource) -> Result<String, CliError> {
    let mut address = git.url.clone();
    if git.reference.is_none() && git.context.is_none() && address.contains(['#', '?']) {
        return Ok(address);
    }
    if address.contains(['#', '?']) {
        return Err(CliError::usage(
            "`source.git_repository.clone_url` says itself what of the repository is built",
        )
        .hint("leave `ref` and `build_context` out, or the URL's `#…` and `?…`"));
    }
    // Servers take both; only this one is told from an archive's.
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    if is_web {
        let plain = address.trim_end_matches('/');
        address = format!("{}.git", plain.strip_suffix(".git").unwrap_or(plain));
    }
    let reference = git.reference.as_deref().unwrap_or_default();
    let context = git.context.as_deref().filter(|context| *context != ".");
    match (reference, context) {
        ("", None) => {}
        (reference, None) => address = format!("{address}#{reference}"),
        (reference, Some(context)) => address = format!("{address}#{reference}:{context}"),
    }
    Ok(address)
}

fn add_archive(
    archive: &ArchiveSource,
    build: &mut BuildArgs,
    secrets: &mut BTreeMap<String, Secret<Vec<u8>>>,
) -> Result<(), CliError> {
    let url = &archive.url;
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| {
        CliError::usage("`source.archive.download_url` is no URL of a web server")
            .hint("it begins with `https://` or `http://`; a folder is built by `--build FOLDER`")
    })?;
    if let Some(header) = &archive.authorization {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let value = header.expose().clone().into_bytes();
        secrets.insert(format!("HTTP_AUTH_HEADER_{host}"), Secret::new(value));
    }
    build.context.clone_from(url);
    Ok(())
}

/// Whose credentials they are, and for which registry.
fn credential(image: &str, auth: &ImageAuth) -> Result<(String, Credential), CliError> {
    let name = image.strip_prefix("docker://").unwrap_or(image);
    let reference: Reference = name.parse().map_err(|error| {
        CliError::usage(error).about(format!("`{image}` is in no registry, and has credentials"))
    })?;
    let own = reference.registry().to_owned();
    let credential = match &auth.username {
        Some(user) => Credential::Password {
            user: user.clone(),
            password: auth.password.clone(),
        },
        None => Credential::RegistryToken(auth.password.clone()),
    };
    if let Some(named) = &auth.registry
        && !kiln_registry::is_same_registry(named, &own)
    {
        let error = format!("the credentials are for `{named}`, and the image is in `{own}`");
        return Err(CliError::usage(error).hint("leave `registry` out, or name the image's own"));
    }
    Ok((own, credential))
}

/// Builds the image, and returns its ID.
pub(super) fn build(
    engine: &Engine,
    plan: Plan,
    events: &impl Events,
    cancel: &CancelToken,
) -> Result<String, CliError> {
    for note in &plan.notes {
        events.emit(BuildEvent::Warning {
            message: note.clone(),
            line: None,
        });
    }
    let mut request: BuildRequest = plan.request;
    if request
        .build_args
        .values()
        .any(|value| value.contains(COMMIT))
    {
        let commit = engine.context_commit(&request, cancel)?.unwrap_or_default();
        for value in request.build_args.values_mut() {
            *value = value.replace(COMMIT, &commit);
        }
    }
    let outcome = engine.build(&request, events, cancel)?;
    drop(plan.spool);
    let image = outcome
        .image
        .ok_or_else(|| CliError::bug("the build gave no image"))?;
    Ok(image.config.to_string())
}

/// Tells of two pieces of work as one: the second's steps are counted after the first's.
#[derive(Clone)]
pub(super) struct InTurn<E> {
    events: E,
    began: Instant,
    highest: Arc<AtomicU32>,
    steps: u32,
    since: Duration,
}

impl<E: Events + Clone> InTurn<E> {
    pub(super) fn new(events: E) -> Self {
        Self {
            events,
            began: Instant::now(),
            highest: Arc::new(AtomicU32::new(0)),
            steps: 0,
            since: Duration::ZERO,
        }
    }

    /// For what begins now.
    pub(super) fn next(&self) -> Self {
        Self {
            steps: self.highest.load(Ordering::Relaxed),
            since: self.began.elapsed(),
            ..self.clone()
        }
    }

    fn count(&self, step: &mut StepNumber) {
        step.0 += self.steps;
        self.highest.fetch_max(step.0, Ordering::Relaxed);
    }
}

impl<E: Events + Clone> Events for InTurn<E> {
    fn emit(&self, mut event: BuildEvent) {
        match &mut event {
            BuildEvent::StepDeclared { step, .. }
            | BuildEvent::StepOutput { step, .. }
            | BuildEvent::StepProgress { step, .. }
            | BuildEvent::StepExplained { step, .. } => self.count(step),
            BuildEvent::StepStarted { step, at } | BuildEvent::StepFinished { step, at, .. } => {
                self.count(step);
                *at += self.since;
            }
            BuildEvent::Warning { .. } => {}
        }
        self.events.emit(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, reference: &str, context: &str, expected: &str) {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let git = GitSource {
            url: url.to_owned(),
            reference: given(reference),
            context: given(context),
            dockerfile: None,
            auth: None,
            build_args: BTreeMap::new(),
        };
        let found = match git_address(&git) {
            Ok(address) => address,
            Err(error) => error.messages().join(": "),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn repositories_are_written_as_contexts() {
        check("https://h/a.git", "", "", "https://h/a.git");
        check("https://h/a.git", "main", ".", "https://h/a.git#main");
        check("https://h/a/", "v1", "sub", "https://h/a.git#v1:sub");
        check("git@h:a", "", "sub", "git@h:a#:sub");
        check("https://h/a.git#x", "", "", "https://h/a.git#x");
        let error = "`source.git_repository.clone_url` says itself what of the repository is built";
        check("https://h/a.git#x", "main", "", error);
    }

    #[test]
    fn credentials_are_for_the_image_s_registry() {
        let auth = |registry: Option<&str>| ImageAuth {
            registry: registry.map(str::to_owned),
            username: None,
            password: Secret::new("p".to_owned()),
        };
        let host = |image: &str, registry| match credential(image, &auth(registry)) {
            Ok((host, _)) => host,
            Err(error) => error.messages()[0].clone(),
        };
        assert_eq!(host("ghcr.io/a/b:1", None), "ghcr.io");
        assert_eq!(host("docker://h:5000/a", Some("https://h:5000")), "h:5000");
        assert_eq!(
            host("node", Some("https://index.docker.io/v1/")),
            "docker.io"
        );
        assert_eq!(
            host("ghcr.io/a/b", Some("evil.example")),
            "the credentials are for `evil.example`, and the image is in `ghcr.io`"
        );
    }
}
