//! The environment as a value, and the one list of variables that kiln reads.
//!
//! Nothing else in kiln reads the environment. The variables that set a setting (`KILN_JOBS` and
//! its like) are in the table of [`super::key::Key`]; the rest is here, and the documentation is made
//! from both.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// A variable that kiln reads.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// What it does, for the documentation.
    pub(crate) about: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $name:literal: $about:literal;)*) => {
        $(pub(crate) const $constant: Variable = Variable { name: $name, about: $about };)*
        /// Every variable that kiln reads, besides those that set a setting.
        pub(crate) const ALL: &[Variable] = &[$($constant),*];
    };
}

variables! {
    KILN_CONFIG = "KILN_CONFIG": "the configuration file to read instead of the system's and the user's";
    KILN_FLATTEN_ABOVE = "KILN_FLATTEN_ABOVE": "how many layers are mounted one by one, 2 to 499; of more, small ones are first merged in the store, which changes no image; default 64";
    HOME = "HOME": "where `~/.config`, `~/.local/share` and `~/.docker` are";
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME": "the user's configuration is in `kiln/config.toml` below it; default `~/.config`";
    XDG_DATA_HOME = "XDG_DATA_HOME": "the store of a user who is not root is in `kiln` below it; default `~/.local/share`";
    XDG_RUNTIME_DIR = "XDG_RUNTIME_DIR": "podman's credentials and sockets of Docker and Podman are looked for below it";
    DOCKER_CONFIG = "DOCKER_CONFIG": "the directory with docker's `config.json`; default `~/.docker`";
    REGISTRY_AUTH_FILE = "REGISTRY_AUTH_FILE": "a file with registry credentials, looked at before all others";
    DOCKER_HOST = "DOCKER_HOST": "the socket that `--load` speaks to, as `unix:///path`";
    CONTAINER_HOST = "CONTAINER_HOST": "the same, as podman calls it";
    SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH": "the latest time in new images, in seconds since 1970; makes builds reproducible";
    SSL_CERT_FILE = "SSL_CERT_FILE": "`--trust-host-cas` without a file: taken where the host has no folder of additional authorities";
    SSH_AUTH_SOCK = "SSH_AUTH_SOCK": "the agent that `--ssh default` stands for";
    TMPDIR = "TMPDIR": "where an archive from standard input is kept while it is built, and a compressed disk while it is looked at; default `/var/tmp`";
    DOCKER_DEFAULT_PLATFORM = "DOCKER_DEFAULT_PLATFORM": "the same as `KILN_PLATFORM`, which is stronger";
    BUILDKIT_PROGRESS = "BUILDKIT_PROGRESS": "the same as `KILN_PROGRESS`, which is stronger";
    BUILDX_METADATA_WARNINGS = "BUILDX_METADATA_WARNINGS": "`true` puts a build's warnings into `--metadata-file`, as `buildx.build.warnings`";
    BUILDX_BAKE_FILE = "BUILDX_BAKE_FILE": "the bake files where `-f` names none, separated as in `PATH`";
    BUILDX_BAKE_PATH_SEPARATOR = "BUILDX_BAKE_PATH_SEPARATOR": "what separates them instead";
    BUILDX_BAKE_FILE_RELATIVE_PATHS = "BUILDX_BAKE_FILE_RELATIVE_PATHS": "`true` takes paths of contexts as seen from the bake file, not from the working directory";
    BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP = "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "`true` keeps the environment from setting variables of bake files";
    BUILDX_BAKE_ENTITLEMENTS_FS = "BUILDX_BAKE_ENTITLEMENTS_FS": "`false` lets bake files read and write outside of the working directory";
    EXPERIMENTAL_BUILDKIT_SOURCE_POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": "an error where it is set: kiln has no source policies";
    PATH = "PATH": "where credential helpers, `newuidmap` and `mmdebstrap` are found";
    TERM = "TERM": "`dumb` turns the live view and colour off";
    NO_COLOR = "NO_COLOR": "turns colour off, whatever its value, unless it is empty";
    HTTP_PROXY = "HTTP_PROXY": "the proxy for plain HTTP, with `http_proxy`";
    HTTPS_PROXY = "HTTPS_PROXY": "the proxy for HTTPS, with `https_proxy`";
    ALL_PROXY = "ALL_PROXY": "the proxy for both, with `all_proxy`";
    NO_PROXY = "NO_PROXY": "hosts that are reached without the proxy, with `no_proxy`";
}

/// The variables that name proxies, as programs read them.
pub(crate) const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// What the process was started with: variables, working directory, user, processors.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// The working directory, absolute.
    pub(crate) cwd: PathBuf,
    /// Whether kiln was started as root.
    pub(crate) is_root: bool,
    /// The processors this process may use.
    pub(crate) processors: NonZeroUsize,
}

impl Environment {
    /// An environment made of values.
    pub(crate) fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        cwd: PathBuf,
        is_root: bool,
        processors: NonZeroUsize,
    ) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            cwd,
            is_root,
            processors,
        }
    }

    /// A variable of the list, where it is set and not empty.
    pub(crate) fn get(&self, variable: &Variable) -> Option<&OsStr> {
        self.by_name(variable.name)
    }

    /// A variable whose name the user gave (`--build-arg NAME`), where it is set and not empty.
    pub(crate) fn by_name(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The same, even if it is empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// A variable whose name the user gave, even if it is empty, as text.
    pub(crate) fn passed_on(&self, name: &str) -> Option<String> {
        let value = self.variables.get(OsStr::new(name))?;
        Some(value.to_string_lossy().into_owned())
    }

    /// Every variable, for programs that kiln starts on the user's behalf.
    pub(crate) fn all(&self) -> Vec<(OsString, OsString)> {
        let variables = self.variables.iter();
        variables
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// A path from a variable, if it is absolute; the XDG specification has others ignored.
    pub(crate) fn absolute(&self, variable: &Variable) -> Option<&Path> {
        self.get(variable)
            .map(Path::new)
            .filter(|path| path.is_absolute())
    }

    /// The user's home.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.absolute(&HOME)
    }

    /// `path` seen from the working directory, without any `.`.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.cwd.join(path).components().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An ordinary user in `/here` with two processors.
    pub(crate) fn user(variables: &[(&str, &str)]) -> Environment {
        Environment::new(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
            "/here".into(),
            false,
            NonZeroUsize::new(2).unwrap(),
        )
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let environment = user(&[("HOME", ""), ("NO_COLOR", "1")]);
        assert_eq!(environment.home(), None);
        assert!(environment.get(&NO_COLOR).is_some());
    }

    #[test]
    fn relative_homes_are_ignored() {
        assert_eq!(user(&[("HOME", "me")]).home(), None);
        assert_eq!(user(&[("HOME", "/me")]).home(), Some(Path::new("/me")));
    }
}
