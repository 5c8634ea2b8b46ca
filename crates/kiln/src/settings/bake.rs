//! From the flags of `kiln bake` to the files, overrides and permissions that decide its targets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_bake::{Bake, BakeFile, BakeInput, Clock, DEFAULT_FILES, Entitlement};
use kiln_base::Timestamp;
use kiln_dockerfile::gitref::GitRef;
use kiln_oci::Platform;
use kiln_sys::files;
use kiln_sys::fs::FsError;

use super::env::{
    BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP, BUILDX_BAKE_ENTITLEMENTS_FS, BUILDX_BAKE_FILE,
    BUILDX_BAKE_FILE_RELATIVE_PATHS, BUILDX_BAKE_PATH_SEPARATOR, Environment, Variable,
};
use super::outputs::real_path;
use crate::args::{BakeArgs, parse_switch};

/// A bake file is not larger than this.
const MOST_BYTES: u64 = 4 << 20;

/// Why nothing can be baked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BakeArgsError {
    #[error("could not read `{0}`: kiln bakes files of this machine only")]
    Remote(String),
    #[error("could not read a bake file")]
    Read(#[from] FsError),
    #[error("could not read standard input")]
    Stdin(#[source] std::io::Error),
    #[error("`{0}` is not a bake file: it is not UTF-8")]
    NotText(String),
    #[error("could not use `--var {0}`: expected `NAME=VALUE`")]
    Variable(String),
    #[error("could not use `{name}={value}`: expected `true` or `false`")]
    Switch { name: &'static str, value: String },
    #[error("could not use `--allow {0}`: there is no such permission")]
    Permission(String),
    #[error("could not use `--list {0}`: expected `targets` or `variables`")]
    List(String),
    #[error("the bake file asks for more than was allowed: {}", .0.join(", "))]
    NotAllowed(Vec<String>),
}

/// What decides the targets. Of `stdin` nothing is read unless a file is `-`.
pub(crate) fn input(
    args: &BakeArgs,
    environment: &Environment,
    now: Timestamp,
    stdin: &mut dyn Read,
) -> Result<BakeInput, BakeArgsError> {
    let remote = args.targets.iter().find(|name| is_remote(name));
    if let Some(url) = remote {
        return Err(BakeArgsError::Remote(url.clone()));
    }
    let looked_up = !switch(environment, &BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP)?.unwrap_or(false);
    let variables = environment.all().into_iter().filter(|_| looked_up);
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let dotenv = environment.resolve(Path::new(".env"));
    let dotenv = if dotenv.is_file() {
        Some(read_file(".env", environment)?)
    } else {
        None
    };
    Ok(BakeInput {
        files: bake_files(args, environment, stdin)?,
        targets: args.targets.clone(),
        overrides: overrides(args),
        environment: variables
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        dotenv,
        variables: named_values(&args.variables)?,
        local_platform: Platform::host().to_string(),
        command_context: None,
        file_relative: switch(environment, &BUILDX_BAKE_FILE_RELATIVE_PATHS)?.unwrap_or(false),
        clock: Clock {
            now: now.seconds(),
            seed: seed(),
            home: environment
                .home()
                .map(|home| home.to_string_lossy().into_owned()),
        },
    })
}

fn is_remote(text: &str) -> bool {
    text.contains("://") || matches!(GitRef::parse(text), Ok(Some(_)) | Err(_))
}

fn switch(environment: &Environment, variable: &Variable) -> Result<Option<bool>, BakeArgsError> {
    let Some(value) = environment.get(variable) else {
        return Ok(None);
    };
    let value = value.to_string_lossy();
    let wrong = |_| BakeArgsError::Switch {
        name: variable.name,
        value: value.clone().into_owned(),
    };
    parse_switch(&value).map(Some).map_err(wrong)
}

/// The files that are named, by flags or by the environment, or those that there are.
fn bake_files(
    args: &BakeArgs,
    environment: &Environment,
    stdin: &mut dyn Read,
) -> Result<Vec<BakeFile>, BakeArgsError> {
    let mut names = args.files.clone();
    if let (true, Some(list)) = (names.is_empty(), environment.get(&BUILDX_BAKE_FILE)) {
        let list = list.to_string_lossy();
        let separator = environment.get(&BUILDX_BAKE_PATH_SEPARATOR);
        let separator = separator.map_or(":".into(), |text| text.to_string_lossy());
        let parts = list.split(&*separator).filter(|name| !name.is_empty());
        names = parts.map(str::to_owned).collect();
    }
    if names.is_empty() {
        let there = |name: &&str| environment.resolve(Path::new(name)).is_file();
        names = DEFAULT_FILES
            .into_iter()
            .filter(there)
            .map(str::to_owned)
            .collect();
    }
    let mut files = Vec::new();
    for name in &names {
        if name == "-" {
            let mut bytes = Vec::new();
            let read = stdin.take(MOST_BYTES).read_to_end(&mut bytes);
            read.map_err(BakeArgsError::Stdin)?;
            files.push(file(name, bytes)?);
            continue;
        }
        let name = name.strip_prefix("cwd://").unwrap_or(name);
        if is_remote(name) && !environment.resolve(Path::new(name)).is_file() {
            return Err(BakeArgsError::Remote(name.to_owned()));
        }
        files.push(read_file(name, environment)?);
    }
    Ok(files)
}

fn read_file(name: &str, environment: &Environment) -> Result<BakeFile, BakeArgsError> {
    let path = environment.resolve(Path::new(name));
    file(name, files::read_limited(path, MOST_BYTES)?)
}

fn file(name: &str, bytes: Vec<u8>) -> Result<BakeFile, BakeArgsError> {
    let text = String::from_utf8(bytes).map_err(|_| BakeArgsError::NotText(name.to_owned()))?;
    let name = name.to_owned();
    Ok(BakeFile { name, text })
}

/// `--set`, and the flags that are short for one.
fn overrides(args: &BakeArgs) -> Vec<String> {
    let mut overrides = args.overrides.clone();
    let mut add = |text: String| overrides.push(format!("*.{text}"));
    if args.push {
        add("push=true".to_owned());
    }
    if args.load {
        add("load=true".to_owned());
    }
    if let Some(call) = asked(args) {
        let method = call.split(',').find(|field| !field.contains('='));
        add(format!("call={}", method.unwrap_or("build")));
    }
    if let Some(no_cache) = args.no_cache {
        add(format!("no-cache={no_cache}"));
    }
    if let Some(pull) = args.pull {
        add(format!("pull={pull}"));
    }
    for (kind, value) in [("sbom", &args.sbom), ("provenance", &args.provenance)] {
        match value.as_deref() {
            None | Some("") => {}
            Some(value) => add(match parse_switch(value) {
                Ok(wanted) => format!("attest=type={kind},disabled={}", !wanted),
                Err(_) => format!("attest=type={kind},{value}"),
            }),
        }
    }
    overrides
}

/// The question that the command line asks about every target.
pub(crate) fn asked(args: &BakeArgs) -> Option<&str> {
    if args.check {
        return Some("check");
    }
    args.call.as_deref().filter(|text| !text.is_empty())
}

fn named_values(flags: &[String]) -> Result<BTreeMap<String, String>, BakeArgsError> {
    let pair = |flag: &String| match flag.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(BakeArgsError::Variable(flag.clone())),
    };
    flags.iter().map(pair).collect()
}

/// Numbers that nobody knows beforehand.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        let word = RandomState::new().hash_one(std::process::id());
        part.copy_from_slice(&word.to_le_bytes());
    }
    seed
}

