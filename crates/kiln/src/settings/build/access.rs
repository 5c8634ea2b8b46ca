//! What a build may see and do beyond the usual: secrets, SSH, entitlements.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use kiln_base::Secret;
use kiln_dockerfile::gitref::{GitRef, GitScheme};
use kiln_engine::{Allow, SshSource};

use super::FlagError;
use crate::args::{parse_switch, split_csv};
use crate::settings::env::{Environment, SSH_AUTH_SOCK};

/// A secret is not longer than this, as with BuildKit.
const MOST_SECRET: u64 = 500 << 10;
/// The id of an agent that is given without one.
const DEFAULT_SSH: &str = "default";

/// Where a secret comes from.
#[derive(Debug, Default)]
struct SecretSpec {
    id: String,
    file: Option<String>,
    variable: Option<String>,
}

/// `--secret`: of two with the same id the last counts. Files are read at once.
pub(super) fn secrets(
    flags: &[String],
    environment: &Environment,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Secret<Vec<u8>>>, FlagError> {
    const FLAG: &str = "--secret";
    let mut secrets = BTreeMap::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let wrong = |reason: String| FlagError::new(FLAG, flag, reason);
        let spec = secret_spec(flag).map_err(wrong)?;
        let bytes = match (spec.variable, spec.file) {
            (Some(_), Some(_)) => {
                return Err(wrong(
                    "it names a file and a variable: leave one out".to_owned(),
                ));
            }
            (Some(variable), None) => match environment.raw(&variable) {
                Some(value) => value.as_bytes().to_vec(),
                None => {
                    let id = &spec.id;
                    notes.push(format!(
                        "the secret `{id}` is empty: the variable `{variable}` is not set"
                    ));
                    Vec::new()
                }
            },
            (None, Some(file)) => read_secret(flag, Path::new(&file), environment)?,
            // Neither: the id names one of them.
            (None, None) => match environment.raw(&spec.id) {
                Some(value) => value.as_bytes().to_vec(),
                None if !environment.resolve(Path::new(&spec.id)).exists() => {
                    return Err(wrong(
                        "there is neither a variable nor a file of this name".to_owned(),
                    ));
                }
                None => read_secret(flag, Path::new(&spec.id), environment)?,
            },
        };
        if bytes.len() as u64 > MOST_SECRET {
            return Err(wrong("it is longer than 500 KiB".to_owned()));
        }
        secrets.insert(spec.id, Secret::new(bytes));
    }
    Ok(secrets)
}

fn read_secret(flag: &str, file: &Path, environment: &Environment) -> Result<Vec<u8>, FlagError> {
    let path = environment.resolve(file);
    kiln_sys::files::read_limited(path, MOST_SECRET)
        .map_err(|cause| FlagError::new("--secret", flag, "no usable file").caused_by(cause))
}

/// `id=ID[,src=FILE|,env=NAME][,type=file|env]`.
fn secret_spec(text: &str) -> Result<SecretSpec, String> {
    let fields = split_csv(text).ok_or("a quoted field does not end")?;
    let mut spec = SecretSpec::default();
    let mut is_variable = false;
    for field in fields {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| format!("`{field}` is not of the form `NAME=VALUE`"))?;
        let value_or_none = (!value.is_empty()).then(|| value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "type" => {
                is_variable = match value {
                    "env" => true,
                    "file" => false,
                    _ => return Err("its type is `file` or `env`".to_owned()),
                }
            }
            "id" => value.clone_into(&mut spec.id),
            "src" | "source" => spec.file = value_or_none,
            "env" => spec.variable = value_or_none,
            _ => return Err(format!("there is no field `{name}`")),
        }
    }
    if spec.id.is_empty() {
        return Err("`id=…` is missing".to_owned());
    }
    // `type=env,src=NAME` is an older way to write `env=NAME`.
    if is_variable && spec.variable.is_none() {
        spec.variable = spec.file.take();
    }
    Ok(spec)
}

