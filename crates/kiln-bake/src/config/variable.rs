//! Variables: default, type, validation, and what the outside sets.

use std::collections::BTreeMap;

use super::world::Program;
use crate::csv;
use crate::entry::parse_bool;
use crate::eval::{Scope, eval, truth, typeexpr};
use crate::source::{Fault, Outcome, did_you_mean};
use crate::syntax::ast::{Block, Expr};
use crate::value::{Number, Type, Value, convert, convert_or, json};

/// A declared variable.
#[derive(Debug)]
pub(crate) struct VariableBlock<'a> {
    pub(super) block: &'a Block,
    pub(super) default: Option<&'a Expr>,
    /// The declared type; `any` counts.
    pub(super) ty: Option<Type>,
    /// Conditions and messages.
    validations: Vec<(&'a Expr, &'a Expr)>,
}

const ATTRIBUTES: [&str; 3] = ["default", "description", "type"];

impl<'a> VariableBlock<'a> {
    pub(super) fn new(block: &'a Block) -> Outcome<Self> {
        for attribute in &block.body.attributes {
            if !ATTRIBUTES.contains(&attribute.name.as_str()) {
                let hint = did_you_mean(&attribute.name, ATTRIBUTES);
                return Err(Fault::at(
                    attribute.name_span,
                    format!("a variable has no `{}`", attribute.name),
                )
                .hint(hint));
            }
        }
        let mut validations = Vec::new();
        for inner in &block.body.blocks {
            if inner.kind != "validation" {
                let hint = did_you_mean(&inner.kind, ["validation"]);
                return Err(Fault::at(
                    inner.kind_span,
                    format!("a variable has no block `{}`", inner.kind),
                )
                .hint(hint));
            }
            let part = |name: &str| {
                inner
                    .body
                    .attribute(name)
                    .map(|attribute| &attribute.expr)
                    .ok_or_else(|| {
                        Fault::at(inner.kind_span, format!("a validation wants `{name}`"))
                    })
            };
            validations.push((part("condition")?, part("error_message")?));
        }
        let ty = match block.body.attribute("type") {
            Some(attribute) => Some(typeexpr::read(&attribute.expr)?),
            None => None,
        };
        let default = block
            .body
            .attribute("default")
            .map(|attribute| &attribute.expr);
        Ok(Self {
            block,
            default,
            ty,
            validations,
        })
    }

    /// The value: what the outside sets, or the default.
    pub(super) fn value(&self, program: &Program<'_>, name: &str) -> Outcome<Value> {
        let (text, from_json) = self.outside(program, name);
        if self.default.is_none() && text.is_none() {
            return Ok(self.ty.clone().map_or_else(|| Value::text(""), Value::Null));
        }
        let mut value = Value::text("");
        if let Some(default) = self.default {
            value = eval(program, &Scope::default(), default)?;
            if let Some(ty) = &self.ty {
                value = convert_or(&value, ty, &format!("default of `{name}`"))
                    .map_err(|fault| fault.or_at(default.span))?;
            }
        }
        let Some(text) = text else { return Ok(value) };
        let set = match &self.ty {
            Some(ty) if from_json => json::decode(&text).and_then(|value| convert(&value, ty)),
            Some(ty @ (Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Map(_))) => {
                from_csv(&text, ty)
            }
            Some(ty) if ty.is_primitive() => primitive(&text, ty),
            Some(Type::Dynamic) => Ok(Value::text(&text)),
            Some(ty) => Err(Fault::new(format!(
                "an {ty} can only be given as JSON, in `{name}_JSON`"
            ))),
            None if self.default.is_none() || value.is_null() => Ok(Value::text(&text)),
            None if value.ty().is_primitive() => primitive(&text, &value.ty()),
            None => Err(
                Fault::new(format!("a value of {} can't be given as text", value.ty()))
                    .hint(Some(format!("declare the `type` of `{name}`"))),
            ),
        };
        set.map_err(|fault| {
            fault
                .context(&format!("value given for `{name}`"))
                .or_at(self.block.kind_span)
        })
    }

