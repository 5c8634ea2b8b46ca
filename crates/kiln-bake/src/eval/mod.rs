//! Expressions to values.
//!
//! Names are resolved when they are met, by the [`World`] around the expression, so declarations may
//! stand in any order. Work and depth are budgeted: no file can make this run long or grow large.

mod collections;
mod free;
mod operators;
mod scope;
mod template;
pub(crate) mod typeexpr;

pub(crate) use collections::index;
pub(crate) use free::free;
pub(crate) use operators::truth;
pub(crate) use scope::{Budget, MAX_TEXT, Scope, World};

use crate::functions;
use crate::source::{Fault, Outcome, Span, did_you_mean};
use crate::syntax::ast::{Expr, Kind};
use crate::value::{Type, Value, convert, unify};

/// The value of an expression.
pub(crate) fn eval(world: &dyn World, scope: &Scope<'_>, expr: &Expr) -> Outcome<Value> {
    world.budget().enter(expr.span)?;
    let result = kind(world, scope, expr);
    world.budget().leave();
    let value = result.map_err(|fault| fault.or_at(expr.span))?;
    let Some(weight) = value.measure(0) else {
        return Err(Fault::limit("this value is nested too deep").or_at(expr.span));
    };
    world
        .budget()
        .charge(weight)
        .map_err(|fault| fault.or_at(expr.span))?;
    Ok(value)
}

fn kind(world: &dyn World, scope: &Scope<'_>, expr: &Expr) -> Outcome<Value> {
    match &expr.kind {
        Kind::Literal(value) => Ok(value.clone()),
        Kind::Template(parts) => template::render(world, scope, parts),
        Kind::Wrap(inner) => eval(world, scope, inner),
        Kind::Variable(name) => variable(world, scope, name, expr.span),
        Kind::Attr(source, name) => attribute(world, scope, source, name),
        Kind::Index(source, key) => {
            let source = eval(world, scope, source)?;
            let index = eval(world, scope, key)?;
            collections::index(&source, &index).map_err(|fault| fault.or_at(key.span))
        }
        Kind::Splat(source, each) => collections::splat(world, scope, source, each),
        Kind::Each => scope
            .each()
            .cloned()
            .ok_or_else(|| Fault::new("no splat around this")),
        Kind::Call {
            name,
            name_span,
            args,
            spread,
        } => call(world, scope, (name, *name_span), (args, *spread)),
        Kind::Negate(inner) => operators::negate(&eval(world, scope, inner)?),
        Kind::Not(inner) => operators::not(&eval(world, scope, inner)?),
        Kind::Binary(operator, left, right) => {
            operators::binary(world, scope, *operator, (left, right))
        }
        Kind::Conditional(condition, yes, no) => conditional(world, scope, condition, (yes, no)),
        Kind::Tuple(items) => {
            let items = items
                .iter()
                .map(|item| eval(world, scope, item))
                .collect::<Outcome<_>>()?;
            Ok(Value::tuple(items))
        }
        Kind::Object(entries) => collections::object(world, scope, entries),
        Kind::For(each) => collections::for_expression(world, scope, each),
    }
}

fn variable(world: &dyn World, scope: &Scope<'_>, name: &str, span: Span) -> Outcome<Value> {
    if let Some(value) = scope.find(name) {
        return Ok(value.clone());
    }
    if world.is_block(name) {
        return Err(Fault::at(
            span,
            format!("`{name}` is no value by itself: write `{name}.NAME.ATTRIBUTE`"),
        ));
    }
    match world.variable(name)? {
        Some(value) => Ok(value),
        None => {
            let names = world.variable_names();
            let names = names.iter().map(String::as_str).chain(scope.names());
            Err(Fault::at(span, format!("unknown variable `{name}`"))
                .hint(did_you_mean(name, names)))
        }
    }
}

/// `kind`, where the expression is the name of a kind of blocks.
fn block_kind<'a>(world: &dyn World, scope: &Scope<'_>, expr: &'a Expr) -> Option<&'a str> {
    expr.keyword()
        .filter(|name| scope.find(name).is_none() && world.is_block(name))
}