/// `--ssh`. A context that comes over SSH may use the agent without being told.
pub(super) fn ssh(
    flags: &[String],
    context: &str,
    environment: &Environment,
) -> Result<BTreeMap<String, SshSource>, FlagError> {
    const FLAG: &str = "--ssh";
    let mut sources = BTreeMap::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let (id, paths) = match flag.split_once('=') {
            Some((id, paths)) => (id, paths),
            None => (flag.as_str(), ""),
        };
        let id = if id.is_empty() { DEFAULT_SSH } else { id };
        let source = if paths.is_empty() {
            agent(environment).ok_or_else(|| {
                FlagError::new(
                    FLAG,
                    flag,
                    "no SSH agent runs here: `SSH_AUTH_SOCK` is not set",
                )
            })?
        } else {
            ssh_source(flag, paths, environment)?
        };
        if sources.insert(id.to_owned(), source).is_some() {
            let reason = format!("`{id}` is given twice");
            return Err(FlagError::new(FLAG, flag, reason));
        }
    }
    let over_ssh = GitRef::parse(context)
        .ok()
        .flatten()
        .is_some_and(|git| git.remote.scheme() == GitScheme::Ssh);
    if flags.is_empty()
        && over_ssh
        && let Some(agent) = agent(environment)
    {
        sources.insert(DEFAULT_SSH.to_owned(), agent);
    }
    Ok(sources)
}

fn agent(environment: &Environment) -> Option<SshSource> {
    let socket = environment.get(&SSH_AUTH_SOCK)?;
    Some(SshSource::Agent(environment.resolve(Path::new(socket))))
}

/// One socket, or key files.
fn ssh_source(flag: &str, paths: &str, environment: &Environment) -> Result<SshSource, FlagError> {
    let wrong = |reason| FlagError::new("--ssh", flag, reason);
    let paths: Vec<PathBuf> = paths
        .split(',')
        .map(|path| environment.resolve(Path::new(path)))
        .collect();
    let mut sockets = 0;
    for path in &paths {
        let metadata = std::fs::metadata(path)
            .map_err(|cause| wrong("no usable file or socket").caused_by(cause))?;
        if metadata.file_type().is_socket() {
            sockets += 1;
        } else if !metadata.is_file() {
            return Err(wrong("a key is a file, an agent is a socket"));
        }
    }
    match (sockets, paths.as_slice()) {
        (0, _) => Ok(SshSource::Keys(paths)),
        (1, [socket]) => Ok(SshSource::Agent(socket.clone())),
        _ => Err(wrong("an agent's socket stands alone")),
    }
}

/// `--allow`; and whether an output may remove files outside of the working directory.
pub(super) fn allow(flags: &[String], notes: &mut Vec<String>) -> Result<(Allow, bool), FlagError> {
    let mut allow = Allow::default();
    let mut may_delete = false;
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let wrong = |reason| FlagError::new("--allow", flag, reason);
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag.as_str(), None),
        };
        let takes_value = matches!(name, "device" | "ssh") || name.starts_with("fs");
        if let Some(value) = value
            && !takes_value
        {
            // `network.host=true` is how newer files write it.
            match parse_switch(value) {
                Ok(true) if name != "buildx.local.delete" => {}
                Ok(false) if name != "buildx.local.delete" => continue,
                _ => return Err(wrong("it takes no value")),
            }
        }
        match name {
            "network.host" => allow.network_host = true,
            "security.insecure" => allow.security_insecure = true,
            "buildx.local.delete" => may_delete = true,
            "device" => notes.push(
                "`--allow device` gives nothing: kiln's steps have no devices of the host"
                    .to_owned(),
            ),
            // They ask before a bake file reaches for what its caller could read anyway. A command
            // line is the caller's own word.
            "fs" | "fs.read" | "fs.write" | "ssh" | "image.load" => {}
            _ => return Err(wrong("there is no such permission")),
        }
    }
    Ok((allow, may_delete))
}
