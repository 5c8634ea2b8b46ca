//! Conversion of a value to a type.

use std::collections::BTreeMap;

use super::{Number, Type, Value, unify};
use crate::source::{Fault, Outcome};

/// The value as `wanted`, or what is wrong with it.
pub(crate) fn convert(value: &Value, wanted: &Type) -> Outcome<Value> {
    match (value, wanted) {
        (Value::Null(_), _) if *wanted != Type::Dynamic => Ok(Value::Null(wanted.clone())),
        (_, Type::Dynamic)
        | (Value::Bool(_), Type::Bool)
        | (Value::Number(_), Type::Number)
        | (Value::String(_), Type::String) => Ok(value.clone()),
        (Value::Bool(value), Type::String) => {
            Ok(Value::text(if *value { "true" } else { "false" }))
        }
        (Value::Number(value), Type::String) => Ok(Value::text(&value.to_string())),
        (Value::String(text), Type::Number) => match Number::parse(text) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(Fault::new("a number is required")),
        },
        (Value::String(text), Type::Bool) => match &**text {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            "True" | "TRUE" | "False" | "FALSE" => Err(Fault::new("a bool is required").hint(
                Some(format!("write it in lower case: `{}`", text.to_lowercase())),
            )),
            _ => Err(Fault::new("a bool is required")),
        },
        (Value::List(..) | Value::Set(..) | Value::Tuple(_), Type::List(element)) => {
            let (element, items) = convert_items(value.items().unwrap_or_default(), element)?;
            Ok(Value::list(element, items))
        }
        (Value::List(..) | Value::Set(..) | Value::Tuple(_), Type::Set(element)) => {
            let (element, items) = convert_items(value.items().unwrap_or_default(), element)?;
            Ok(Value::set(element, items))
        }
        (Value::Tuple(items), Type::Tuple(types)) if items.len() == types.len() => {
            let items = items
                .iter()
                .zip(types)
                .map(|(item, ty)| convert(item, ty))
                .collect::<Outcome<_>>()?;
            Ok(Value::tuple(items))
        }
        (Value::Tuple(items), Type::Tuple(types)) => Err(Fault::new(format!(
            "a tuple of {} elements is required, not of {}",
            types.len(),
            items.len()
        ))),
        (Value::Map(..) | Value::Object(_), Type::Map(element)) => {
            convert_map(value.entries().unwrap_or(&BTreeMap::new()), element)
        }
        (Value::Map(..) | Value::Object(_), Type::Object(attributes)) => {
            convert_object(value.entries().unwrap_or(&BTreeMap::new()), attributes)
        }
        _ => Err(mismatch(value, wanted)),
    }
}

/// [`convert`], and what the value was for in front of the message.
pub(crate) fn convert_or(value: &Value, wanted: &Type, what: &str) -> Outcome<Value> {
    convert(value, wanted).map_err(|fault| fault.context(what))
}

fn mismatch(value: &Value, wanted: &Type) -> Fault {
    Fault::new(format!("{wanted} required, but this is {}", value.ty()))
}

fn convert_items(items: &[Value], element: &Type) -> Outcome<(Type, Vec<Value>)> {
    let element = common(items.iter(), element)?;
    let items = items
        .iter()
        .map(|item| convert(item, &element))
        .collect::<Outcome<_>>();
    Ok((
        element,
        items.map_err(|fault: Fault| fault.context("incorrect list element"))?,
    ))
}

/// The element type of a collection that is asked for as `list(any)`.
fn common<'a>(items: impl Iterator<Item = &'a Value>, element: &Type) -> Outcome<Type> {
    if *element != Type::Dynamic {
        return Ok(element.clone());
    }
    let types: Vec<Type> = items
        .filter(|item| !item.is_null())
        .map(Value::ty)
        .collect();
    if types.is_empty() {
        return Ok(Type::Dynamic);
    }
    unify(&types).ok_or_else(|| Fault::new("all elements must have the same type"))
}

fn convert_map(entries: &BTreeMap<String, Value>, element: &Type) -> Outcome<Value> {
    let element = common(entries.values(), element)?;
    let entries = entries
        .iter()
        .map(|(key, value)| {
            Ok((
                key.clone(),
                convert_or(value, &element, &format!("element `{key}`"))?,
            ))
        })
        .collect::<Outcome<_>>()?;
    Ok(Value::map(element, entries))
}

fn convert_object(
    entries: &BTreeMap<String, Value>,
    attributes: &BTreeMap<String, (Type, bool)>,
) -> Outcome<Value> {
    let converted = attributes
        .iter()
        .map(|(name, (ty, optional))| {
            let value = match entries.get(name) {
                Some(value) => convert_or(value, ty, &format!("attribute `{name}`"))?,
                None if *optional => Value::Null(ty.clone()),
                None => return Err(Fault::new(format!("attribute `{name}` is required"))),
            };
            Ok((name.clone(), value))
        })
        .collect::<Outcome<_>>()?;
    Ok(Value::object(converted))
}
