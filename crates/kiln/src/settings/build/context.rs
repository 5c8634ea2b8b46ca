//! Where files come from: the context, the Dockerfile, and further contexts by name.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use kiln_dockerfile::gitref::GitRef;
use kiln_engine::{Context, Dockerfile, NamedContext};
use kiln_oci::{Digest, Platform, Reference};

use super::{BuildArgsError, FlagError};
use crate::args::BuildArgs;
use crate::settings::env::{Environment, TMPDIR};
use crate::spool::Spool;

/// A Dockerfile on standard input is not longer than this.
const MOST_STDIN: u64 = 64 << 20;
/// So much of standard input decides what it is: the first members of an archive fit.
const HEAD: u64 = 64 << 10;
const FLAG: &str = "--build-context";

/// What is built from.
pub(super) struct Sources {
    pub(super) context: Context,
    pub(super) dockerfile: Dockerfile,
    pub(super) spool: Option<Spool>,
}

impl Sources {
    const fn new(context: Context, dockerfile: Dockerfile) -> Self {
        Self {
            context,
            dockerfile,
            spool: None,
        }
    }
}

/// Decides the context and the Dockerfile.
pub(super) fn sources(
    args: &BuildArgs,
    environment: &Environment,
    stdin: &mut dyn Read,
) -> Result<Sources, BuildArgsError> {
    let file = args.file.as_deref().filter(|file| !file.is_empty());
    let inline = args.dockerfile_inline.as_ref();
    let context = match args.context.as_str() {
        "" => return Err(BuildArgsError::NoContext),
        "-" if file == Some("-") => return Err(BuildArgsError::StdinTwice),
        "-" => return from_stdin(file, environment, stdin),
        text => directory_or_remote(text, environment)?,
    };
    let dockerfile = match file {
        _ if let Some(text) = inline => Dockerfile::Text(text.clone()),
        None => Dockerfile::Default,
        Some("-") => {
            let mut bytes = Vec::new();
            read(&mut stdin.take(MOST_STDIN), &mut bytes)?;
            Dockerfile::Text(text(bytes)?)
        }
        Some(file) if is_http(file) => Dockerfile::Http(file.to_owned()),
        Some(file) if matches!(context, Context::Directory(_)) || file.starts_with('/') => {
            Dockerfile::Path(environment.resolve(Path::new(file)))
        }
        Some(file) => Dockerfile::InContext(file.to_owned()),
    };
    Ok(Sources::new(context, dockerfile))
}

/// What is on standard input: an archive is the context, everything else is a Dockerfile.
fn from_stdin(
    file: Option<&str>,
    environment: &Environment,
    stdin: &mut dyn Read,
) -> Result<Sources, BuildArgsError> {
    let mut head = Vec::new();
    read(&mut stdin.take(HEAD), &mut head)?;
    let is_archive =
        kiln_layer::detect_archive(&head).is_some() || kiln_layer::is_archive(head.as_slice());
    if is_archive {
        let folder = environment.absolute(&TMPDIR);
        let spool = Spool::fill(folder, &head, stdin).map_err(BuildArgsError::Spool)?;
        let dockerfile = match file {
            None => Dockerfile::Default,
            Some(url) if is_http(url) => Dockerfile::Http(url.to_owned()),
            Some(path) => Dockerfile::InContext(path.to_owned()),
        };
        return Ok(Sources {
            context: Context::Archive(spool.path()),
            dockerfile,
            spool: Some(spool),
        });
    }
    if let Some(file) = file {
        return Err(BuildArgsError::TwoDockerfiles(file.to_owned()));
    }
    read(&mut stdin.take(MOST_STDIN), &mut head)?;
    Ok(Sources::new(Context::Empty, Dockerfile::Text(text(head)?)))
}

fn read(from: &mut impl Read, bytes: &mut Vec<u8>) -> Result<(), BuildArgsError> {
    from.read_to_end(bytes).map_err(BuildArgsError::Stdin)?;
    Ok(())
}

fn text(bytes: Vec<u8>) -> Result<String, BuildArgsError> {
    String::from_utf8(bytes).map_err(|_| BuildArgsError::StdinBinary)
}

