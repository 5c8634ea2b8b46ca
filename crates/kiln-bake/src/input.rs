//! What the outside has to say: files, the command line, the environment, and the time.

use std::collections::BTreeMap;

/// Names that are looked for where none is given, in this order. All that exist are read, and later
/// files change what earlier ones say.
pub const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// A bake file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BakeFile {
    /// The name decides the format: `.hcl`, `.json`, `.yaml` and `.yml`; all others are tried in turn.
    /// Errors show it.
    pub name: String,
    /// The contents.
    pub text: String,
}

/// Time, randomness and the home directory, as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970: what `timestamp()` says.
    pub now: i64,
    /// What `uuidv4()` and `bcrypt()` are made of.
    pub seed: [u8; 32],
    /// What `homedir()` says; without it, it is an error.
    pub home: Option<String>,
}

/// Everything that decides what the targets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BakeInput {
    /// The files, in order.
    pub files: Vec<BakeFile>,
    /// Targets and groups, also as patterns; none means `default`.
    pub targets: Vec<String>,
    /// `--set pattern.key[+]=value`, in order; `--push`, `--load`, `--no-cache`, `--pull`, `--sbom` and
    /// `--provenance` are such overrides of `*`.
    pub overrides: Vec<String>,
    /// The environment: it overrides variables of HCL and JSON files, and is what compose files and
    /// `--set target.args.NAME` refer to.
    pub environment: BTreeMap<String, String>,
    /// The lines of a `.env` file beside compose files; the environment goes before it.
    pub dotenv: Option<BakeFile>,
    /// `--var name=value`, which goes before the environment.
    pub variables: BTreeMap<String, String>,
    /// `BAKE_LOCAL_PLATFORM`, such as `linux/amd64`.
    pub local_platform: String,
    /// `BAKE_CMD_CONTEXT`; without it, the directory of the command, `cwd://`.
    pub command_context: Option<String>,
    /// Paths of a context are relative to the file that names them, not to the working directory
    /// (`BUILDX_BAKE_FILE_RELATIVE_PATHS`).
    pub file_relative: bool,
    /// Time, randomness and home.
    pub clock: Clock,
}

impl BakeInput {
    /// A variable of the environment that is not empty.
    pub(crate) fn lookup_environment(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable of the command line or the environment.
    pub(crate) fn lookup(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .or_else(|| self.environment.get(name))
            .map(String::as_str)
    }
}
