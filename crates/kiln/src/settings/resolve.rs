//! From layers of text to typed values.

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use kiln_engine::Flatten;
use kiln_oci::Platform;

use super::build::parse_platforms;
use super::env::{self, Environment};
use super::file::{self, ConfigFile, FileError, RegistryEntry};
use super::key::Key;
use super::layer::{Layer, Origin};
use super::locate;
use crate::args::{
    ColorChoice, CompressionName, FormatName, NetworkName, ProgressChoice, SandboxChoice,
};

/// The settings in force.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) sandbox: SandboxChoice,
    pub(crate) jobs: NonZeroUsize,
    pub(crate) progress: ProgressChoice,
    pub(crate) color: ColorChoice,
    /// At least one.
    pub(crate) platforms: Vec<Platform>,
    pub(crate) network: NetworkName,
    pub(crate) format: FormatName,
    pub(crate) compression: CompressionName,
    /// `None` for the compressor's own default.
    pub(crate) compression_level: Option<u8>,
    pub(crate) gzip_single_member: bool,
    pub(crate) trust_host_cas: TrustChoice,
    pub(crate) bootstrap_mirror: Option<String>,
    pub(crate) registries: BTreeMap<String, RegistryEntry>,
}

/// Which certificate authorities RUN steps trust besides the image's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrustChoice {
    None,
    /// Those the host has in addition to its distribution's.
    Host,
    /// Those in this PEM file.
    File(PathBuf),
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("could not use the configuration")]
    File(#[source] FileError),
    #[error("could not read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("could not use `{name}` = `{text}`, set by {origin}")]
    Value {
        name: &'static str,
        text: String,
        origin: Origin,
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    #[error("this can be done for one platform only, not for `{0}`")]
    SeveralPlatforms(String),
    #[error(
        "could not decide where to keep images: neither `--root`, `KILN_ROOT` nor `HOME` is set"
    )]
    NoRoot,
}

/// Reads the configuration files: the one that was named, or those that exist.
pub(crate) fn read_files(
    named: Option<&Path>,
    environment: &Environment,
) -> Result<ConfigFile, SettingsError> {
    let named = named.or_else(|| environment.get(&env::KILN_CONFIG).map(Path::new));
    let (paths, required) = match named {
        Some(path) => (vec![environment.resolve(path)], true),
        None => (locate::config_files(environment), false),
    };
    let mut merged = ConfigFile::default();
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let file = file::parse(&path, &text).map_err(SettingsError::File)?;
                merged.layer = merged.layer.under(file.layer);
                merged.registries.extend(file.registries);
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !required => {}
            Err(cause) => return Err(SettingsError::Read { path, cause }),
        }
    }
    Ok(merged)
}

impl Settings {
    /// Decides every setting.
    pub(crate) fn resolve(
        layer: &Layer,
        registries: BTreeMap<String, RegistryEntry>,
        environment: &Environment,
    ) -> Result<Self, SettingsError> {
        let root = match path(layer, Key::Root, environment) {
            Some(root) => root,
            None => locate::default_root(environment).ok_or(SettingsError::NoRoot)?,
        };
        let trust_host_cas = match layer.get(Key::TrustHostCas).map(|written| &*written.text) {
            None | Some("false" | "0") => TrustChoice::None,
            Some("true" | "1") => TrustChoice::Host,
            Some(_) => path(layer, Key::TrustHostCas, environment)
                .map_or(TrustChoice::None, TrustChoice::File),
        };
        Ok(Self {
            root,
            sandbox: chosen(layer, Key::Sandbox)?.unwrap_or(SandboxChoice::Auto),
            jobs: jobs(layer)?.unwrap_or(environment.processors),
            progress: chosen(layer, Key::Progress)?.unwrap_or(ProgressChoice::Auto),
            color: chosen(layer, Key::Color)?.unwrap_or(ColorChoice::Auto),
            platforms: platforms(layer)?.unwrap_or_else(|| vec![Platform::host()]),
            network: chosen(layer, Key::Network)?.unwrap_or(NetworkName::Default),
            format: chosen(layer, Key::Format)?.unwrap_or(FormatName::Oci),
            compression: chosen(layer, Key::Compression)?.unwrap_or(CompressionName::Gzip),
            compression_level: parsed(layer, Key::CompressionLevel)?,
            gzip_single_member: switch(layer, Key::GzipSingleMember)?,
            trust_host_cas,
            bootstrap_mirror: layer
                .get(Key::BootstrapMirror)
                .map(|written| written.text.clone()),
            registries,
        })
    }
}

impl Settings {
    /// The platform, for what can be done for one only.
    pub(crate) fn platform(&self) -> Result<&Platform, SettingsError> {
        match self.platforms.as_slice() {
            [platform] => Ok(platform),
            several => Err(SettingsError::SeveralPlatforms(
                several
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
            )),
        }
    }
}

/// A path, seen from the directory of the file it is written in, or from the working directory.
fn path(layer: &Layer, key: Key, environment: &Environment) -> Option<PathBuf> {
    let written = layer.get(key)?;
    let base = match &written.origin {
        Origin::File { path, .. } => path.parent().unwrap_or(Path::new("/")),
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => &environment.cwd,
    };
    Some(base.join(&written.text))
}

