//! Values of the language and their types.
//!
//! The types are those of HCL's value library: primitives, collections of one element type (list,
//! set, map) and structures (tuple, object). There are no unknown values: nothing is planned ahead.

mod convert;
pub(crate) mod json;
mod number;
mod types;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use convert::{convert, convert_or};
pub(crate) use number::Number;
pub(crate) use types::{Type, unify};

/// Values within values.
const MAX_NESTING: u32 = 200;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null(Type),
    Bool(bool),
    Number(Number),
    String(Rc<str>),
    List(Type, Rc<Vec<Self>>),
    /// Sorted, each element once.
    Set(Type, Rc<Vec<Self>>),
    Map(Type, Rc<BTreeMap<String, Self>>),
    Tuple(Rc<Vec<Self>>),
    Object(Rc<BTreeMap<String, Self>>),
}

impl Value {
    /// `null` of no particular type.
    pub(crate) fn null() -> Self {
        Self::Null(Type::Dynamic)
    }

    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self::String(Rc::from(text))
    }

    /// A whole number.
    pub(crate) fn int(number: i64) -> Self {
        Self::Number(Number::from_int(number))
    }

    /// A list of texts.
    pub(crate) fn texts<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::list(
            Type::String,
            texts
                .into_iter()
                .map(|text| Self::text(text.as_ref()))
                .collect(),
        )
    }

    /// A list.
    pub(crate) fn list(element: Type, items: Vec<Self>) -> Self {
        Self::List(element, Rc::new(items))
    }

    /// A set: sorts, and keeps each element once.
    pub(crate) fn set(element: Type, mut items: Vec<Self>) -> Self {
        items.sort_by(Self::order);
        items.dedup_by(|one, other| one.equals(other));
        Self::Set(element, Rc::new(items))
    }

    /// A map.
    pub(crate) fn map(element: Type, entries: BTreeMap<String, Self>) -> Self {
        Self::Map(element, Rc::new(entries))
    }

    /// A tuple.
    pub(crate) fn tuple(items: Vec<Self>) -> Self {
        Self::Tuple(Rc::new(items))
    }

    /// An object.
    pub(crate) fn object(entries: BTreeMap<String, Self>) -> Self {
        Self::Object(Rc::new(entries))
    }

    /// Whether it is `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// Its type.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Self::Null(ty) => ty.clone(),
            Self::Bool(_) => Type::Bool,
            Self::Number(_) => Type::Number,
            Self::String(_) => Type::String,
            Self::List(element, _) => Type::List(Box::new(element.clone())),
            Self::Set(element, _) => Type::Set(Box::new(element.clone())),
            Self::Map(element, _) => Type::Map(Box::new(element.clone())),
            Self::Tuple(items) => Type::Tuple(items.iter().map(Self::ty).collect()),
            Self::Object(entries) => Type::Object(
                entries
                    .iter()
                    .map(|(name, value)| (name.clone(), (value.ty(), false)))
                    .collect(),
            ),
        }
    }

    /// The elements of a list, set or tuple.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(_, items) | Self::Set(_, items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map or object.
    pub(crate) fn entries(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(_, entries) | Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text of a text.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether both are the same: values of different types never are.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null(_), Self::Null(_)) => true,
            (Self::Tuple(one), Self::Tuple(other)) => equal_items(one, other),
            (Self::List(a, one), Self::List(b, other))
            | (Self::Set(a, one), Self::Set(b, other)) => a == b && equal_items(one, other),
            (Self::Object(one), Self::Object(other)) => equal_entries(one, other),
            (Self::Map(a, one), Self::Map(b, other)) => a == b && equal_entries(one, other),
            _ => self == other,
        }
    }

    /// An order of all values, for sets.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.order(other),
            (Self::String(one), Self::String(other)) => one.cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            _ => json::encode(self).cmp(&json::encode(other)),
        }
    }

    /// How much work copying and walking it is.
    pub(crate) fn weight(&self) -> u64 {
        self.measure(0).unwrap_or(u64::MAX)
    }

    /// [`Value::weight`]; none if it is nested so deep that walking it could exhaust the stack.
    pub(crate) fn measure(&self, depth: u32) -> Option<u64> {
        if depth > MAX_NESTING {
            return None;
        }
        match self {
            Self::Null(_) | Self::Bool(_) | Self::Number(_) => Some(1),
            Self::String(text) => Some(1 + text.len() as u64 / 32),
            Self::List(_, items) | Self::Set(_, items) | Self::Tuple(items) => items
                .iter()
                .try_fold(1, |sum: u64, item| Some(sum + item.measure(depth + 1)?)),
            Self::Map(_, entries) | Self::Object(entries) => {
                entries.values().try_fold(1, |sum: u64, value| {
                    Some(sum + 1 + value.measure(depth + 1)?)
                })
            }
        }
    }
}

fn equal_items(one: &[Value], other: &[Value]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.equals(other))
}

fn equal_entries(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((a, one), (b, other))| a == b && one.equals(other))
}
