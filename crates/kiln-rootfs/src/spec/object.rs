//! A JSON object that is read name by name, and knows its place and what was not read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SpecError;

/// What a value stands for.
pub(super) enum Meaning<T> {
    Said(T),
    /// The same as if it was not there.
    NotSaid,
    Unknown,
}

/// An object of a configuration; its names in snake case.
pub(super) struct Object<'a> {
    path: String,
    /// With each name as it was written.
    fields: BTreeMap<String, (&'a str, &'a Value)>,
}

impl<'a> Object<'a> {
    pub(super) fn of(path: String, value: &'a Value) -> Result<Self, SpecError> {
        let Value::Object(map) = value else {
            let path = if path.is_empty() {
                "the configuration".to_owned()
            } else {
                path
            };
            return Err(SpecError::Type {
                path,
                expected: "an object",
            });
        };
        let mut fields = BTreeMap::new();
        for (name, value) in map {
            // What is null is not there.
            if value.is_null() {
                continue;
            }
            let known = fields.insert(snake_case(name), (name.as_str(), value));
            if let Some((known, _)) = known {
                return Err(SpecError::Both(place(&path, known), place(&path, name)));
            }
        }
        Ok(Self { path, fields })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Says no to what is known and can't be had.
    pub(super) fn refuse(&self, names: &[&str], why: &'static str) -> Result<(), SpecError> {
        match names.iter().find_map(|name| self.fields.get(*name)) {
            Some((name, _)) => Err(SpecError::Unsupported {
                path: place(&self.path, name),
                why,
            }),
            None => Ok(()),
        }
    }

    /// Says no to a switch that is on.
    pub(super) fn refuse_switch(&mut self, name: &str, why: &'static str) -> Result<(), SpecError> {
        if self.switch(&[name])? {
            return Err(SpecError::Unsupported {
                path: place(&self.path, name),
                why,
            });
        }
        Ok(())
    }

    /// What is there under one of these names, of which there can be one.
    fn take(&mut self, names: &[&str]) -> Result<Option<(String, &'a Value)>, SpecError> {
        let mut found: Option<(String, &'a Value)> = None;
        for name in names {
            let Some((name, value)) = self.fields.remove(*name) else {
                continue;
            };
            let path = place(&self.path, name);
            if let Some((first, _)) = found {
                return Err(SpecError::Both(first, path));
            }
            found = Some((path, value));
        }
        Ok(found)
    }

    pub(super) fn object(&mut self, names: &[&str]) -> Result<Option<Self>, SpecError> {
        self.take(names)?
            .map(|(path, value)| Self::of(path, value))
            .transpose()
    }

    pub(super) fn need_object(&mut self, name: &str) -> Result<Self, SpecError> {
        let missing = SpecError::Missing(place(&self.path, name));
        self.object(&[name])?.ok_or(missing)
    }

    pub(super) fn text(&mut self, names: &[&str]) -> Result<Option<String>, SpecError> {
        let Some((path, value)) = self.take(names)? else {
            return Ok(None);
        };
        text(path, value).map(Some)
    }

    /// A text that is not empty.
    pub(super) fn given_text(&mut self, name: &str) -> Result<Option<String>, SpecError> {
        Ok(self.text(&[name])?.filter(|text| !text.is_empty()))
    }

    pub(super) fn need_text(&mut self, name: &str) -> Result<String, SpecError> {
        let missing = SpecError::Missing(place(&self.path, name));
        let found = self.text(&[name])?.filter(|text| !text.is_empty());
        found.ok_or(missing)
    }

    /// A switch, where what is not said is not the same as what is off.
    pub(super) fn given_switch(&mut self, name: &str) -> Result<Option<bool>, SpecError> {
        if self.fields.contains_key(name) {
            return self.switch(&[name]).map(Some);
        }
        Ok(None)
    }

    pub(super) fn switch(&mut self, names: &[&str]) -> Result<bool, SpecError> {
        match self.take(names)? {
            None => Ok(false),
            Some((_, Value::Bool(value))) => Ok(*value),
            Some((path, _)) => Err(SpecError::Type {
                path,
                expected: "true or false",
            }),
        }
    }

    /// A number that is not negative; the protocol writes large ones as text.
    pub(super) fn number(&mut self, names: &[&str]) -> Result<Option<u64>, SpecError> {
        let Some((path, value)) = self.take(names)? else {
            return Ok(None);
        };
        let number = match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let expected = "a whole number of bytes";
        number.map(Some).ok_or(SpecError::Type { path, expected })
    }

    pub(super) fn texts(&mut self, names: &[&str]) -> Result<Vec<String>, SpecError> {
        match self.take(names)? {
            None => Ok(Vec::new()),
            Some((path, Value::Array(values))) => values
                .iter()
                .enumerate()
                .map(|(at, value)| text(format!("{path}[{at}]"), value))
                .collect(),
            Some((path, _)) => Err(SpecError::Type {
                path,
                expected: "a list of texts",
            }),
        }
    }

    /// Texts by names that are the user's own, in the order of the names.
    pub(super) fn texts_by_name(
        &mut self,
        names: &[&str],
    ) -> Result<Vec<(String, String)>, SpecError> {
        match self.take(names)? {
            None => Ok(Vec::new()),
            Some((path, Value::Object(map))) => map
                .iter()
                .map(|(name, value)| Ok((name.clone(), text(place(&path, name), value)?)))
                .collect(),
            Some((path, _)) => Err(SpecError::Type {
                path,
                expected: "an object of texts",
            }),
        }
    }

    /// A word with a meaning.
    pub(super) fn word<T>(
        &mut self,
        names: &[&str],
        expected: &'static str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SpecError> {
        self.choice(names, expected, |value| {
            match value.as_str().and_then(&meaning) {
                Some(found) => Meaning::Said(found),
                None => Meaning::Unknown,
            }
        })
    }

    /// A value with a meaning, which may be "not said".
    pub(super) fn choice<T>(
        &mut self,
        names: &[&str],
        expected: &'static str,
        meaning: impl Fn(&Value) -> Meaning<T>,
    ) -> Result<Option<T>, SpecError> {
        let Some((path, value)) = self.take(names)? else {
            return Ok(None);
        };
        match meaning(value) {
            Meaning::Said(found) => Ok(Some(found)),
            Meaning::NotSaid => Ok(None),
            Meaning::Unknown => Err(SpecError::Value {
                path,
                value: value.as_str().map_or(value.to_string(), str::to_owned),
                expected,
            }),
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), SpecError> {
        match self.fields.into_values().next() {
            Some((name, _)) => Err(SpecError::Unknown(place(&self.path, name))),
            None => Ok(()),
        }
    }
}

fn text(path: String, value: &Value) -> Result<String, SpecError> {
    let expected = "a text";
    let found = value.as_str().map(str::to_owned);
    found.ok_or(SpecError::Type { path, expected })
}

fn place(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            if !snake.is_empty() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        } else {
            snake.push(c);
        }
    }
    snake
}
