//! Lists and tuples.

use super::{Args, Function, entry, size};
use crate::source::{Fault, Outcome};
use crate::value::{Number, Type, Value, convert, unify};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("concat", "*a", concat),
    entry("contains", "aa", |args| {
        Ok(Value::Bool(
            args.items(0)?.iter().any(|item| item.equals(args.value(1))),
        ))
    }),
    entry("indexof", "aa", |args| {
        match args
            .items(0)?
            .iter()
            .position(|item| item.equals(args.value(1)))
        {
            Some(at) => Ok(size(at)),
            None => Err(Fault::new("the list has no such element")),
        }
    }),
    entry("element", "an", |args| {
        let (items, at) = (args.items(0)?, args.int(1)?);
        let Ok(length @ 1..) = i64::try_from(items.len()) else {
            return Err(Fault::new("the list is empty"));
        };
        let at = usize::try_from(at.rem_euclid(length)).unwrap_or_default();
        Ok(items[at].clone())
    }),
    entry("compact", "S", |args| {
        Ok(Value::texts(
            args.items(0)?
                .iter()
                .filter_map(Value::as_str)
                .filter(|text| !text.is_empty()),
        ))
    }),
    entry("distinct", "L", |args| {
        let mut kept: Vec<Value> = Vec::new();
        for item in args.items(0)? {
            args.charge(kept.len())?;
            if !kept.iter().any(|other| other.equals(item)) {
                kept.push(item.clone());
            }
        }
        Ok(Value::list(element(args.value(0)), kept))
    }),
    entry("chunklist", "Ln", chunklist),
    entry("flatten", "a", |args| {
        let mut flat = Vec::new();
        flatten(args.items(0)?, &mut flat);
        Ok(Value::tuple(flat))
    }),
    entry("reverselist", "a", |args| {
        let items: Vec<Value> = args.items(0)?.iter().rev().cloned().collect();
        Ok(match args.value(0) {
            Value::Tuple(_) => Value::tuple(items),
            other => Value::list(element(other), items),
        })
    }),
    entry("slice", "ann", slice),
    entry("range", "*n", range),
];

fn element(list: &Value) -> Type {
    match list {
        Value::List(element, _) | Value::Set(element, _) => element.clone(),
        _ => Type::Dynamic,
    }
}

fn concat(args: &Args<'_>) -> Outcome<Value> {
    let mut items = Vec::new();
    for (at, value) in args.all().iter().enumerate() {
        if matches!(value, Value::Set(..)) {
            return Err(Fault::new("lists are required, not sets"));
        }
        items.extend_from_slice(args.items(at)?);
    }
    if args.all().is_empty() {
        return Err(Fault::new("at least one list is required"));
    }
    let types: Vec<Type> = args.all().iter().map(Value::ty).collect();
    if types.iter().all(|ty| matches!(ty, Type::List(_)))
        && let Some(common) = unify(&types)
    {
        return convert(&Value::tuple(items), &common);
    }
    Ok(Value::tuple(items))
}

fn chunklist(args: &Args<'_>) -> Outcome<Value> {
    let (items, length) = (args.items(0)?, args.int(1)?);
    let length = usize::try_from(length)
        .map_err(|_| Fault::new("the length of a chunk can't be negative"))?;
    let element = element(args.value(0));
    let length = if length == 0 {
        items.len().max(1)
    } else {
        length
    };
    let chunks = items
        .chunks(length)
        .map(|chunk| Value::list(element.clone(), chunk.to_vec()))
        .collect();
    Ok(Value::list(Type::List(Box::new(element)), chunks))
}

fn flatten(items: &[Value], flat: &mut Vec<Value>) {
    for item in items {
        match item.items() {
            Some(inner) => flatten(inner, flat),
            None => flat.push(item.clone()),
        }
    }
}

fn slice(args: &Args<'_>) -> Outcome<Value> {
    let items = args.items(0)?;
    let bounds = (usize::try_from(args.int(1)?), usize::try_from(args.int(2)?));
    let (Ok(start), Ok(end)) = bounds else {
        return Err(Fault::new("the bounds can't be negative"));
    };
    if start > end || end > items.len() {
        return Err(Fault::new(format!(
            "the bounds {start} and {end} are not within {}",
            items.len()
        )));
    }
    Ok(match args.value(0) {
        Value::Tuple(_) => Value::tuple(items[start..end].to_vec()),
        Value::Set(..) => return Err(Fault::new("a set has no order to slice")),
        other => Value::list(element(other), items[start..end].to_vec()),
    })
}

/// Longer ranges are refused.
const MAX_RANGE: usize = 1024;

fn range(args: &Args<'_>) -> Outcome<Value> {
    let zero = Number::from_int(0);
    let (start, end, step) = match args.all().len() {
        1 => (zero.clone(), args.number(0), None),
        2 => (args.number(0), args.number(1), None),
        3 => (args.number(0), args.number(1), Some(args.number(2))),
        _ => return Err(Fault::new("one, two or three numbers are required")),
    };
    let down = end.order(&start).is_lt();
    let step = step.unwrap_or_else(|| Number::from_int(if down { -1 } else { 1 }));
    if step.is_zero() {
        return Err(Fault::new("the step can't be zero"));
    }
    if step.is_negative() != down && !end.order(&start).is_eq() {
        return Err(Fault::new("the step leads away from the end"));
    }
    let mut numbers = Vec::new();
    let mut number = start;
    while if down {
        number.order(&end).is_gt()
    } else {
        number.order(&end).is_lt()
    } {
        if numbers.len() >= MAX_RANGE {
            return Err(Fault::new(format!("more than {MAX_RANGE} values")));
        }
        let Some(next) = number.add(&step) else { break };
        numbers.push(Value::Number(std::mem::replace(&mut number, next)));
    }
    Ok(Value::list(Type::Number, numbers))
}
