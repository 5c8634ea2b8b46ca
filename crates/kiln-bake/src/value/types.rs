//! Types, their names, and the type that several have in common.

use std::collections::BTreeMap;
use std::fmt;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Any type.
    Dynamic,
    Bool,
    Number,
    String,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    Tuple(Vec<Self>),
    /// Attributes, and whether each may be absent.
    Object(BTreeMap<String, (Self, bool)>),
}

impl Type {
    /// `list(string)`.
    pub(crate) fn strings() -> Self {
        Self::List(Box::new(Self::String))
    }

    /// Whether it is a boolean, a number or a text.
    pub(crate) fn is_primitive(&self) -> bool {
        matches!(self, Self::Bool | Self::Number | Self::String)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("any type"),
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::List(element) if **element == Self::Dynamic => {
                f.write_str("list of any single type")
            }
            Self::Set(element) if **element == Self::Dynamic => {
                f.write_str("set of any single type")
            }
            Self::Map(element) if **element == Self::Dynamic => {
                f.write_str("map of any single type")
            }
            Self::List(element) => write!(f, "list of {element}"),
            Self::Set(element) => write!(f, "set of {element}"),
            Self::Map(element) => write!(f, "map of {element}"),
            Self::Tuple(_) => f.write_str("tuple"),
            Self::Object(_) => f.write_str("object"),
        }
    }
}

/// The type that all can be converted to.
pub(crate) fn unify(types: &[Type]) -> Option<Type> {
    let first = types.first()?;
    if types.iter().all(|ty| ty == first) {
        return Some(first.clone());
    }
    if types.contains(&Type::Dynamic) {
        return Some(Type::Dynamic);
    }
    if types.iter().all(Type::is_primitive) {
        // Numbers and booleans have texts; they don't have each other.
        return types.contains(&Type::String).then_some(Type::String);
    }
    if let Some(elements) = all(types, |ty| match ty {
        Type::List(element) => Some(vec![(**element).clone()]),
        _ => None,
    }) {
        return Some(Type::List(Box::new(unify(&elements)?)));
    }
    if let Some(elements) = all(types, |ty| match ty {
        Type::List(element) | Type::Set(element) => Some(vec![(**element).clone()]),
        _ => None,
    }) {
        return Some(Type::Set(Box::new(unify(&elements)?)));
    }
    if let Some(tuple) = unify_tuples(types) {
        return Some(tuple);
    }
    if let Some(elements) = all(types, |ty| match ty {
        Type::List(element) | Type::Set(element) => Some(vec![(**element).clone()]),
        Type::Tuple(elements) => Some(elements.clone()),
        _ => None,
    }) {
        return Some(Type::List(Box::new(unify_or_dynamic(&elements)?)));
    }
    if let Some(object) = unify_objects(types) {
        return Some(object);
    }
    let elements = all(types, |ty| match ty {
        Type::Map(element) => Some(vec![(**element).clone()]),
        Type::Object(attributes) => Some(attributes.values().map(|(ty, _)| ty.clone()).collect()),
        _ => None,
    })?;
    Some(Type::Map(Box::new(unify_or_dynamic(&elements)?)))
}

fn unify_or_dynamic(types: &[Type]) -> Option<Type> {
    if types.is_empty() {
        Some(Type::Dynamic)
    } else {
        unify(types)
    }
}

fn all(types: &[Type], pick: impl Fn(&Type) -> Option<Vec<Type>>) -> Option<Vec<Type>> {
    let picked: Option<Vec<Vec<Type>>> = types.iter().map(pick).collect();
    Some(picked?.concat())
}

fn unify_tuples(types: &[Type]) -> Option<Type> {
    let tuples: Vec<&Vec<Type>> = types
        .iter()
        .map(|ty| match ty {
            Type::Tuple(elements) => Some(elements),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let length = tuples.first()?.len();
    if tuples.iter().any(|elements| elements.len() != length) {
        return None;
    }
    let columns = (0..length).map(|at| {
        let column: Vec<Type> = tuples.iter().map(|elements| elements[at].clone()).collect();
        unify(&column)
    });
    Some(Type::Tuple(columns.collect::<Option<_>>()?))
}

fn unify_objects(types: &[Type]) -> Option<Type> {
    let objects: Vec<&BTreeMap<String, (Type, bool)>> = types
        .iter()
        .map(|ty| match ty {
            Type::Object(attributes) => Some(attributes),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let first = objects.first()?;
    if objects
        .iter()
        .any(|attributes| !attributes.keys().eq(first.keys()))
    {
        return None;
    }
    let attributes = first.keys().map(|name| {
        let column: Vec<Type> = objects
            .iter()
            .map(|attributes| attributes[name].0.clone())
            .collect();
        Some((name.clone(), (unify(&column)?, false)))
    });
    Some(Type::Object(attributes.collect::<Option<_>>()?))
}
