//! Types as they are written: `string`, `list(number)`, `object({ a = optional(string) })`.

use std::collections::BTreeMap;

use crate::source::{Fault, Outcome, did_you_mean};
use crate::syntax::ast::{Expr, Kind};
use crate::syntax::{cursor::Origin, expr};
use crate::value::{Type, Value};

const NAMES: [&str; 9] = [
    "string", "number", "bool", "any", "list", "set", "map", "object", "tuple",
];

/// The type that an expression names.
pub(crate) fn read(expr: &Expr) -> Outcome<Type> {
    match &expr.kind {
        Kind::Variable(name) => match name.as_str() {
            "string" => Ok(Type::String),
            "number" => Ok(Type::Number),
            "bool" => Ok(Type::Bool),
            "any" => Ok(Type::Dynamic),
            "list" | "set" | "map" => Err(Fault::at(
                expr.span,
                format!("`{name}` wants the type of its elements"),
            )
            .hint(Some(format!("write `{name}(string)`")))),
            _ => unknown(expr, name),
        },
        // Types in the JSON spelling are texts.
        Kind::Literal(Value::String(text)) => read(&expr::parse(text, Origin::Within(expr.span))?),
        Kind::Wrap(inner) => read(inner),
        Kind::Call { name, args, .. } => constructor(expr, name, args),
        _ => Err(Fault::at(
            expr.span,
            "a type is required, such as `string` or `list(string)`",
        )),
    }
}

fn unknown<T>(expr: &Expr, name: &str) -> Outcome<T> {
    Err(Fault::at(expr.span, format!("unknown type `{name}`")).hint(did_you_mean(name, NAMES)))
}

fn constructor(expr: &Expr, name: &str, args: &[Expr]) -> Outcome<Type> {
    if !["list", "set", "map", "tuple", "object"].contains(&name) {
        return unknown(expr, name);
    }
    let [arg] = args else {
        return Err(Fault::at(expr.span, format!("`{name}` wants one argument")));
    };
    match (name, &arg.kind) {
        ("list", _) => Ok(Type::List(Box::new(read(arg)?))),
        ("set", _) => Ok(Type::Set(Box::new(read(arg)?))),
        ("map", _) => Ok(Type::Map(Box::new(read(arg)?))),
        ("tuple", Kind::Tuple(items)) => {
            Ok(Type::Tuple(items.iter().map(read).collect::<Outcome<_>>()?))
        }
        ("object", Kind::Object(entries)) => {
            let attributes = entries.iter().map(|(key, ty)| attribute(key, ty));
            Ok(Type::Object(
                attributes.collect::<Outcome<BTreeMap<_, _>>>()?,
            ))
        }
        ("tuple", _) => Err(Fault::at(arg.span, "`tuple` wants a list of types")),
        _ => Err(Fault::at(
            arg.span,
            "`object` wants a map of names and types",
        )),
    }
}

fn attribute(key: &Expr, ty: &Expr) -> Outcome<(String, (Type, bool))> {
    let Kind::Literal(Value::String(name)) = &key.kind else {
        return Err(Fault::at(key.span, "a name is required"));
    };
    let name = name.to_string();
    match &ty.kind {
        Kind::Call {
            name: word, args, ..
        } if word == "optional" => match args.as_slice() {
            [inner] => Ok((name, (read(inner)?, true))),
            _ => Err(Fault::at(ty.span, "`optional` wants one type")),
        },
        _ => Ok((name, (read(ty)?, false))),
    }
}
