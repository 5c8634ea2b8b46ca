//! A flag's value: comma-separated attributes, `type=registry,ref=…`, with quotes as CSV has them.

use std::collections::BTreeMap;
use std::time::Duration;

/// A `--cache-from` or `--cache-to` can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Quotes that don't match.
    #[error("the quotes of `{0}` don't match")]
    Quotes(String),
    /// Neither `name=value` nor a name of an image alone.
    #[error("`{0}` is not of the form `name=value`")]
    NotAPair(String),
    /// No `type`.
    #[error("`{0}` has no `type=`")]
    NoType(String),
    /// A type that there is, but not here.
    #[error("cache type `{0}` is not supported; kiln has {1}")]
    Type(String, &'static str),
    /// An option that this type does not have.
    #[error("cache type `{kind}` has no option `{name}`; it has {known}")]
    Unknown {
        /// The cache's type.
        kind: String,
        /// The option.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// An option that has to be given.
    #[error("cache type `{kind}` needs `{name}`")]
    Needed {
        /// The cache's type.
        kind: String,
        /// The option, and the variable that may stand for it.
        name: &'static str,
    },
    /// A value that can't be used.
    #[error("`{name}={value}`: {problem}")]
    Value {
        /// The option.
        name: String,
        /// As given; hidden where it may be a secret.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The attributes of one flag. Each is taken once; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) kind: String,
    values: BTreeMap<String, String>,
    asked: Vec<&'static str>,
}

impl Attributes {
    /// Reads the fields of a flag that has an equals sign in it.
    pub(crate) fn parse(text: &str) -> Result<Self, OptionError> {
        let mut values = BTreeMap::new();
        for field in fields(text)? {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| OptionError::NotAPair(field.clone()))?;
            values.insert(name.trim().to_lowercase(), value.to_owned());
        }
        let kind = values
            .remove("type")
            .filter(|kind| !kind.is_empty())
            .ok_or_else(|| OptionError::NoType(text.to_owned()))?;
        Ok(Self {
            kind,
            values,
            asked: Vec::new(),
        })
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        self.values.remove(name)
    }

    /// A value that has to be there and not be empty. `needed` is how an error names it.
    pub(crate) fn need(
        &mut self,
        name: &'static str,
        needed: &'static str,
    ) -> Result<String, OptionError> {
        self.take(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.needed(needed))
    }

    pub(crate) fn needed(&self, name: &'static str) -> OptionError {
        OptionError::Needed {
            kind: self.kind.clone(),
            name,
        }
    }

    /// A value that `read` understands; its error says what is wrong.
    pub(crate) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match read(&value) {
            Ok(read) => Ok(Some(read)),
            Err(problem) => Err(OptionError::Value {
                name: name.to_owned(),
                value,
                problem,
            }),
        }
    }

    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, OptionError> {
        self.read(name, boolean)
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(mut self) -> Result<(), OptionError> {
        let Some((name, _)) = self.values.pop_first() else {
            return Ok(());
        };
        self.asked.sort_unstable();
        self.asked.dedup();
        Err(OptionError::Unknown {
            kind: self.kind,
            name,
            known: match self.asked.as_slice() {
                [] => "none".to_owned(),
                asked => format!("`{}`", asked.join("`, `")),
            },
        })
    }
}

/// The words that Go's programs take for true and false.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is neither `true` nor `false`".to_owned()),
    }
}

/// A count of at least one.
pub(crate) fn positive(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("it is not a number above 0".to_owned()),
    }
}

/// `1h30m`, `90s`, `1.5h`, `250ms`: as Go prints durations.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "it is not a duration such as `10m` or `1h30m`".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic() || c == 'µ');
        let (number, after) = rest.split_at(end.ok_or_else(wrong)?);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(total)
}

/// The fields of one CSV record.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, OptionError> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() => is_quoted = true,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            character => field.push(character),
        }
    }
    if is_quoted {
        return Err(OptionError::Quotes(text.to_owned()));
    }
    fields.push(field);
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_separated_by_commas_outside_of_quotes() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(fields(text).expect("fields"), expected);
        };
        check("a=1,b=2", &["a=1", "b=2"]);
        check(r#"a=1,"b=2,3",c"#, &["a=1", "b=2,3", "c"]);
        check(r#""a=""x""""#, &[r#"a="x""#]);
        check("a,", &["a", ""]);
        assert!(fields("\"a").is_err());
    }

    #[test]
    fn durations_are_read_as_go_prints_them() {
        let check = |text: &str, seconds: f64| {
            assert_eq!(
                duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        };
        check("10m", 600.0);
        check("1h30m", 5400.0);
        check("1.5s", 1.5);
        check("250ms", 0.25);
        check("0", 0.0);
        for text in ["", "5", "m", "5d", "-1s", "1h x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
