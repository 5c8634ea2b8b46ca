//! What an expression refers to, without evaluating it.

use std::collections::BTreeMap;

use crate::source::Span;
use crate::syntax::ast::{Expr, Kind, Part};

/// Names that an expression doesn't bind itself.
#[derive(Debug, Default)]
pub(crate) struct Free {
    pub(crate) variables: BTreeMap<String, Span>,
    pub(crate) functions: BTreeMap<String, Span>,
}

/// What `expr` refers to, apart from `bound`.
pub(crate) fn free(expr: &Expr, bound: &[String]) -> Free {
    let mut free = Free::default();
    walk(expr, bound, &mut free);
    free
}

fn walk(expr: &Expr, bound: &[String], free: &mut Free) {
    match &expr.kind {
        Kind::Variable(name) if !bound.contains(name) => {
            free.variables.entry(name.clone()).or_insert(expr.span);
        }
        Kind::Call {
            name,
            name_span,
            args,
            ..
        } => {
            free.functions.entry(name.clone()).or_insert(*name_span);
            // A type is not an expression of values.
            let args = if name == "convert" {
                &args[..args.len().min(1)]
            } else {
                args
            };
            for arg in args {
                walk(arg, bound, free);
            }
        }
        Kind::For(each) => {
            walk(&each.collection, bound, free);
            let mut bound = bound.to_vec();
            bound.push(each.value.clone());
            bound.extend(each.key.clone());
            for inner in each
                .entry_key
                .iter()
                .chain([&each.entry])
                .chain(&each.condition)
            {
                walk(inner, &bound, free);
            }
        }
        Kind::Template(parts) => parts.iter().for_each(|each| part(each, bound, free)),
        _ => expr.children(&mut |child| walk(child, bound, free)),
    }
}

fn part(each: &Part, bound: &[String], free: &mut Free) {
    match each {
        Part::Literal(_) => {}
        Part::Hole(expr) => walk(expr, bound, free),
        Part::If(condition, yes, no) => {
            walk(condition, bound, free);
            yes.iter()
                .chain(no)
                .for_each(|inner| part(inner, bound, free));
        }
        Part::For {
            key,
            value,
            collection,
            body,
        } => {
            walk(collection, bound, free);
            let mut bound = bound.to_vec();
            bound.push(value.clone());
            bound.extend(key.clone());
            for inner in body {
                part(inner, &bound, free);
            }
        }
    }
}
