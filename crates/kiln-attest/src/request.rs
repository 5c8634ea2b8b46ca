//! What `--attest`, `--sbom` and `--provenance` ask for.
//!
//! The words are buildx's and BuildKit's. What differs: nothing is made unless it is asked for, a
//! parameter that kiln does not know is an error instead of being ignored, and there are no
//! generator images, since kiln has a scanner of its own.

use std::collections::BTreeMap;

use crate::csv;

/// The generator that BuildKit starts where none is named; kiln's own scanner stands in for it.
const DEFAULT_GENERATOR: &str = "docker/buildkit-syft-scanner";
/// Build arguments that ask for attestations, too.
const BUILD_ARG_PREFIX: &str = "BUILDKIT_ATTEST_";

/// Which attestations an image gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttestRequest {
    /// A bill of materials, if one is asked for.
    pub sbom: Option<SbomRequest>,
    /// Provenance, if it is asked for.
    pub provenance: Option<ProvenanceRequest>,
}

/// A bill of materials made by kiln's own scanner. It has no parameters yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SbomRequest {}

/// Provenance, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenanceRequest {
    /// How much is said.
    pub mode: ProvenanceMode,
    /// The version of the predicate.
    pub version: SlsaVersion,
    /// Who says it: a URI, often of the CI job.
    pub builder_id: String,
    /// The user says that the build is reproducible.
    pub reproducible: bool,
    /// Only in images, not as a file beside exported folders and archives.
    pub inline_only: bool,
    /// The name of that file.
    pub filename: String,
    /// Fail where some input of the build has no digest.
    pub complete_materials: bool,
}

/// How much provenance says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProvenanceMode {
    /// No build arguments, labels, secrets, steps or sources.
    Min,
    /// Everything.
    Max,
}

/// The version of the SLSA provenance predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlsaVersion {
    /// `https://slsa.dev/provenance/v0.2`.
    V02,
    /// `https://slsa.dev/provenance/v1`.
    V1,
}

/// Why a value of `--attest`, `--sbom` or `--provenance` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// Quotes that don't match.
    #[error("the attestation parameters `{0}` have an unmatched quote")]
    Quotes(String),
    /// A field without `=`.
    #[error("the attestation parameter `{field}` of `{value}` is not of the form `key=value`")]
    Field {
        /// The field.
        field: String,
        /// The whole value.
        value: String,
    },
    /// No `type=`.
    #[error("`{0}` does not say a type: add `type=sbom` or `type=provenance`")]
    NoType(String),
    /// A type nobody knows.
    #[error("`{0}` is not a type of attestation: use `sbom` or `provenance`")]
    Type(String),
    /// A parameter nobody knows.
    #[error("`{parameter}` is not a parameter of the attestation `{kind}`")]
    Parameter {
        /// `sbom` or `provenance`.
        kind: &'static str,
        /// The parameter.
        parameter: String,
    },
    /// A value that the parameter does not take.
    #[error("the attestation parameter `{parameter}` can't be `{value}`: use {allowed}")]
    Value {
        /// The parameter.
        parameter: String,
        /// What it was given.
        value: String,
        /// What it takes.
        allowed: &'static str,
    },
    /// A generator image.
    #[error(
        "the generator image `{0}` can't be started: kiln scans with its own scanner, leave `generator` out"
    )]
    Generator(String),
    /// A thing that kiln does not measure.
    #[error("`{0}` is not supported by kiln: leave it out")]
    Unsupported(&'static str),
}

impl Default for ProvenanceRequest {
    /// What `--provenance=true` asks for.
    fn default() -> Self {
        Self {
            mode: ProvenanceMode::Max,
            version: SlsaVersion::V1,
            builder_id: String::new(),
            reproducible: false,
            inline_only: false,
            filename: "provenance.json".to_owned(),
            complete_materials: false,
        }
    }
}

/// One value of `--attest`: its parameters in their order, without `type` and `disabled`.
struct Entry {
    kind: String,
    disabled: bool,
    parameters: Vec<(String, String)>,
}

impl AttestRequest {
    /// Reads the values of `--attest`, then those of `--provenance` and `--sbom`. Of two with the
    /// same type the first counts; an empty text is as good as no flag.
    pub fn parse(
        attest: &[String],
        provenance: Option<&str>,
        sbom: Option<&str>,
    ) -> Result<Self, AttestError> {
        let mut values = attest.to_vec();
        values.extend(provenance.and_then(|text| canonical("provenance", text)));
        values.extend(sbom.and_then(|text| canonical("sbom", text)));
        let mut entries: Vec<Entry> = Vec::new();
        for value in &values {
            let entry = Entry::parse(value)?;
            if !entries.iter().any(|known| known.kind == entry.kind) {
                entries.push(entry);
            }
        }
        let mut request = Self::default();
        for entry in entries.iter().filter(|entry| !entry.disabled) {
            request.add(&entry.kind, &entry.parameters)?;
        }
        Ok(request)
    }

