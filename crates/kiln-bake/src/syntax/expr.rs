//! Expressions: operators and their precedence, collections and `for`.

use crate::source::Outcome;
use crate::syntax::ast::{Expr, For, Kind, Operator};
use crate::syntax::cursor::{Cursor, Origin};
use crate::syntax::postfix::postfix;
use crate::value::Value;

/// Reads a text that is one expression.
pub(crate) fn parse(text: &str, origin: Origin) -> Outcome<Expr> {
    let mut cursor = Cursor::new(text, origin);
    cursor.brackets = 1;
    let expr = expression(&mut cursor)?;
    cursor.space()?;
    if cursor.at < text.len() {
        return Err(cursor.unexpected("expected the end of the expression"));
    }
    Ok(expr)
}

/// Reads an expression.
pub(crate) fn expression(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    cursor.nested(|cursor| {
        cursor.space()?;
        let start = cursor.at;
        let condition = binary(cursor, 0)?;
        cursor.space()?;
        if !cursor.eat("?") {
            return Ok(condition);
        }
        let yes = expression(cursor)?;
        cursor.space()?;
        cursor.expect(":", "between the two results of the condition")?;
        let no = expression(cursor)?;
        cursor.node(
            start,
            Kind::Conditional(Box::new(condition), Box::new(yes), Box::new(no)),
        )
    })
}

/// Runs `read` where ends of lines don't count.
pub(crate) fn bracketed<T>(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&mut Cursor<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let before = std::mem::replace(&mut cursor.brackets, 1);
    let result = read(cursor);
    cursor.brackets = before;
    result
}

/// Operators from the loosest to the tightest.
const OPERATORS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::NotEqual)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Modulo),
    ],
];

fn binary(cursor: &mut Cursor<'_>, level: usize) -> Outcome<Expr> {
    let mut left = unary(cursor)?;
    'more: loop {
        cursor.space()?;
        for (rank, operators) in OPERATORS.iter().enumerate().skip(level) {
            let Some(&(word, operator)) = operators
                .iter()
                .find(|(word, _)| cursor.rest().starts_with(word))
            else {
                continue;
            };
            cursor.at += word.len();
            cursor.space()?;
            let right = cursor.nested(|cursor| binary(cursor, rank + 1))?;
            let span = left.span;
            left = cursor.node(
                cursor.at,
                Kind::Binary(operator, Box::new(left), Box::new(right)),
            )?;
            left.span = span.to(left.span);
            continue 'more;
        }
        return Ok(left);
    }
}

fn unary(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    cursor.nested(|cursor| {
        cursor.space()?;
        let start = cursor.at;
        if cursor.eat("-") {
            let inner = unary(cursor)?;
            cursor.node(start, Kind::Negate(Box::new(inner)))
        } else if cursor.rest().starts_with('!') && !cursor.rest().starts_with("!=") {
            cursor.at += 1;
            let inner = unary(cursor)?;
            cursor.node(start, Kind::Not(Box::new(inner)))
        } else {
            postfix(cursor)
        }
    })
}

/// Reads `[…]`, the bracket being next.
pub(crate) fn tuple(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    cursor.at += 1;
    bracketed(cursor, |cursor| {
        cursor.space()?;
        if cursor.keyword("for") {
            return for_expression(cursor, start, "]");
        }
        let mut list = Vec::new();
        loop {
            cursor.space()?;
            if cursor.eat("]") {
                return cursor.node(start, Kind::Tuple(list));
            }
            list.push(expression(cursor)?);
            cursor.space()?;
            if !cursor.eat(",") && !cursor.rest().starts_with(']') {
                return Err(cursor.unexpected("expected `,` or `]` after an item of the list"));
            }
        }
    })
}

/// Reads `{…}`, the brace being next.
pub(crate) fn object(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    cursor.at += 1;
    cursor.lines()?;
    if cursor.keyword("for") {
        if !cursor.rest().trim_start().starts_with(['=', ':']) {
            return bracketed(cursor, |cursor| for_expression(cursor, start, "}"));
        }
        cursor.at -= "for".len();
    }
    let before = std::mem::replace(&mut cursor.brackets, 0);
    let result = entries(cursor, start);
    cursor.brackets = before;
    result
}

fn entries(cursor: &mut Cursor<'_>, start: usize) -> Outcome<Expr> {
    let mut list = Vec::new();
    loop {
        cursor.lines()?;
        if cursor.eat("}") {
            return cursor.node(start, Kind::Object(list));
        }
        let key = object_key(cursor)?;
        cursor.lines()?;
        if !cursor.eat("=") && !cursor.eat(":") {
            return Err(cursor.unexpected("expected `=` after a key of the map"));
        }
        cursor.lines()?;
        let value = expression(cursor)?;
        list.push((key, value));
        cursor.space()?;
        if !cursor.eat(",") && !cursor.rest().starts_with(['\n', '}']) {
            return Err(
                cursor.unexpected("expected `,`, a new line or `}` after an entry of the map")
            );
        }
    }
}

/// A bare word is its own name there.
fn object_key(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    if let Some((name, _)) = cursor.identifier() {
        let end = cursor.at;
        cursor.space()?;
        if cursor.rest().starts_with(['=', ':', '\n']) {
            cursor.at = end;
            return cursor.node(start, Kind::Literal(Value::text(name)));
        }
        cursor.at = start;
    }
    expression(cursor)
}

fn for_expression(cursor: &mut Cursor<'_>, start: usize, close: &str) -> Outcome<Expr> {
    let (key, value, collection) = for_head(cursor)?;
    cursor.space()?;
    cursor.expect(":", "after the collection of `for`")?;
    let mut entry = expression(cursor)?;
    let mut entry_key = None;
    let mut group = false;
    cursor.space()?;
    if close == "}" {
        cursor.expect("=>", "after the key of an entry")?;
        entry_key = Some(std::mem::replace(&mut entry, expression(cursor)?));
        cursor.space()?;
        group = cursor.eat("...");
        cursor.space()?;
    }
    let condition = if cursor.keyword("if") {
        Some(expression(cursor)?)
    } else {
        None
    };
    cursor.space()?;
    cursor.expect(close, "at the end of `for`")?;
    let each = For {
        key,
        value,
        collection,
        entry_key,
        entry,
        condition,
        group,
    };
    cursor.node(start, Kind::For(Box::new(each)))
}

/// Reads `key, value in collection`, after the word `for`.
pub(crate) fn for_head(cursor: &mut Cursor<'_>) -> Outcome<(Option<String>, String, Expr)> {
    cursor.space()?;
    let Some((first, _)) = cursor.identifier() else {
        return Err(cursor.unexpected("expected a name after `for`"));
    };
    let (mut key, mut value) = (None, first.to_owned());
    cursor.space()?;
    if cursor.eat(",") {
        cursor.space()?;
        let Some((second, _)) = cursor.identifier() else {
            return Err(cursor.unexpected("expected a second name after `for`"));
        };
        key = Some(std::mem::replace(&mut value, second.to_owned()));
        cursor.space()?;
    }
    if !cursor.keyword("in") {
        return Err(cursor.unexpected("expected `in` after the names of `for`"));
    }
    Ok((key, value, expression(cursor)?))
}
