//! Indexes, attributes, splats and `for`.

use std::collections::BTreeMap;

use super::{Scope, World, eval, operators};
use crate::source::{Fault, Outcome, did_you_mean};
use crate::syntax::ast::{Expr, For};
use crate::value::{Type, Value, convert, unify};

/// `source.name`.
pub(super) fn attribute(source: &Value, name: &str) -> Outcome<Value> {
    if let Some(entries) = source.entries() {
        return entries.get(name).cloned().ok_or_else(|| {
            Fault::new(format!(
                "there is no attribute `{name}` in this {}",
                noun(source)
            ))
            .hint(did_you_mean(name, entries.keys().map(String::as_str)))
        });
    }
    match name.parse::<usize>() {
        Ok(at) if source.items().is_some() => item(source, at),
        _ if source.is_null() => Err(Fault::new(format!("attribute `{name}` of null"))),
        _ => Err(Fault::new(format!("a {} has no attributes", noun(source)))),
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null(_) => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::List(..) => "list",
        Value::Set(..) => "set",
        Value::Map(..) => "map",
        Value::Tuple(_) => "tuple",
        Value::Object(_) => "object",
    }
}

fn item(source: &Value, at: usize) -> Outcome<Value> {
    let items = source.items().unwrap_or_default();
    items.get(at).cloned().ok_or_else(|| {
        Fault::new(format!(
            "there is no element {at}: the length is {}",
            items.len()
        ))
    })
}

/// `source[key]`.
pub(crate) fn index(source: &Value, key: &Value) -> Outcome<Value> {
    if key.is_null() {
        return Err(Fault::new("null is no index"));
    }
    match source {
        Value::Map(..) | Value::Object(_) => match convert(key, &Type::String)?.as_str() {
            Some(name) => attribute(source, name),
            None => Err(Fault::new("a string is required")),
        },
        Value::List(..) | Value::Tuple(_) => match convert(key, &Type::Number)? {
            Value::Number(number) => match number.int().and_then(|at| usize::try_from(at).ok()) {
                Some(at) => item(source, at),
                None => Err(Fault::new(format!(
                    "{number} is no index: a whole number from 0 is"
                ))),
            },
            _ => Err(Fault::new("a number is required")),
        },
        Value::Null(_) => Err(Fault::new("null has no elements")),
        _ => Err(Fault::new(format!("a {} has no indexes", noun(source)))),
    }
}

/// Keys and values of anything that `for` can walk.
pub(super) fn pairs(source: &Value) -> Outcome<Vec<(Value, Value)>> {
    match source {
        Value::List(_, items) | Value::Tuple(items) => Ok((0..)
            .zip(items.iter())
            .map(|(at, item)| (Value::int(at), item.clone()))
            .collect()),
        Value::Set(_, items) => Ok(items
            .iter()
            .map(|item| (item.clone(), item.clone()))
            .collect()),
        Value::Map(_, entries) | Value::Object(entries) => Ok(entries
            .iter()
            .map(|(key, value)| (Value::text(key), value.clone()))
            .collect()),
        Value::Null(_) => Err(Fault::new("`for` can't walk null")),
        _ => Err(Fault::new(format!("`for` can't walk a {}", noun(source)))),
    }
}

pub(super) fn splat(
    world: &dyn World,
    scope: &Scope<'_>,
    source: &Expr,
    each: &Expr,
) -> Outcome<Value> {
    let source = eval(world, scope, source)?;
    let single;
    let items = match (&source, source.items()) {
        (Value::Null(_), _) => &[],
        (_, Some(items)) => items,
        _ => {
            single = [source.clone()];
            &single
        }
    };
    let results: Vec<Value> = items
        .iter()
        .map(|item| eval(world, &scope.with_each(item), each))
        .collect::<Outcome<_>>()?;
    if matches!(source, Value::List(..)) {
        let types: Vec<Type> = results.iter().map(Value::ty).collect();
        if let Some(element) = unify(&types) {
            return convert(&Value::tuple(results), &Type::List(Box::new(element)));
        }
    }
    Ok(Value::tuple(results))
}

fn key_text(world: &dyn World, scope: &Scope<'_>, key: &Expr) -> Outcome<String> {
    let value = eval(world, scope, key)?;
    match convert(&value, &Type::String)
        .map_err(|fault| fault.or_at(key.span))?
        .as_str()
    {
        Some(text) => Ok(text.to_owned()),
        None => Err(Fault::at(key.span, "null is no key")),
    }
}

pub(super) fn object(
    world: &dyn World,
    scope: &Scope<'_>,
    entries: &[(Expr, Expr)],
) -> Outcome<Value> {
    let mut object = BTreeMap::new();
    for (key, value) in entries {
        object.insert(key_text(world, scope, key)?, eval(world, scope, value)?);
    }
    Ok(Value::object(object))
}

pub(super) fn for_expression(world: &dyn World, scope: &Scope<'_>, each: &For) -> Outcome<Value> {
    let source = eval(world, scope, &each.collection)?;
    let mut list = Vec::new();
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, value) in pairs(&source).map_err(|fault| fault.or_at(each.collection.span))? {
        let mut names = vec![(each.value.clone(), value)];
        names.extend(each.key.iter().map(|name| (name.clone(), key.clone())));
        let scope = scope.with(&names);
        if let Some(condition) = &each.condition {
            let included = eval(world, &scope, condition)?;
            if !operators::truth(&included).map_err(|fault| fault.or_at(condition.span))? {
                continue;
            }
        }
        let Some(entry_key) = &each.entry_key else {
            list.push(eval(world, &scope, &each.entry)?);
            continue;
        };
        let name = key_text(world, &scope, entry_key)?;
        let group = groups.entry(name.clone()).or_default();
        if !each.group && !group.is_empty() {
            return Err(
                Fault::at(entry_key.span, format!("two entries have the key `{name}`")).hint(Some(
                    "write `...` after the value to collect them".to_owned(),
                )),
            );
        }
        group.push(eval(world, &scope, &each.entry)?);
    }
    if each.entry_key.is_none() {
        return Ok(Value::tuple(list));
    }
    let entries = groups.into_iter().map(|(key, mut values)| {
        let value = if each.group {
            Value::tuple(values)
        } else {
            values.pop().unwrap_or_else(Value::null)
        };
        (key, value)
    });
    Ok(Value::object(entries.collect()))
}