    /// Adds what the build arguments `BUILDKIT_ATTEST_SBOM` and `BUILDKIT_ATTEST_PROVENANCE` ask
    /// for, where the flags said nothing of it.
    pub fn with_build_args(mut self, args: &BTreeMap<String, String>) -> Result<Self, AttestError> {
        for (name, value) in args {
            let Some(kind) = name.strip_prefix(BUILD_ARG_PREFIX) else {
                continue;
            };
            let asked = match kind.to_ascii_lowercase().as_str() {
                "sbom" => self.sbom.is_some(),
                "provenance" => self.provenance.is_some(),
                _ => false,
            };
            if !asked {
                self.add(kind, &parameters(value)?)?;
            }
        }
        Ok(self)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.sbom.is_none() && self.provenance.is_none()
    }

    fn add(&mut self, kind: &str, parameters: &[(String, String)]) -> Result<(), AttestError> {
        match kind.to_ascii_lowercase().as_str() {
            "sbom" => self.sbom = Some(SbomRequest::new(parameters)?),
            "provenance" => self.provenance = Some(ProvenanceRequest::new(parameters)?),
            _ => return Err(AttestError::Type(kind.to_owned())),
        }
        Ok(())
    }
}

impl Entry {
    fn parse(value: &str) -> Result<Self, AttestError> {
        let fields = csv::fields(value).ok_or_else(|| AttestError::Quotes(value.to_owned()))?;
        let mut entry = Self {
            kind: String::new(),
            disabled: false,
            parameters: Vec::new(),
        };
        for field in fields {
            let Some((key, text)) = field.split_once('=') else {
                return Err(AttestError::Field {
                    field,
                    value: value.to_owned(),
                });
            };
            match key.trim().to_ascii_lowercase().as_str() {
                "type" => text.clone_into(&mut entry.kind),
                "disabled" => entry.disabled = boolean("disabled", text)?,
                _ => entry.parameters.push((key.to_owned(), text.to_owned())),
            }
        }
        if entry.kind.is_empty() {
            return Err(AttestError::NoType(value.to_owned()));
        }
        // A type that nobody knows is an error even where it is disabled.
        match entry.kind.to_ascii_lowercase().as_str() {
            kind @ ("sbom" | "provenance") => kind.clone_into(&mut entry.kind),
            _ => return Err(AttestError::Type(entry.kind)),
        }
        Ok(entry)
    }
}

impl SbomRequest {
    fn new(parameters: &[(String, String)]) -> Result<Self, AttestError> {
        for (key, value) in parameters {
            if key != "generator" {
                return Err(AttestError::Parameter {
                    kind: "sbom",
                    parameter: key.clone(),
                });
            }
            if !is_default_generator(value) {
                return Err(AttestError::Generator(value.clone()));
            }
        }
        Ok(Self {})
    }
}

impl ProvenanceRequest {
    fn new(parameters: &[(String, String)]) -> Result<Self, AttestError> {
        let mut request = Self::default();
        for (key, value) in parameters {
            request.set(key, value)?;
        }
        Ok(request)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), AttestError> {
        match key {
            "mode" => {
                self.mode = match value {
                    "min" => ProvenanceMode::Min,
                    // `full` is an old name of `max`.
                    "max" | "full" => ProvenanceMode::Max,
                    _ => return Err(bad_value(key, value, "`min` or `max`")),
                }
            }
            "version" => {
                self.version = match value {
                    // An empty version leaves the default.
                    "v1" | "" => SlsaVersion::V1,
                    "v0.2" => SlsaVersion::V02,
                    _ => return Err(bad_value(key, value, "`v1` or `v0.2`")),
                }
            }
            "builder-id" => value.clone_into(&mut self.builder_id),
            "reproducible" => self.reproducible = boolean(key, value)?,
            "inline-only" => self.inline_only = boolean(key, value)?,
            "complete-materials" => self.complete_materials = boolean(key, value)?,
            "filename" => {
                // The file is written into folders that others own: it has to be a plain name.
                if value.is_empty() || value == "." || value == ".." || value.contains(['/', '\0'])
                {
                    return Err(bad_value(key, value, "a file name without a folder"));
                }
                value.clone_into(&mut self.filename);
            }
            "capture-usage" if boolean(key, value)? => {
                return Err(AttestError::Unsupported("capture-usage=true"));
            }
            "capture-usage" => {}
            _ => {
                return Err(AttestError::Parameter {
                    kind: "provenance",
                    parameter: key.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The value of `--attest` that a value of `--sbom` or `--provenance` stands for.
fn canonical(kind: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    Some(match parse_bool(text) {
        Some(on) => format!("type={kind},disabled={}", !on),
        None => format!("type={kind},{text}"),
    })
}

/// The parameters in the value of a build argument; a key without `=` has the empty value.
fn parameters(value: &str) -> Result<Vec<(String, String)>, AttestError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let fields = csv::fields(value).ok_or_else(|| AttestError::Quotes(value.to_owned()))?;
    let pairs = fields.iter().map(|field| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        (key.to_owned(), value.to_owned())
    });
    Ok(pairs.collect())
}

fn is_default_generator(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or(image);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.split(':').next() == Some(DEFAULT_GENERATOR)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn boolean(parameter: &str, text: &str) -> Result<bool, AttestError> {
    parse_bool(text).ok_or_else(|| bad_value(parameter, text, "`true` or `false`"))
}

fn bad_value(parameter: &str, value: &str, allowed: &'static str) -> AttestError {
    AttestError::Value {
        parameter: parameter.to_owned(),
        value: value.to_owned(),
        allowed,
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