    /// The text that the outside sets, and whether it is JSON.
    fn outside(&self, program: &Program<'_>, name: &str) -> (Option<String>, bool) {
        let plain = program.input.lookup(name);
        if plain.is_none() || self.ty.is_some() {
            let json_name = format!("{name}_JSON");
            if !program.is_variable(&json_name)
                && let Some(text) = program.input.lookup(&json_name)
            {
                return (Some(text.to_owned()), true);
            }
        }
        (plain.map(str::to_owned), false)
    }

    /// What the variable says of itself.
    pub(super) fn description(&self, program: &Program<'_>) -> Outcome<String> {
        let Some(attribute) = self.block.body.attribute("description") else {
            return Ok(String::new());
        };
        let value = eval(program, &Scope::default(), &attribute.expr)?;
        let value =
            convert(&value, &Type::String).map_err(|fault| fault.or_at(attribute.expr.span))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Whether all conditions hold.
    pub(super) fn validate(&self, program: &Program<'_>) -> Outcome<()> {
        let scope = Scope::default();
        for (condition, message) in &self.validations {
            let result = eval(program, &scope, condition)?;
            if truth(&result).map_err(|fault| fault.or_at(condition.span))? {
                continue;
            }
            let message = convert(&eval(program, &scope, message)?, &Type::String)
                .map_err(|fault| fault.or_at(message.span))?;
            let message = message
                .as_str()
                .unwrap_or("the condition does not hold")
                .to_owned();
            return Err(Fault::at(
                condition.span,
                format!("validation failed: {message}"),
            ));
        }
        Ok(())
    }

    /// The value as `--list` shows it.
    pub(super) fn show(&self, value: &Value) -> Option<String> {
        match (value, &self.ty) {
            (Value::Null(_), _) => None,
            (Value::String(text), None | Some(Type::Dynamic)) => Some(text.to_string()),
            (Value::String(_), Some(_)) => Some(json::encode(value).trim_matches('"').to_owned()),
            _ => Some(json::encode(value)),
        }
    }
}

fn primitive(text: &str, ty: &Type) -> Outcome<Value> {
    match ty {
        Type::String => Ok(Value::text(text)),
        Type::Bool => match parse_bool(text) {
            Some(value) => Ok(Value::Bool(value)),
            None => Err(Fault::new(format!("`{text}` is no bool"))),
        },
        _ => match Number::parse(text) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(Fault::new(format!("`{text}` is no number"))),
        },
    }
}

fn element(text: &str, ty: &Type) -> Outcome<Value> {
    if !ty.is_primitive() {
        return Err(Fault::new(format!(
            "elements of {ty} can only be given as JSON"
        )));
    }
    primitive(text, ty)
}

fn from_csv(text: &str, ty: &Type) -> Outcome<Value> {
    let fields = csv::fields(text)?;
    match ty {
        Type::List(inner) | Type::Set(inner) => {
            let items: Vec<Value> = fields
                .iter()
                .map(|field| element(field, inner))
                .collect::<Outcome<_>>()?;
            convert(&Value::tuple(items), ty)
        }
        Type::Tuple(types) if types.len() == fields.len() => {
            let items = fields
                .iter()
                .zip(types)
                .map(|(field, ty)| element(field, ty));
            Ok(Value::tuple(items.collect::<Outcome<_>>()?))
        }
        Type::Tuple(types) => Err(Fault::new(format!(
            "{} elements are wanted, not {}",
            types.len(),
            fields.len()
        ))),
        Type::Map(inner) => {
            let mut entries = BTreeMap::new();
            for field in &fields {
                let Some((key, value)) = field.split_once(':') else {
                    return Err(Fault::new(format!("`{field}` is not `key:value`")));
                };
                entries.insert(key.to_owned(), element(value, inner)?);
            }
            Ok(Value::map((**inner).clone(), entries))
        }
        _ => Err(Fault::new(format!(
            "{ty} can't be given as a list of fields"
        ))),
    }
}
