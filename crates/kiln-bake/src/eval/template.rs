//! Templates to text.

use super::scope::MAX_TEXT;
use super::{Scope, World, collections, eval, operators};
use crate::source::{Fault, Outcome};
use crate::syntax::ast::{Expr, Part};
use crate::value::{Type, Value, convert};

pub(super) fn render(world: &dyn World, scope: &Scope<'_>, parts: &[Part]) -> Outcome<Value> {
    let mut out = String::new();
    write(world, scope, parts, &mut out)?;
    Ok(Value::text(&out))
}

fn write(world: &dyn World, scope: &Scope<'_>, parts: &[Part], out: &mut String) -> Outcome<()> {
    for part in parts {
        if out.len() > MAX_TEXT {
            return Err(Fault::limit(format!(
                "this text is longer than {MAX_TEXT} bytes"
            )));
        }
        match part {
            Part::Literal(text) => {
                world.budget().charge(1 + text.len() as u64 / 32)?;
                out.push_str(text);
            }
            Part::Hole(expr) => hole(world, scope, expr, out)?,
            Part::If(condition, yes, no) => {
                let chosen = eval(world, scope, condition)?;
                let chosen =
                    operators::truth(&chosen).map_err(|fault| fault.or_at(condition.span))?;
                write(world, scope, if chosen { yes } else { no }, out)?;
            }
            Part::For {
                key,
                value,
                collection,
                body,
            } => {
                let source = eval(world, scope, collection)?;
                for (each_key, each) in
                    collections::pairs(&source).map_err(|fault| fault.or_at(collection.span))?
                {
                    let mut names = vec![(value.clone(), each)];
                    names.extend(key.iter().map(|key| (key.clone(), each_key.clone())));
                    write(world, &scope.with(&names), body, out)?;
                }
            }
        }
    }
    Ok(())
}

fn hole(world: &dyn World, scope: &Scope<'_>, expr: &Expr, out: &mut String) -> Outcome<()> {
    let value = eval(world, scope, expr)?;
    let text = convert(&value, &Type::String).map_err(|fault| fault.or_at(expr.span))?;
    match text.as_str() {
        Some(text) => {
            out.push_str(text);
            Ok(())
        }
        None => Err(Fault::at(expr.span, "null can't be part of a text")),
    }
}
