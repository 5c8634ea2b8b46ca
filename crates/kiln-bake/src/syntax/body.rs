//! Attributes and blocks of the native spelling.

use crate::source::{Fault, Outcome};
use crate::syntax::ast::{Attribute, Block, Body};
use crate::syntax::cursor::{Cursor, Origin};
use crate::syntax::expr::expression;
use crate::syntax::template::quoted_literal;

/// Attributes of one body.
pub(super) const MAX_ATTRIBUTES: usize = 10_000;

/// Reads a file in the native spelling.
pub(crate) fn parse(text: &str, file: usize) -> Outcome<Body> {
    let start = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let mut cursor = Cursor::new(text, Origin::Exact { file, offset: 0 });
    cursor.at = start;
    let body = body(&mut cursor)?;
    if cursor.at < text.len() {
        return Err(cursor.unexpected("expected an attribute or a block"));
    }
    Ok(body)
}

/// Reads up to a closing brace or the end.
fn body(cursor: &mut Cursor<'_>) -> Outcome<Body> {
    let mut body = Body::default();
    loop {
        cursor.lines()?;
        if cursor.peek().is_none_or(|ch| ch == '}') {
            return Ok(body);
        }
        let Some((name, name_span)) = cursor.identifier() else {
            return Err(cursor.unexpected("expected an attribute or a block"));
        };
        cursor.space()?;
        if cursor.rest().starts_with('=') && !cursor.rest().starts_with("==") {
            cursor.at += 1;
            let expr = expression(cursor)?;
            if body.attribute(name).is_some() {
                return Err(Fault::at(
                    name_span,
                    format!("attribute `{name}` is set twice"),
                ));
            }
            if body.attributes.len() >= MAX_ATTRIBUTES {
                return Err(Fault::at(
                    name_span,
                    format!("more than {MAX_ATTRIBUTES} attributes in one place"),
                ));
            }
            body.attributes.push(Attribute {
                name: name.to_owned(),
                name_span,
                expr,
            });
        } else {
            let block = block(cursor, name.to_owned(), name_span)?;
            body.blocks.push(block);
        }
        end_of_line(cursor, name)?;
    }
}

fn end_of_line(cursor: &mut Cursor<'_>, name: &str) -> Outcome<()> {
    cursor.space()?;
    match cursor.peek() {
        None | Some('\n' | '}') => Ok(()),
        Some(_) => Err(cursor.unexpected(&format!("expected a new line after `{name}`"))),
    }
}

fn block(cursor: &mut Cursor<'_>, kind: String, kind_span: crate::source::Span) -> Outcome<Block> {
    let mut labels = Vec::new();
    loop {
        cursor.space()?;
        if cursor.eat("{") {
            break;
        }
        if cursor.rest().starts_with('"') {
            labels.push(quoted_literal(cursor)?);
        } else if let Some((label, span)) = cursor.identifier() {
            labels.push((label.to_owned(), span));
        } else {
            return Err(cursor.unexpected(&format!("expected `=` or a block after `{kind}`")));
        }
    }
    let inner = cursor.nested(body)?;
    cursor.expect("}", "at the end of the block")?;
    Ok(Block {
        kind,
        kind_span,
        labels,
        body: inner,
    })
}
