//! The composite attributes: entries that flags write as `key=value,key=value`.

use std::collections::BTreeMap;
use std::fmt;

use crate::csv;
use crate::source::{Fault, Outcome};

/// An output, a cache or an attestation: its type and attributes. Its text is that of the flags
/// `--output`, `--cache-from`, `--cache-to` and `--attest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The value of `type`.
    pub kind: String,
    /// All others, `dest` and `disabled` included.
    pub attributes: BTreeMap<String, String>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        csv::push(&mut out, "type", &self.kind);
        for (key, value) in &self.attributes {
            csv::push(&mut out, key, value);
        }
        f.write_str(&out)
    }
}

impl Entry {
    /// An entry of attributes, `type` among them.
    pub(crate) fn from_map(mut attributes: BTreeMap<String, String>, noun: Noun) -> Outcome<Self> {
        let kind = attributes.remove("type").unwrap_or_default();
        if kind.is_empty() {
            return Err(Fault::new(format!("{} without a `type`", noun.name())));
        }
        if noun == Noun::Output && attributes.get("dest").is_some_and(String::is_empty) {
            attributes.remove("dest");
        }
        if noun == Noun::Attestation
            && let Some(disabled) = attributes.remove("disabled")
            && parse_bool(&disabled)
                .ok_or_else(|| Fault::new(format!("`disabled={disabled}` is no boolean")))?
        {
            attributes.insert("disabled".to_owned(), "true".to_owned());
        }
        Ok(Self { kind, attributes })
    }

    /// Reads a flag's text; a cache may name several references.
    pub(crate) fn parse(text: &str, noun: Noun) -> Outcome<Vec<Self>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let fields = csv::fields(text)?;
        if noun == Noun::Cache && !text.contains('=') {
            let entry = |field: &String| Self {
                kind: "registry".to_owned(),
                attributes: BTreeMap::from([("ref".to_owned(), field.clone())]),
            };
            return Ok(fields.iter().map(entry).collect());
        }
        if noun == Noun::Output
            && fields.len() == 1
            && fields[0] == text
            && !text.starts_with("type=")
        {
            let kind = if text == "-" { "tar" } else { "local" };
            let attributes = BTreeMap::from([("dest".to_owned(), text.to_owned())]);
            return Ok(vec![Self {
                kind: kind.to_owned(),
                attributes,
            }]);
        }
        let mut attributes = BTreeMap::new();
        for field in &fields {
            let Some((key, value)) = field.split_once('=') else {
                return Err(Fault::new(format!("`{field}` is not `key=value`")));
            };
            let lower = key.trim().to_lowercase();
            let key = if noun == Noun::Attestation && lower != "type" && lower != "disabled" {
                key
            } else {
                &lower
            };
            attributes.insert(key.to_owned(), value.to_owned());
        }
        Ok(vec![Self::from_map(attributes, noun)?])
    }
}

/// What an [`Entry`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noun {
    Output,
    Cache,
    Attestation,
}

impl Noun {
    fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Cache => "cache",
            Self::Attestation => "attestation",
        }
    }
}

/// A build secret; its text is that of `--secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// The name within the build.
    pub id: String,
    /// The file that holds it; empty for none.
    pub src: String,
    /// The environment variable that holds it; empty for none.
    pub env: String,
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for (key, value) in [("id", &self.id), ("src", &self.src), ("env", &self.env)] {
            if !value.is_empty() {
                csv::push(&mut out, key, value);
            }
        }
        f.write_str(&out)
    }
}

impl Secret {
    /// Reads the text of `--secret`.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let mut secret = Self::default();
        let mut kind = String::new();
        for field in csv::fields(text)? {
            let Some((key, value)) = field.split_once('=') else {
                return Err(Fault::new(format!("`{field}` is not `key=value`")));
            };
            let value = value.to_owned();
            match key.to_lowercase().as_str() {
                "type" if value == "file" || value == "env" => kind = value,
                "type" => return Err(Fault::new(format!("unknown type of secret `{value}`"))),
                "id" => secret.id = value,
                "source" | "src" => secret.src = value,
                "env" => secret.env = value,
                other => return Err(Fault::new(format!("unknown key `{other}` of a secret"))),
            }
        }
        if kind == "env" && secret.env.is_empty() {
            secret.env = std::mem::take(&mut secret.src);
        }
        Ok(secret)
    }
}

/// An SSH agent or keys; its text is that of `--ssh`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ssh {
    /// The name within the build.
    pub id: String,
    /// Keys or a socket; none means the agent of the environment.
    pub paths: Vec<String>,
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.paths.is_empty() {
            f.write_str(&self.id)
        } else {
            write!(f, "{}={}", self.id, self.paths.join(","))
        }
    }
}

impl Ssh {
    /// Reads the text of `--ssh`.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((id, paths)) => Self {
                id: id.to_owned(),
                paths: paths.split(',').map(str::to_owned).collect(),
            },
            None => Self {
                id: text.to_owned(),
                paths: Vec::new(),
            },
        }
    }
}

