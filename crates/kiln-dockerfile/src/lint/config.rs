//! Which checks a file or a build asks for: the value of `# check=`.

use std::collections::BTreeSet;

use super::LintRule;
use crate::suggest;

/// Which checks run, and whether what they find keeps the file from being built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckConfig {
    /// `skip=all`: no check runs but the experimental ones that are asked for.
    pub skip_all: bool,
    /// `skip=A,B`.
    pub skip: BTreeSet<LintRule>,
    /// `experimental=all`.
    pub experimental_all: bool,
    /// `experimental=A,B`.
    pub experimental: BTreeSet<LintRule>,
    /// `error=true`: the file can't be built while a check finds something.
    pub error: bool,
    /// Names after `skip=` and `experimental=` that are no check's. They change nothing, as in
    /// BuildKit, but their author should hear of it.
    pub unknown: Vec<String>,
}

/// A value of `# check=` that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckConfigError {
    /// A part without `=`, or with a key that does not exist.
    #[error("invalid check option `{0}`: there are `skip=`, `error=` and `experimental=`")]
    Option(String),
    /// A value of `error=` that is neither true nor false.
    #[error("`{0}` is not a boolean value for the check option `error`")]
    Boolean(String),
}

impl CheckConfig {
    /// Reads `skip=A,B;error=true;experimental=C`. An empty text asks for nothing special.
    ///
    /// # Errors
    /// See [`CheckConfigError`].
    pub fn parse(text: &str) -> Result<Self, CheckConfigError> {
        let mut config = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(config);
        }
        for part in text.splitn(3, ';') {
            let invalid = || CheckConfigError::Option(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(invalid)?;
            let value = value.trim();
            match key.trim() {
                "skip" if value == "all" => config.skip_all = true,
                "skip" => config.skip = config.rules(value),
                "experimental" if value == "all" => config.experimental_all = true,
                "experimental" => config.experimental = config.rules(value),
                "error" => {
                    config.error = boolean(value)
                        .ok_or_else(|| CheckConfigError::Boolean(value.to_owned()))?;
                }
                other => return Err(CheckConfigError::Option(other.to_owned())),
            }
        }
        Ok(config)
    }

    fn rules(&mut self, names: &str) -> BTreeSet<LintRule> {
        let mut rules = BTreeSet::new();
        for name in names.split(',').map(str::trim) {
            match name.parse() {
                Ok(rule) => {
                    rules.insert(rule);
                }
                Err(_) => self.unknown.push(name.to_owned()),
            }
        }
        rules
    }

    /// Both at once: what a comment above an instruction adds to what holds for the file. `error`
    /// stays that of the file.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        merged.skip_all |= other.skip_all;
        merged.experimental_all |= other.experimental_all;
        merged.skip.extend(&other.skip);
        merged.experimental.extend(&other.experimental);
        merged
    }

    /// Whether a check runs.
    pub fn allows(&self, rule: LintRule) -> bool {
        if rule.is_experimental() {
            self.experimental_all || self.experimental.contains(&rule)
        } else {
            !self.skip_all && !self.skip.contains(&rule)
        }
    }

    /// For each name that is no check's, the check that may have been meant.
    pub fn suggestions(&self) -> impl Iterator<Item = (&str, Option<&'static str>)> {
        self.unknown.iter().map(|name| {
            let names = LintRule::ALL.map(LintRule::name);
            (name.as_str(), suggest::did_you_mean(name, names))
        })
    }
}

/// The spellings that Go takes for a boolean.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match CheckConfig::parse(text) {
            Err(error) => format!("! {error}"),
            Ok(config) => {
                let runs = LintRule::ALL
                    .into_iter()
                    .filter(|&rule| config.allows(rule));
                let mut out = vec![format!("{} run", runs.count())];
                if config.error {
                    out.push("error".to_owned());
                }
                out.extend(config.suggestions().map(|(name, meant)| match meant {
                    Some(meant) => format!("no `{name}` but {meant}"),
                    None => format!("no `{name}`"),
                }));
                out.join(", ")
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shown(text), expected, "{text}");
    }

    #[test]
    fn values_of_check() {
        check("", "21 run");
        check("skip=all", "0 run");
        check("skip=StageNameCasing, FromAsCasing", "19 run");
        check("error=true", "21 run, error");
        check("error=0", "21 run");
        check("skip=JSONArgsRecommended;error=true", "20 run, error");
        check("experimental=all", "22 run");
        check(
            "skip=all;experimental=InvalidDefinitionDescription;error=T",
            "1 run, error",
        );
        check(
            "skip=InvalidDefinitionDescription;experimental=all",
            "22 run",
        );
        check(
            "skip=StageNameCassing",
            "21 run, no `StageNameCassing` but StageNameCasing",
        );
        check("skip=", "21 run, no ``");
        let options = "there are `skip=`, `error=` and `experimental=`";
        check("skip", &format!("! invalid check option `skip`: {options}"));
        check(
            "skip=all;",
            &format!("! invalid check option ``: {options}"),
        );
        check(
            "warn=true",
            &format!("! invalid check option `warn`: {options}"),
        );
        check(
            "error=yes",
            "! `yes` is not a boolean value for the check option `error`",
        );
        // The third part takes all that follows, as in BuildKit.
        check(
            "error=1;skip=all;experimental=all;x",
            "0 run, error, no `all;x`",
        );
    }

    #[test]
    fn a_comment_adds_to_what_holds_for_the_file() {
        let file = CheckConfig::parse("skip=StageNameCasing;error=true").unwrap();
        let comment = CheckConfig::parse("skip=FromAsCasing;experimental=all").unwrap();
        let merged = file.merged(&comment);
        assert!(!merged.allows(LintRule::StageNameCasing));
        assert!(!merged.allows(LintRule::FromAsCasing));
        assert!(merged.allows(LintRule::InvalidDefinitionDescription));
        assert!(merged.error);
    }
}