fn attribute(world: &dyn World, scope: &Scope<'_>, source: &Expr, name: &str) -> Outcome<Value> {
    if let Kind::Attr(root, block) = &source.kind
        && let Some(kind) = block_kind(world, scope, root)
    {
        return world.block(kind, block, Some(name));
    }
    if let Some(kind) = block_kind(world, scope, source) {
        return world.block(kind, name, None);
    }
    let source = eval(world, scope, source)?;
    collections::attribute(&source, name)
}

fn conditional(
    world: &dyn World,
    scope: &Scope<'_>,
    condition: &Expr,
    branches: (&Expr, &Expr),
) -> Outcome<Value> {
    let chosen = eval(world, scope, condition)?;
    let chosen = operators::truth(&chosen).map_err(|fault| fault.or_at(condition.span))?;
    let (taken, other) = if chosen {
        branches
    } else {
        (branches.1, branches.0)
    };
    let value = eval(world, scope, taken)?;
    // The other branch counts for the type only; what is wrong in it doesn't matter.
    let other = match eval(world, scope, other) {
        Ok(other) => other,
        Err(fault) if fault.fatal => return Err(fault),
        Err(_) => return Ok(value),
    };
    if matches!(other, Value::Null(Type::Dynamic)) {
        return Ok(value);
    }
    if matches!(value, Value::Null(Type::Dynamic)) {
        return Ok(Value::Null(other.ty()));
    }
    let types = [value.ty(), other.ty()];
    let Some(common) = unify(&types) else {
        return Err(Fault::new(format!(
            "the two results of the condition have no type in common: {} and {}",
            types[usize::from(!chosen)],
            types[usize::from(chosen)]
        )));
    };
    convert(&value, &common)
}

fn call(
    world: &dyn World,
    scope: &Scope<'_>,
    name: (&str, Span),
    (args, spread): (&[Expr], bool),
) -> Outcome<Value> {
    let (name, name_span) = name;
    match name {
        "try" | "can" => return attempt(world, scope, name, args),
        "convert" => {
            let [value, ty] = args else {
                return Err(Fault::new("`convert` wants a value and a type"));
            };
            return convert(&eval(world, scope, value)?, &typeexpr::read(ty)?)
                .map_err(|fault| fault.or_at(value.span));
        }
        _ => {}
    }
    let known = functions::find(name).is_some() || world.has_function(name);
    if !known {
        let names = functions::names()
            .map(str::to_owned)
            .chain(world.function_names());
        let names: Vec<String> = names.collect();
        return Err(Fault::at(name_span, format!("unknown function `{name}`"))
            .hint(did_you_mean(name, names.iter().map(String::as_str))));
    }
    let mut values = Vec::with_capacity(args.len());
    let mut spans: Vec<Span> = args.iter().map(|arg| arg.span).collect();
    for (at, arg) in args.iter().enumerate() {
        let value = eval(world, scope, arg)?;
        if spread && at + 1 == args.len() {
            let Some(items) = value.items() else {
                return Err(Fault::at(
                    arg.span,
                    "only lists, sets and tuples can be spread with `...`",
                ));
            };
            spans.resize(at + items.len(), arg.span);
            values.extend_from_slice(items);
        } else {
            values.push(value);
        }
    }
    match functions::find(name) {
        Some(function) => functions::call(world, function, &values, &spans),
        None => world.call(name, values),
    }
}

fn attempt(world: &dyn World, scope: &Scope<'_>, name: &str, args: &[Expr]) -> Outcome<Value> {
    let mut last = Fault::new(format!("`{name}` wants an argument"));
    if name == "can" && args.len() != 1 {
        return Err(Fault::new("`can` wants one argument"));
    }
    for arg in args {
        match eval(world, scope, arg) {
            Err(fault) if fault.fatal => return Err(fault),
            Ok(_) if name == "can" => return Ok(Value::Bool(true)),
            Err(_) if name == "can" => return Ok(Value::Bool(false)),
            Ok(value) => return Ok(value),
            Err(fault) => last = fault,
        }
    }
    if args.is_empty() {
        Err(last)
    } else {
        Err(last.context("no expression of `try` succeeded"))
    }
}