/// How sources are judged; its text is that of `--policy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Files of rules.
    pub files: Vec<String>,
    /// Forget the policies before.
    pub reset: bool,
    /// Judge nothing.
    pub disabled: bool,
    /// Refuse what can't be judged.
    pub strict: Option<bool>,
    /// How much to log: `panic`, `fatal`, `error`, `warning`, `info`, `debug` or `trace`.
    pub log_level: Option<String>,
}

impl Policy {
    /// Reads the text of `--policy`.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        Self::from_pairs(
            csv::fields(text)?
                .iter()
                .map(|field| match field.split_once('=') {
                    Some((key, value)) => Ok((key.trim().to_lowercase(), value.to_owned())),
                    None => Err(Fault::new(format!("`{field}` is not `key=value`"))),
                }),
        )
    }

    /// A policy of keys and values.
    pub(crate) fn from_pairs(
        pairs: impl Iterator<Item = Outcome<(String, String)>>,
    ) -> Outcome<Self> {
        let mut policy = Self::default();
        for pair in pairs {
            let (key, value) = pair?;
            let flag = || {
                parse_bool(&value)
                    .ok_or_else(|| Fault::new(format!("`{key}={value}` is no boolean")))
            };
            match key.as_str() {
                "filename" if !value.is_empty() => policy.files.push(value),
                "reset" => policy.reset = flag()?,
                "disabled" => policy.disabled = flag()?,
                "strict" => policy.strict = Some(flag()?),
                "log-level" => policy.log_level = Some(log_level(&value)?),
                _ => return Err(Fault::new(format!("unknown `{key}={value}` of a policy"))),
            }
        }
        Ok(policy)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for file in &self.files {
            csv::push(&mut out, "filename", file);
        }
        for (key, value) in [("reset", self.reset), ("disabled", self.disabled)] {
            if value {
                csv::push(&mut out, key, "true");
            }
        }
        if let Some(strict) = self.strict {
            csv::push(&mut out, "strict", if strict { "true" } else { "false" });
        }
        if let Some(level) = &self.log_level {
            csv::push(&mut out, "log-level", level);
        }
        f.write_str(&out)
    }
}

fn log_level(text: &str) -> Outcome<String> {
    match text.to_lowercase().as_str() {
        "warn" => Ok("warning".to_owned()),
        level @ ("panic" | "fatal" | "error" | "warning" | "info" | "debug" | "trace") => {
            Ok(level.to_owned())
        }
        _ => Err(Fault::new(format!("unknown log level `{text}`"))),
    }
}

/// Limits of the steps of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Such as `512m`.
    pub memory: Option<String>,
    /// Memory and swap together; `-1` for no limit.
    pub memory_swap: Option<String>,
    /// Relative weight.
    pub cpu_shares: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<i64>,
    /// Microseconds of each period.
    pub cpu_quota: Option<i64>,
    /// Such as `0-3`.
    pub cpuset_cpus: Option<String>,
    /// Such as `0`.
    pub cpuset_mems: Option<String>,
}

/// The keys of [`Resources`].
pub(crate) const RESOURCES: [&str; 7] = [
    "memory",
    "memory-swap",
    "cpu-shares",
    "cpu-period",
    "cpu-quota",
    "cpuset-cpus",
    "cpuset-mems",
];

impl Resources {
    /// Sets one key from text.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Outcome<()> {
        let text = Some(value.to_owned());
        let number = || match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Fault::new(format!(
                "`{value}` is no whole number for `{key}`"
            ))),
        };
        match key {
            "memory" => self.memory = text,
            "memory-swap" => self.memory_swap = text,
            "cpu-shares" => self.cpu_shares = number()?,
            "cpu-period" => self.cpu_period = number()?,
            "cpu-quota" => self.cpu_quota = number()?,
            "cpuset-cpus" => self.cpuset_cpus = text,
            "cpuset-mems" => self.cpuset_mems = text,
            _ => {
                return Err(Fault::new(format!("unknown key `{key}` of resources"))
                    .hint(crate::source::did_you_mean(key, RESOURCES)));
            }
        }
        Ok(())
    }

    /// What `other` says goes before what is here.
    pub(crate) fn merge(&mut self, other: Self) {
        let Self {
            memory,
            memory_swap,
            cpu_shares,
            cpu_period,
            cpu_quota,
            cpuset_cpus,
            cpuset_mems,
        } = other;
        self.memory = memory.or(self.memory.take());
        self.memory_swap = memory_swap.or(self.memory_swap.take());
        self.cpu_shares = cpu_shares.or(self.cpu_shares);
        self.cpu_period = cpu_period.or(self.cpu_period);
        self.cpu_quota = cpu_quota.or(self.cpu_quota);
        self.cpuset_cpus = cpuset_cpus.or(self.cpuset_cpus.take());
        self.cpuset_mems = cpuset_mems.or(self.cpuset_mems.take());
    }
}

/// Booleans as flags write them.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
