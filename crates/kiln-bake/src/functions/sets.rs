//! Sets.

use super::{Args, Function, entry};
use crate::source::{Fault, Outcome};
use crate::value::{Type, Value, convert, unify};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("sethaselement", "Ea", |args| {
        let wanted = match args.value(0) {
            Value::Set(element, _) => convert(args.value(1), element)?,
            _ => args.value(1).clone(),
        };
        Ok(Value::Bool(has(args.items(0)?, &wanted)))
    }),
    entry("setunion", "E*E", |args| {
        combine(args, |one, other| [one, other].concat())
    }),
    entry("setintersection", "E*E", |args| {
        combine(args, |one, other| {
            one.iter()
                .filter(|item| has(other, item))
                .cloned()
                .collect()
        })
    }),
    entry("setsubtract", "EE", |args| {
        combine(args, |one, other| {
            one.iter()
                .filter(|item| !has(other, item))
                .cloned()
                .collect()
        })
    }),
    entry("setsymmetricdifference", "E*E", |args| {
        combine(args, |one, other| {
            let left = one.iter().filter(|item| !has(other, item));
            left.chain(other.iter().filter(|item| !has(one, item)))
                .cloned()
                .collect()
        })
    }),
    entry("setproduct", "*a", product),
];

fn has(items: &[Value], wanted: &Value) -> bool {
    items.iter().any(|item| item.equals(wanted))
}

fn combine(args: &Args<'_>, join: fn(&[Value], &[Value]) -> Vec<Value>) -> Outcome<Value> {
    let types: Vec<Type> = args
        .all()
        .iter()
        .filter_map(|set| match set {
            Value::Set(element, items) if !items.is_empty() || *element != Type::Dynamic => {
                Some(element.clone())
            }
            _ => None,
        })
        .collect();
    let element = if types.is_empty() {
        Some(Type::Dynamic)
    } else {
        unify(&types)
    };
    let Some(element) = element else {
        return Err(Fault::new("the sets have no type of elements in common"));
    };
    let mut result: Option<Vec<Value>> = None;
    for at in 0..args.all().len() {
        let items: Vec<Value> = args
            .items(at)?
            .iter()
            .map(|item| convert(item, &element))
            .collect::<Outcome<_>>()?;
        args.charge(
            items
                .len()
                .saturating_mul(result.as_ref().map_or(1, Vec::len)),
        )?;
        result = Some(match result {
            Some(before) => join(&before, &items),
            None => items,
        });
    }
    Ok(Value::set(element, result.unwrap_or_default()))
}

fn product(args: &Args<'_>) -> Outcome<Value> {
    if args.all().len() < 2 {
        return Err(Fault::new("at least two lists are required"));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut types = Vec::new();
    for at in 0..args.all().len() {
        let items = args.items(at)?;
        args.charge(
            rows.len()
                .saturating_mul(items.len())
                .saturating_mul(at + 1),
        )?;
        let column: Vec<Type> = items.iter().map(Value::ty).collect();
        types.push(if column.is_empty() {
            Type::Dynamic
        } else {
            unify(&column).unwrap_or(Type::Dynamic)
        });
        rows = rows
            .iter()
            .flat_map(|row| {
                items
                    .iter()
                    .map(move |item| row.iter().chain([item]).cloned().collect())
            })
            .collect();
    }
    let element = Type::Tuple(types);
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|row| convert(&Value::tuple(row), &element))
        .collect::<Outcome<_>>()?;
    let sets = args
        .all()
        .iter()
        .all(|value| matches!(value, Value::Set(..)));
    Ok(if sets {
        Value::set(element, rows)
    } else {
        Value::list(element, rows)
    })
}
