//! Maps and objects, and what works with any collection.

use std::collections::BTreeMap;

use super::{Args, Function, entry, size};
use crate::source::{Fault, Outcome};
use crate::value::{Type, Value, convert, unify};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("coalesce", "*A", coalesce),
    entry("coalescelist", "*A", |args| {
        let lists = args.all().iter();
        match lists
            .filter(|list| !list.is_null())
            .find(|list| list.items().is_some_and(|items| !items.is_empty()))
        {
            Some(list) => Ok(list.clone()),
            None => Err(Fault::new("no list that is not empty")),
        }
    }),
    entry("keys", "a", |args| {
        let keys = entries(args, 0)?
            .keys()
            .map(|key| Value::text(key))
            .collect();
        Ok(match args.value(0) {
            Value::Map(..) => Value::list(Type::String, keys),
            _ => Value::tuple(keys),
        })
    }),
    entry("values", "a", |args| {
        let values = entries(args, 0)?.values().cloned().collect();
        Ok(match args.value(0) {
            Value::Map(element, _) => Value::list(element.clone(), values),
            _ => Value::tuple(values),
        })
    }),
    entry("lookup", "as*a", lookup),
    entry("merge", "*A", merge),
    entry("zipmap", "Sa", zipmap),
    entry("length", "a", |args| {
        match (args.value(0).items(), args.value(0).entries()) {
            (Some(items), _) => Ok(size(items.len())),
            (None, Some(entries)) => Ok(size(entries.len())),
            (None, None) => Err(Fault::new(format!(
                "a collection is required, not {}",
                args.value(0).ty()
            ))),
        }
    }),
    entry("hasindex", "aa", |args| {
        let found = crate::eval::index(args.value(0), args.value(1)).is_ok();
        match args.value(0) {
            Value::List(..) | Value::Tuple(_) | Value::Map(..) | Value::Object(_) => {
                Ok(Value::Bool(found))
            }
            other => Err(Fault::new(format!(
                "a list or a map is required, not {}",
                other.ty()
            ))),
        }
    }),
    entry("index", "aa", |args| {
        crate::eval::index(args.value(0), args.value(1))
    }),
];

fn entries<'a>(args: &Args<'a>, at: usize) -> Outcome<&'a BTreeMap<String, Value>> {
    let value = args.value(at);
    value
        .entries()
        .ok_or_else(|| Fault::new(format!("a map is required, not {}", value.ty())))
}

fn coalesce(args: &Args<'_>) -> Outcome<Value> {
    let types: Vec<Type> = args
        .all()
        .iter()
        .map(Value::ty)
        .filter(|ty| args.all().len() == 1 || *ty != Type::Dynamic)
        .collect();
    let Some(common) = unify(&types) else {
        return Err(Fault::new("all arguments must have the same type"));
    };
    match args.all().iter().find(|value| !value.is_null()) {
        Some(value) => convert(value, &common),
        None => Err(Fault::new("all arguments are null")),
    }
}

fn lookup(args: &Args<'_>) -> Outcome<Value> {
    if args.all().len() > 3 {
        return Err(Fault::new("three arguments are the most"));
    }
    let default = args.from(2).first();
    let found = entries(args, 0)?.get(args.text(1)).cloned();
    match (args.value(0), found, default) {
        (_, Some(value), _) => Ok(value),
        (Value::Map(element, _), None, Some(default)) => convert(default, element),
        (_, None, Some(default)) => Ok(default.clone()),
        (_, None, None) => Err(Fault::new(format!(
            "there is no key `{}`, and no default",
            args.text(1)
        ))),
    }
}

fn merge(args: &Args<'_>) -> Outcome<Value> {
    let mut merged = BTreeMap::new();
    for (at, value) in args.all().iter().enumerate() {
        if !value.is_null() {
            merged.extend(
                entries(args, at)?
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
        }
    }
    let first = args.all().first().map(Value::ty);
    Ok(match first {
        Some(Type::Map(element))
            if args
                .all()
                .iter()
                .all(|value| value.ty() == Type::Map(element.clone())) =>
        {
            Value::map(*element, merged)
        }
        _ => Value::object(merged),
    })
}

fn zipmap(args: &Args<'_>) -> Outcome<Value> {
    let (keys, values) = (args.texts(0)?, args.items(1)?);
    if keys.len() != values.len() {
        return Err(Fault::new(format!(
            "there are {} keys for {} values",
            keys.len(),
            values.len()
        )));
    }
    let merged = keys
        .iter()
        .zip(values)
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    Ok(match args.value(1) {
        Value::List(element, _) => Value::map(element.clone(), merged),
        _ => Value::object(merged),
    })
}
