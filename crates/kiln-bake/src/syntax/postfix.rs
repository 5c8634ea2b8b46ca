//! The tightest words of expressions: constants, names, calls, and what follows them.

use crate::source::{Fault, Outcome};
use crate::syntax::ast::{Expr, Kind};
use crate::syntax::cursor::Cursor;
use crate::syntax::expr::{bracketed, expression, object, tuple};
use crate::syntax::template::{heredoc, quoted};
use crate::value::{Number, Value};

/// Reads a term and its `.name`, `[index]` and splats.
pub(crate) fn postfix(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let term = term(cursor)?;
    steps(cursor, term, Steps::All)
}

/// Which steps may follow.
#[derive(Clone, Copy, PartialEq)]
enum Steps {
    All,
    /// After `.*`, only names.
    Names,
}

fn steps(cursor: &mut Cursor<'_>, mut source: Expr, which: Steps) -> Outcome<Expr> {
    loop {
        let span = source.span;
        let before = cursor.at;
        cursor.space()?;
        let rest = cursor.rest();
        let kind = if rest.starts_with("...") {
            return Ok(source);
        } else if rest.starts_with(".*") {
            cursor.at += 2;
            let inner = each(cursor, Steps::Names)?;
            Kind::Splat(Box::new(source), Box::new(inner))
        } else if rest.starts_with('.') {
            cursor.at += 1;
            Kind::Attr(Box::new(source), attribute_name(cursor)?)
        } else if rest.starts_with("[*]") && which == Steps::All {
            cursor.at += 3;
            let inner = each(cursor, Steps::All)?;
            Kind::Splat(Box::new(source), Box::new(inner))
        } else if rest.starts_with('[') && which == Steps::All {
            cursor.at += 1;
            let key = bracketed(cursor, |cursor| {
                let key = expression(cursor)?;
                cursor.space()?;
                cursor.expect("]", "after the index")?;
                Ok(key)
            })?;
            Kind::Index(Box::new(source), Box::new(key))
        } else {
            cursor.at = before;
            return Ok(source);
        };
        source = cursor.node(cursor.at, kind)?;
        source.span = span.to(source.span);
    }
}

fn each(cursor: &mut Cursor<'_>, which: Steps) -> Outcome<Expr> {
    cursor.nested(|cursor| {
        let hole = cursor.node(cursor.at, Kind::Each)?;
        steps(cursor, hole, which)
    })
}

fn attribute_name(cursor: &mut Cursor<'_>) -> Outcome<String> {
    cursor.space()?;
    if let Some((name, _)) = cursor.identifier() {
        return Ok(name.to_owned());
    }
    let rest = cursor.rest();
    let digits = rest
        .find(|ch: char| !ch.is_ascii_digit())
        .unwrap_or(rest.len());
    if digits == 0 {
        return Err(cursor.unexpected("expected a name after `.`"));
    }
    cursor.at += digits;
    Ok(rest[..digits].to_owned())
}

fn term(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    match cursor.peek() {
        Some('(') => {
            cursor.at += 1;
            bracketed(cursor, |cursor| {
                let mut inner = expression(cursor)?;
                cursor.space()?;
                cursor.expect(")", "after the expression")?;
                // A name in parentheses is an expression, never a bare word.
                if matches!(inner.kind, Kind::Variable(_)) {
                    inner = cursor.node(start, Kind::Wrap(Box::new(inner)))?;
                }
                Ok(inner)
            })
        }
        Some('"') => quoted(cursor),
        Some('[') => tuple(cursor),
        Some('{') => object(cursor),
        Some('<') if cursor.rest().starts_with("<<") => heredoc(cursor),
        Some(ch) if ch.is_ascii_digit() => number(cursor),
        Some(_) => word(cursor),
        None => Err(cursor.unexpected("expected an expression")),
    }
}

fn word(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    let Some((name, name_span)) = cursor.identifier() else {
        return Err(cursor.unexpected("expected an expression"));
    };
    let after = cursor.at;
    cursor.space()?;
    if cursor.eat("(") {
        let (args, spread) = bracketed(cursor, arguments)?;
        return cursor.node(
            start,
            Kind::Call {
                name: name.to_owned(),
                name_span,
                args,
                spread,
            },
        );
    }
    cursor.at = after;
    cursor.node(
        start,
        match name {
            "true" => Kind::Literal(Value::Bool(true)),
            "false" => Kind::Literal(Value::Bool(false)),
            "null" => Kind::Literal(Value::null()),
            _ => Kind::Variable(name.to_owned()),
        },
    )
}

fn arguments(cursor: &mut Cursor<'_>) -> Outcome<(Vec<Expr>, bool)> {
    let mut args = Vec::new();
    loop {
        cursor.space()?;
        if cursor.eat(")") {
            return Ok((args, false));
        }
        args.push(expression(cursor)?);
        cursor.space()?;
        if cursor.eat("...") {
            cursor.space()?;
            cursor.eat(",");
            cursor.space()?;
            cursor.expect(")", "after the arguments")?;
            return Ok((args, true));
        }
        if !cursor.eat(",") && !cursor.rest().starts_with(')') {
            return Err(cursor.unexpected("expected `,` or `)` after an argument"));
        }
    }
}

fn number(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    let bytes = cursor.text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut end = digits(start);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    cursor.at = end;
    let text = &cursor.text[start..end];
    let Some(value) = Number::parse(text) else {
        return Err(Fault::at(
            cursor.span(start, end),
            format!("`{text}` is not a number"),
        ));
    };
    cursor.node(start, Kind::Literal(Value::Number(value)))
}
