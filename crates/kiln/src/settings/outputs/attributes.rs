//! The attributes of one output; each is taken once, and none may be left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_engine::{Annotation, Dest};

use super::{Environment, OutputsError};
use crate::args::{OutputSpec, OutputType, parse_switch};
use crate::settings::annotation;

/// What is left of an output's attributes.
#[derive(Debug)]
pub(super) struct Attributes {
    kind: OutputType,
    left: BTreeMap<String, String>,
}

impl Attributes {
    pub(super) fn new(spec: &OutputSpec) -> Self {
        Self {
            kind: spec.kind,
            left: spec.attributes.clone(),
        }
    }

    pub(super) const fn kind(&self) -> OutputType {
        self.kind
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    /// Drops the names where the type has any; whether there were some.
    pub(super) fn drop_names(&mut self) -> bool {
        let has_image = !matches!(
            self.kind,
            OutputType::Local | OutputType::Tar | OutputType::CacheOnly
        );
        has_image && self.take("name").is_some_and(|names| !names.is_empty())
    }

    pub(super) fn switch(&mut self, name: &'static str) -> Result<Option<bool>, OutputsError> {
        match self.take(name) {
            None => Ok(None),
            // As BuildKit has it, an attribute without a value is on.
            Some(value) if value.is_empty() => Ok(Some(true)),
            Some(value) => match parse_switch(&value) {
                Ok(switch) => Ok(Some(switch)),
                Err(reason) => Err(OutputsError::Value {
                    name,
                    value,
                    reason,
                }),
            },
        }
    }

    /// An attribute that can have one value only.
    pub(super) fn only(
        &mut self,
        name: &'static str,
        possible: &str,
        reason: &'static str,
    ) -> Result<(), OutputsError> {
        match self.take(name) {
            Some(value) if value != possible => Err(OutputsError::Value {
                name,
                value,
                reason,
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn annotations(&mut self) -> Result<Vec<Annotation>, OutputsError> {
        let mut annotations = Vec::new();
        let mut left = BTreeMap::new();
        for (name, value) in std::mem::take(&mut self.left) {
            match annotation::parse_attribute(&name, &value) {
                Some(parsed) => annotation::add(&mut annotations, parsed?),
                None => _ = left.insert(name, value),
            }
        }
        self.left = left;
        Ok(annotations)
    }

    pub(super) fn dest(&mut self, environment: &Environment) -> Result<Option<Dest>, OutputsError> {
        let path = match self.take("dest").as_deref() {
            None | Some("") => return Ok(None),
            Some("-") => return Ok(Some(Dest::Stdout)),
            Some(path) => environment.resolve(Path::new(path)),
        };
        if path.is_dir() {
            return Err(OutputsError::DestIsDirectory(path));
        }
        Ok(Some(Dest::File(path)))
    }

    pub(super) fn directory(&mut self, environment: &Environment) -> Result<PathBuf, OutputsError> {
        let path = match self.take("dest").as_deref() {
            None | Some("") => return Err(OutputsError::NoDest(self.type_name())),
            Some("-") => {
                return Err(OutputsError::Value {
                    name: "dest",
                    value: "-".to_owned(),
                    reason: "a directory can't go to standard output",
                });
            }
            Some(path) => environment.resolve(Path::new(path)),
        };
        if path.exists() && !path.is_dir() {
            return Err(OutputsError::DestIsFile(path));
        }
        Ok(path)
    }

    pub(super) fn finish(self) -> Result<(), OutputsError> {
        let kind = self.type_name();
        match self.left.into_keys().next() {
            Some(name) => Err(OutputsError::Unknown { kind, name }),
            None => Ok(()),
        }
    }

    pub(super) const fn type_name(&self) -> &'static str {
        match self.kind {
            OutputType::Oci => "oci",
            OutputType::Docker => "docker",
            OutputType::Tar => "tar",
            OutputType::Local => "local",
            OutputType::Image => "image",
            OutputType::Registry => "registry",
            OutputType::CacheOnly => "cacheonly",
        }
    }
}
