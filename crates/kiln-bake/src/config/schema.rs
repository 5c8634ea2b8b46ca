//! The attributes of targets and groups, and their types.

use std::collections::BTreeMap;

use crate::entry::{Noun, RESOURCES};
use crate::value::Type;

/// The shape of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Bool,
    Texts,
    TextMap,
    Entries(Noun),
    Secrets,
    Ssh,
    Policies,
    Resources,
}

/// The attributes of a target, `matrix` and `name` apart.
pub(super) const TARGET: [(&str, Shape); 29] = [
    ("annotations", Shape::Texts),
    ("args", Shape::TextMap),
    ("attest", Shape::Entries(Noun::Attestation)),
    ("cache-from", Shape::Entries(Noun::Cache)),
    ("cache-to", Shape::Entries(Noun::Cache)),
    ("call", Shape::Text),
    ("context", Shape::Text),
    ("contexts", Shape::TextMap),
    ("description", Shape::Text),
    ("dockerfile", Shape::Text),
    ("dockerfile-inline", Shape::Text),
    ("entitlements", Shape::Texts),
    ("extra-hosts", Shape::TextMap),
    ("inherits", Shape::Texts),
    ("labels", Shape::TextMap),
    ("network", Shape::Text),
    ("no-cache", Shape::Bool),
    ("no-cache-filter", Shape::Texts),
    ("output", Shape::Entries(Noun::Output)),
    ("platforms", Shape::Texts),
    ("policy", Shape::Policies),
    ("pull", Shape::Bool),
    ("resources", Shape::Resources),
    ("secret", Shape::Secrets),
    ("shm-size", Shape::Text),
    ("ssh", Shape::Ssh),
    ("tags", Shape::Texts),
    ("target", Shape::Text),
    ("ulimits", Shape::Texts),
];

/// The attributes of a group.
pub(super) const GROUP: [(&str, Shape); 2] =
    [("description", Shape::Text), ("targets", Shape::Texts)];

/// The attributes of a kind of blocks.
pub(super) fn attributes(kind: &str) -> &'static [(&'static str, Shape)] {
    if kind == "group" { &GROUP } else { &TARGET }
}

/// The shape of an attribute.
pub(super) fn shape(kind: &str, name: &str) -> Option<Shape> {
    attributes(kind)
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, shape)| shape)
}

impl Shape {
    /// The type that others see.
    pub(super) fn ty(self) -> Type {
        let list = |ty| Type::List(Box::new(ty));
        let object = |names: &[(&str, Type)]| {
            let entries = names
                .iter()
                .map(|(name, ty)| ((*name).to_owned(), (ty.clone(), true)));
            Type::Object(entries.collect::<BTreeMap<_, _>>())
        };
        match self {
            Self::Text => Type::String,
            Self::Bool => Type::Bool,
            Self::Texts => Type::strings(),
            Self::TextMap => Type::Map(Box::new(Type::String)),
            Self::Entries(_) | Self::Policies => list(Type::Map(Box::new(Type::String))),
            Self::Secrets => list(object(&[
                ("id", Type::String),
                ("src", Type::String),
                ("env", Type::String),
            ])),
            Self::Ssh => list(object(&[("id", Type::String), ("paths", Type::strings())])),
            Self::Resources => {
                let ty = |name: &str| {
                    if ["cpu-shares", "cpu-period", "cpu-quota"].contains(&name) {
                        Type::Number
                    } else {
                        Type::String
                    }
                };
                object(&RESOURCES.map(|name| (name, ty(name))))
            }
        }
    }
}