fn read<T>(
    layer: &Layer,
    key: Key,
    parse: impl FnOnce(&str) -> Result<T, Box<dyn Error + Send + Sync>>,
) -> Result<Option<T>, SettingsError> {
    let Some(written) = layer.get(key) else {
        return Ok(None);
    };
    match parse(&written.text) {
        Ok(value) => Ok(Some(value)),
        Err(cause) => Err(SettingsError::Value {
            name: key.row().name,
            text: written.text.clone(),
            origin: written.origin.clone(),
            cause,
        }),
    }
}

fn parsed<T>(layer: &Layer, key: Key) -> Result<Option<T>, SettingsError>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    read(layer, key, |text| text.parse().map_err(Into::into))
}

fn platforms(layer: &Layer) -> Result<Option<Vec<Platform>>, SettingsError> {
    read(layer, Key::Platform, |text| match parse_platforms(text) {
        Ok(platforms) if platforms.is_empty() => Err("expected a platform".into()),
        Ok(platforms) => Ok(platforms),
        Err((_, cause)) => Err(cause.into()),
    })
}

/// When layers are merged for mounts.
pub(crate) fn flatten(environment: &Environment) -> Result<Flatten, SettingsError> {
    let variable = env::KILN_FLATTEN_ABOVE;
    let Some(text) = environment.get(&variable) else {
        return Ok(Flatten::STANDARD);
    };
    let above = text.to_str().and_then(|text| text.parse().ok());
    let flatten = above.and_then(|above| Flatten::STANDARD.with_above(above));
    flatten.ok_or_else(|| SettingsError::Value {
        name: variable.name,
        text: text.to_string_lossy().into_owned(),
        origin: Origin::Variable(variable.name),
        cause: "expected a number from 2 to 499".into(),
    })
}

fn jobs(layer: &Layer) -> Result<Option<NonZeroUsize>, SettingsError> {
    read(layer, Key::Jobs, |text| {
        text.parse().map_err(|_| "expected a number from 1".into())
    })
}

fn chosen<T: ValueEnum>(layer: &Layer, key: Key) -> Result<Option<T>, SettingsError> {
    read(layer, key, |text| {
        T::from_str(text, false).map_err(|_| {
            let values: Vec<String> = T::value_variants()
                .iter()
                .filter_map(|value| Some(format!("`{}`", value.to_possible_value()?.get_name())))
                .collect();
            format!("expected one of {}", values.join(", ")).into()
        })
    })
}

fn switch(layer: &Layer, key: Key) -> Result<bool, SettingsError> {
    let value = read(layer, key, |text| match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("expected `true` or `false`".into()),
    })?;
    Ok(value.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::super::env::tests::user;
    use super::*;

    fn resolve(
        variables: &[(&str, &str)],
        flags: &[(Key, &str)],
    ) -> Result<Settings, SettingsError> {
        let environment = user(variables);
        let flags = flags
            .iter()
            .map(|(key, text)| (*key, Some((*text).to_owned())));
        let layer = Layer::from_environment(&environment).under(Layer::from_flags(flags));
        Settings::resolve(&layer, BTreeMap::new(), &environment)
    }

    #[test]
    fn a_flag_beats_a_variable_and_a_variable_beats_a_file() {
        let file = file::parse(Path::new("/c.toml"), "jobs = 1\nformat = \"docker\"").unwrap();
        let environment = user(&[
            ("HOME", "/me"),
            ("KILN_JOBS", "3"),
            ("KILN_NETWORK", "none"),
        ]);
        let layer = file
            .layer
            .under(Layer::from_environment(&environment))
            .under(Layer::from_flags([(Key::Network, Some("host".to_owned()))]));
        let settings = Settings::resolve(&layer, BTreeMap::new(), &environment).unwrap();
        assert_eq!(settings.jobs.get(), 3);
        assert_eq!(settings.format, FormatName::Docker);
        assert_eq!(settings.network, NetworkName::Host);
    }

    #[test]
    fn a_wrong_value_names_its_origin() {
        let error = resolve(&[("HOME", "/me"), ("KILN_JOBS", "0")], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not use `jobs` = `0`, set by KILN_JOBS"
        );
        let error = resolve(&[("HOME", "/me")], &[(Key::Network, "bridge")]).unwrap_err();
        assert_eq!(
            error.source().unwrap().to_string(),
            "expected one of `default`, `host`, `none`"
        );
    }

    #[test]
    fn trust_is_a_switch_or_a_file() {
        let trust = |value| {
            let settings = resolve(&[("HOME", "/me")], &[(Key::TrustHostCas, value)]);
            settings.unwrap().trust_host_cas
        };
        assert_eq!(trust("true"), TrustChoice::Host);
        assert_eq!(trust("false"), TrustChoice::None);
        assert_eq!(trust("ca.pem"), TrustChoice::File("/here/ca.pem".into()));
    }

    #[test]
    fn without_a_home_the_root_has_to_be_named() {
        assert!(matches!(resolve(&[], &[]), Err(SettingsError::NoRoot)));
        assert_eq!(
            resolve(&[], &[(Key::Root, "r")]).unwrap().root,
            Path::new("/here/r")
        );
    }
}
