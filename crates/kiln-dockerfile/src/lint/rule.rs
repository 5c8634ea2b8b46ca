//! The closed set of checks.

use std::fmt;
use std::str::FromStr;

/// One check. `docs/lint.md` has a chapter on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LintRule {
    /// A stage's name has upper case letters.
    StageNameCasing,
    /// `FROM` and `as`, or `from` and `AS`.
    FromAsCasing,
    /// An empty line inside a continued instruction.
    NoEmptyContinuation,
    /// An instruction is not in the case that most others are in.
    ConsistentInstructionCasing,
    /// Two stages with one name.
    DuplicateStageName,
    /// A stage named `scratch` or `context`.
    ReservedStageName,
    /// `CMD` or `ENTRYPOINT` in shell form.
    JSONArgsRecommended,
    /// `MAINTAINER`.
    MaintainerDeprecated,
    /// `FROM` uses a variable that no global `ARG` declares.
    UndefinedArgInFrom,
    /// A relative `WORKDIR` that depends on the base.
    WorkdirRelativePath,
    /// A variable that nothing sets.
    UndefinedVar,
    /// A second `CMD`, `ENTRYPOINT` or `HEALTHCHECK` in a stage.
    MultipleInstructionsDisallowed,
    /// `ENV name value` and `LABEL name value`.
    LegacyKeyValueFormat,
    /// A base that is for another platform than was asked for.
    InvalidBaseImagePlatform,
    /// `FROM --platform=$TARGETPLATFORM`.
    RedundantTargetPlatform,
    /// An `ARG` or `ENV` whose name says that it is a secret.
    SecretsUsedInArgOrEnv,
    /// A base whose name is invalid unless build arguments are given.
    InvalidDefaultArgInFrom,
    /// `FROM --platform` with a fixed platform.
    FromPlatformFlagConstDisallowed,
    /// A source that the ignore file excludes.
    CopyIgnoredFile,
    /// A comment before a stage or an `ARG` that is not a description of it (experimental).
    InvalidDefinitionDescription,
    /// A protocol in upper case in `EXPOSE`.
    ExposeProtoCasing,
    /// An address or a host port in `EXPOSE`.
    ExposeInvalidFormat,
}

impl LintRule {
    /// All checks, in the order in which the documentation has them.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JSONArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
    ];

    /// The name by which `# check=` lines and reports know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StageNameCasing => "StageNameCasing",
            Self::FromAsCasing => "FromAsCasing",
            Self::NoEmptyContinuation => "NoEmptyContinuation",
            Self::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Self::DuplicateStageName => "DuplicateStageName",
            Self::ReservedStageName => "ReservedStageName",
            Self::JSONArgsRecommended => "JSONArgsRecommended",
            Self::MaintainerDeprecated => "MaintainerDeprecated",
            Self::UndefinedArgInFrom => "UndefinedArgInFrom",
            Self::WorkdirRelativePath => "WorkdirRelativePath",
            Self::UndefinedVar => "UndefinedVar",
            Self::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Self::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Self::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Self::RedundantTargetPlatform => "RedundantTargetPlatform",
            Self::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Self::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Self::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Self::CopyIgnoredFile => "CopyIgnoredFile",
            Self::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Self::ExposeProtoCasing => "ExposeProtoCasing",
            Self::ExposeInvalidFormat => "ExposeInvalidFormat",
        }
    }

    /// One sentence on what the check asks for, without a full stop.
    pub const fn description(self) -> &'static str {
        match self {
            Self::StageNameCasing => "Names of stages are written in lower case",
            Self::FromAsCasing => "The `AS` of a `FROM` is in the same case as the `FROM`",
            Self::NoEmptyContinuation => "A continued instruction has no empty lines",
            Self::ConsistentInstructionCasing => "All instructions of a file are in one case",
            Self::DuplicateStageName => "No two stages have the same name",
            Self::ReservedStageName => "No stage is named `scratch` or `context`",
            Self::JSONArgsRecommended => {
                "`CMD` and `ENTRYPOINT` have the JSON form, so that signals reach the program"
            }
            Self::MaintainerDeprecated => "A label names the author instead of `MAINTAINER`",
            Self::UndefinedArgInFrom => "`FROM` uses only variables that a global `ARG` declares",
            Self::WorkdirRelativePath => {
                "The first `WORKDIR` is absolute, so that it does not depend on the base image"
            }
            Self::UndefinedVar => "Variables are set before they are used",
            Self::MultipleInstructionsDisallowed => {
                "A stage has one `CMD`, `ENTRYPOINT` and `HEALTHCHECK`, since only the last counts"
            }
            Self::LegacyKeyValueFormat => "`ENV` and `LABEL` are written with `=`",
            Self::InvalidBaseImagePlatform => "The base image is for the platform that is wanted",
            Self::RedundantTargetPlatform => {
                "`FROM` does not ask for `$TARGETPLATFORM`, which is the default"
            }
            Self::SecretsUsedInArgOrEnv => "Secrets are not handed in by `ARG` or `ENV`",
            Self::InvalidDefaultArgInFrom => {
                "The base image's name is valid also without build arguments"
            }
            Self::FromPlatformFlagConstDisallowed => "`FROM --platform` does not fix one platform",
            Self::CopyIgnoredFile => "Sources of `COPY` and `ADD` are not in the ignore file",
            Self::InvalidDefinitionDescription => {
                "A comment above a named stage or an `ARG` begins with the name it describes"
            }
            Self::ExposeProtoCasing => "Protocols in `EXPOSE` are in lower case",
            Self::ExposeInvalidFormat => "`EXPOSE` has no address and no port of the host",
        }
    }

    /// Where kiln's documentation speaks of it: a path in the source tree with an anchor.
    pub fn url(self) -> String {
        format!("docs/lint.md#{}", self.name().to_ascii_lowercase())
    }

    /// Whether the check runs only where a file or a build asks for it by name.
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::InvalidDefinitionDescription)
    }
}

impl fmt::Display for LintRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LintRule {
    /// What was asked for.
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.name() == name)
            .ok_or_else(|| UnknownRule(name.to_owned()))
    }
}

/// A name that is no check's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no check `{0}`")]
pub struct UnknownRule(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_rules() {
        for rule in LintRule::ALL {
            assert_eq!(rule.name().parse(), Ok(rule));
            assert_eq!(format!("{rule:?}"), rule.name());
        }
        assert!("stagenamecasing".parse::<LintRule>().is_err());
    }
}