/// A folder that is there is one, whatever else its name could mean.
fn directory_or_remote(text: &str, environment: &Environment) -> Result<Context, BuildArgsError> {
    let path = environment.resolve(Path::new(text));
    if path.is_dir() {
        return Ok(Context::Directory(path));
    }
    let git = GitRef::parse(text).map_err(|cause| BuildArgsError::Git {
        address: text.split(['?', '#']).next().unwrap_or(text).to_owned(),
        cause,
    })?;
    Ok(if git.is_some() {
        Context::Git(text.to_owned())
    } else if is_http(text) {
        Context::Http(text.to_owned())
    } else {
        Context::Directory(path)
    })
}

pub(super) fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// `--build-context`: of two with the same name the last counts.
pub(super) fn named(
    flags: &[String],
    environment: &Environment,
) -> Result<BTreeMap<String, NamedContext>, BuildArgsError> {
    let mut contexts = BTreeMap::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let Some((name, value)) = flag.split_once('=') else {
            return Err(FlagError::new(FLAG, flag, "expected `NAME=VALUE`").into());
        };
        let name = context_name(name).map_err(|reason| FlagError::new(FLAG, flag, reason))?;
        contexts.insert(name, named_context(flag, value, environment)?);
    }
    Ok(contexts)
}

/// The name as a Dockerfile would write it, with its `::PLATFORM`.
pub(super) fn context_name(text: &str) -> Result<String, String> {
    let (name, platform) = match text.split_once("::") {
        Some((name, platform)) => (name, Some(platform)),
        None => (text, None),
    };
    let reference: Reference = name
        .parse()
        .map_err(|error: kiln_oci::ReferenceError| error.to_string())?;
    let familiar = reference.familiar();
    let name = familiar.strip_suffix(":latest").unwrap_or(&familiar);
    match platform {
        None => Ok(name.to_owned()),
        Some(platform) => {
            let platform: Platform = platform
                .parse()
                .map_err(|error: kiln_oci::PlatformError| error.to_string())?;
            Ok(format!("{name}::{platform}"))
        }
    }
}

fn named_context(
    flag: &str,
    value: &str,
    environment: &Environment,
) -> Result<NamedContext, BuildArgsError> {
    let wrong = |reason: &str| FlagError::new(FLAG, flag, reason);
    if let Some(image) = value.strip_prefix("docker-image://") {
        let image = image
            .parse()
            .map_err(|cause: kiln_oci::ReferenceError| wrong("no such name").caused_by(cause))?;
        return Ok(NamedContext::Image(image));
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        return Ok(layout_context(flag, layout, environment)?);
    }
    if value.starts_with("target:") {
        return Err(wrong("only a bake file has targets").into());
    }
    if value.starts_with("input:") {
        return Err(wrong("only a frontend has inputs").into());
    }
    if value.is_empty() {
        return Err(wrong("expected a directory or an address after `=`").into());
    }
    let context = directory_or_remote(value, environment)?;
    match &context {
        Context::Directory(path) if !path.exists() => {
            Err(wrong("there is no such directory").into())
        }
        Context::Directory(path) if !path.is_dir() => Err(wrong("it is not a directory").into()),
        _ => Ok(NamedContext::Files(context)),
    }
}

/// `DIR[:TAG][@DIGEST]`.
fn layout_context(
    flag: &str,
    text: &str,
    environment: &Environment,
) -> Result<NamedContext, FlagError> {
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) if digest.contains(':') => {
            let digest = digest
                .parse::<Digest>()
                .map_err(|cause| FlagError::new(FLAG, flag, "no such digest").caused_by(cause))?;
            (rest, Some(digest))
        }
        _ => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err(FlagError::new(
            FLAG,
            flag,
            "the layout's directory is missing",
        ));
    }
    let path = environment.resolve(Path::new(path));
    if !path.is_dir() {
        return Err(FlagError::new(FLAG, flag, "there is no such directory"));
    }
    Ok(NamedContext::Layout { path, tag, digest })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}
