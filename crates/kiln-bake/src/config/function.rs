//! Functions that a file declares.

use crate::source::{Fault, Outcome, Span, did_you_mean};
use crate::syntax::ast::{Block, Expr, Kind};
use crate::value::Value;

/// A declared function.
pub(super) struct Function<'a> {
    pub(super) params: Vec<String>,
    pub(super) variadic: Option<String>,
    pub(super) result: &'a Expr,
    pub(super) span: Span,
}

impl<'a> Function<'a> {
    /// Reads the block of a function.
    pub(super) fn new(block: &'a Block) -> Outcome<Self> {
        const ATTRIBUTES: [&str; 3] = ["params", "variadic_params", "result"];
        let span = block
            .labels
            .first()
            .map_or(block.kind_span, |(_, span)| *span);
        for attribute in &block.body.attributes {
            if !ATTRIBUTES.contains(&attribute.name.as_str()) {
                return Err(Fault::at(
                    attribute.name_span,
                    format!("a function has no `{}`", attribute.name),
                )
                .hint(did_you_mean(&attribute.name, ATTRIBUTES)));
            }
        }
        if let Some(inner) = block.body.blocks.first() {
            return Err(Fault::at(
                inner.kind_span,
                format!("a function has no block `{}`", inner.kind),
            ));
        }
        let wanted = |name: &str| {
            let found = block.body.attribute(name).map(|attribute| &attribute.expr);
            found.ok_or_else(|| Fault::at(span, format!("a function wants `{name}`")))
        };
        let params = match &wanted("params")?.kind {
            Kind::Tuple(items) => items.iter().map(parameter).collect::<Outcome<_>>()?,
            _ => {
                return Err(Fault::at(
                    wanted("params")?.span,
                    "`params` is a list of names",
                ));
            }
        };
        let variadic = block
            .body
            .attribute("variadic_params")
            .map(|attribute| parameter(&attribute.expr))
            .transpose()?;
        Ok(Self {
            params,
            variadic,
            result: wanted("result")?,
            span,
        })
    }
}

fn parameter(expr: &Expr) -> Outcome<String> {
    match &expr.kind {
        Kind::Variable(name) => Ok(name.clone()),
        Kind::Literal(Value::String(name)) => Ok(name.to_string()),
        _ => Err(Fault::at(expr.span, "a parameter is a name")),
    }
}