/// What whoever started the build allows.
#[derive(Debug, Default)]
struct Allowed {
    all: Vec<Entitlement>,
    any_device: bool,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

/// Refuses targets that want more than was allowed. What lies below the working directory may be
/// read and written.
pub(crate) fn check_permissions(
    args: &BakeArgs,
    bake: &Bake,
    environment: &Environment,
) -> Result<(), BakeArgsError> {
    let mut allowed = allowed(&args.allow, environment)?;
    for granted in &bake.granted {
        allowed.grant(granted.clone(), environment);
    }
    let files_are_checked = switch(environment, &BUILDX_BAKE_ENTITLEMENTS_FS)?.unwrap_or(true);
    let mut missing: Vec<Entitlement> = Vec::new();
    for wanted in bake.targets.values().flat_map(kiln_bake::Target::wants) {
        let is_allowed = match &wanted {
            Entitlement::FsRead(path) => {
                !files_are_checked || is_below(path, &allowed.read, environment)
            }
            Entitlement::FsWrite(path) => {
                !files_are_checked || is_below(path, &allowed.write, environment)
            }
            // What an output would remove is looked at as in `kiln build`.
            Entitlement::LocalDelete => true,
            Entitlement::Device(_) if allowed.any_device => true,
            other => allowed.all.contains(other),
        };
        if !is_allowed && !missing.contains(&wanted) {
            missing.push(wanted);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort();
    Err(BakeArgsError::NotAllowed(
        missing.iter().map(ToString::to_string).collect(),
    ))
}

fn allowed(flags: &[String], environment: &Environment) -> Result<Allowed, BakeArgsError> {
    let here = real_path(&environment.cwd);
    let mut allowed = Allowed {
        read: vec![here.clone()],
        write: vec![here],
        ..Allowed::default()
    };
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let path = || value.to_owned();
        let granted = match name {
            "network.host" => vec![Entitlement::NetworkHost],
            "security.insecure" => vec![Entitlement::SecurityInsecure],
            "ssh" => vec![Entitlement::Ssh],
            "buildx.local.delete" => vec![Entitlement::LocalDelete],
            "device" => vec![Entitlement::Device(
                Some(path()).filter(|device| !device.is_empty()),
            )],
            "fs.read" => vec![Entitlement::FsRead(path())],
            "fs.write" => vec![Entitlement::FsWrite(path())],
            "fs" => vec![Entitlement::FsRead(path()), Entitlement::FsWrite(path())],
            "image.load" => Vec::new(),
            _ => return Err(BakeArgsError::Permission(flag.clone())),
        };
        for granted in granted {
            allowed.grant(granted, environment);
        }
    }
    Ok(allowed)
}

impl Allowed {
    fn grant(&mut self, granted: Entitlement, environment: &Environment) {
        let real = |path: &str| match path {
            "*" => PathBuf::from("/"),
            path => real_path(&environment.resolve(Path::new(path))),
        };
        match granted {
            Entitlement::FsRead(path) => self.read.push(real(&path)),
            Entitlement::FsWrite(path) => self.write.push(real(&path)),
            Entitlement::Device(None) => self.any_device = true,
            other => self.all.push(other),
        }
    }
}

fn is_below(path: &str, folders: &[PathBuf], environment: &Environment) -> bool {
    let real = real_path(&environment.resolve(Path::new(path)));
    folders.iter().any(|folder| real.starts_with(folder))
}

/// What `--list` asks for: targets or variables, and whether as JSON.
pub(crate) fn listing(text: &str) -> Result<(bool, bool), BakeArgsError> {
    let wrong = || BakeArgsError::List(text.to_owned());
    let (mut targets, mut json) = (None, false);
    for field in text.split(',') {
        match field.strip_prefix("type=").unwrap_or(field) {
            "targets" => targets = Some(true),
            "variables" => targets = Some(false),
            "format=json" => json = true,
            "format=table" => json = false,
            _ => return Err(wrong()),
        }
    }
    targets.map(|targets| (targets, json)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
