//! JSON with the places of its words, and the JSON spelling of bake files.

use crate::source::{Fault, Outcome, Span};
use crate::syntax::ast::{Attribute, Block, Body, Expr, Kind};
use crate::syntax::body::MAX_ATTRIBUTES;
use crate::syntax::cursor::{Cursor, MAX_DEPTH, Origin};
use crate::syntax::template;
use crate::value::{Number, Value};

/// A JSON value; members of objects keep their order, and may repeat.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    pub(crate) kind: JsonKind,
    pub(crate) span: Span,
}

/// What a JSON value is.
#[derive(Clone, Debug)]
pub(crate) enum JsonKind {
    Null,
    Bool(bool),
    Number(Number),
    /// The text, and whether it stands in the file as it is.
    String(String, bool),
    List(Vec<Json>),
    Object(Vec<Member>),
}

/// `"name": value`.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) value: Json,
}

/// Reads one JSON document.
pub(crate) fn parse(text: &str, origin: Origin) -> Outcome<Json> {
    let mut cursor = Cursor::new(text, origin);
    cursor.eat("\u{feff}");
    let value = value(&mut cursor)?;
    blanks(&mut cursor);
    if cursor.at < text.len() {
        return Err(cursor.unexpected("expected the end of the JSON document"));
    }
    Ok(value)
}

fn blanks(cursor: &mut Cursor<'_>) {
    let rest = cursor.rest();
    cursor.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
}

fn value(cursor: &mut Cursor<'_>) -> Outcome<Json> {
    blanks(cursor);
    let start = cursor.at;
    let kind = match cursor.peek() {
        Some('{') => cursor.nested(object)?,
        Some('[') => cursor.nested(list)?,
        Some('"') => {
            let (text, exact) = string(cursor)?;
            JsonKind::String(text, exact)
        }
        Some(ch) if ch == '-' || ch.is_ascii_digit() => {
            let rest = cursor.rest();
            let end = rest
                .find(|ch: char| !(ch.is_ascii_digit() || "+-.eE".contains(ch)))
                .unwrap_or(rest.len());
            cursor.at += end;
            let Some(number) = Number::parse(&rest[..end]) else {
                let span = cursor.span(start, cursor.at);
                return Err(Fault::at(
                    span,
                    format!("`{}` is not a number", &rest[..end]),
                ));
            };
            JsonKind::Number(number)
        }
        _ if cursor.keyword("true") => JsonKind::Bool(true),
        _ if cursor.keyword("false") => JsonKind::Bool(false),
        _ if cursor.keyword("null") => JsonKind::Null,
        _ => return Err(cursor.unexpected("expected a JSON value")),
    };
    Ok(Json {
        kind,
        span: cursor.span(start, cursor.at),
    })
}

fn list(cursor: &mut Cursor<'_>) -> Outcome<JsonKind> {
    cursor.at += 1;
    let mut items = Vec::new();
    blanks(cursor);
    while !cursor.eat("]") {
        if !items.is_empty() {
            cursor.expect(",", "between two items")?;
        }
        items.push(value(cursor)?);
        blanks(cursor);
    }
    Ok(JsonKind::List(items))
}

fn object(cursor: &mut Cursor<'_>) -> Outcome<JsonKind> {
    cursor.at += 1;
    let mut members = Vec::new();
    blanks(cursor);
    while !cursor.eat("}") {
        if !members.is_empty() {
            cursor.expect(",", "between two members")?;
            blanks(cursor);
        }
        let start = cursor.at;
        if cursor.peek() != Some('"') {
            return Err(cursor.unexpected("expected the name of a member in quotes"));
        }
        let (name, _) = string(cursor)?;
        let span = cursor.span(start, cursor.at);
        blanks(cursor);
        cursor.expect(":", "after the name of a member")?;
        members.push(Member {
            name,
            span,
            value: value(cursor)?,
        });
        blanks(cursor);
    }
    Ok(JsonKind::Object(members))
}

fn string(cursor: &mut Cursor<'_>) -> Outcome<(String, bool)> {
    let start = cursor.at;
    cursor.at += 1;
    let mut text = String::new();
    let mut exact = true;
    loop {
        let Some(ch) = cursor.peek().filter(|&ch| ch != '\n') else {
            return Err(Fault::at(
                cursor.span(start, start + 1),
                "text is not closed by `\"`",
            ));
        };
        cursor.at += ch.len_utf8();
        match ch {
            '"' => return Ok((text, exact)),
            '\\' => {
                exact = false;
                text.push(escape(cursor)?);
            }
            _ => text.push(ch),
        }
    }
}

fn escape(cursor: &mut Cursor<'_>) -> Outcome<char> {
    let start = cursor.at - 1;
    let ch = cursor.peek();
    cursor.at += ch.map_or(0, char::len_utf8);
    Ok(match ch {
        Some(same @ ('"' | '\\' | '/')) => same,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => {
            let Some(high) = hex(cursor) else {
                return Err(Fault::at(
                    cursor.span(start, start + 2),
                    "`\\u` wants four hexadecimal digits",
                ));
            };
            let low = if (0xd800..0xdc00).contains(&high) && cursor.eat("\\u") {
                hex(cursor)
            } else {
                None
            };
            let code = match low {
                Some(low) if (0xdc00..0xe000).contains(&low) => {
                    0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                }
                _ => high,
            };
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ => return Err(Fault::at(cursor.span(start, start + 1), "unknown escape")),
    })
}

fn hex(cursor: &mut Cursor<'_>) -> Option<u32> {
    let digits = cursor
        .rest()
        .get(..4)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    cursor.at += 4;
    u32::from_str_radix(digits, 16).ok()
}

/// Words of a bake file that are blocks with a label.
const LABELLED: [&str; 4] = ["variable", "function", "group", "target"];

/// Reads a bake file in the JSON spelling.
pub(crate) fn bake_file(text: &str, file: usize) -> Outcome<Body> {
    let root = parse(text, Origin::Exact { file, offset: 0 })?;
    let JsonKind::Object(members) = root.kind else {
        return Err(Fault::at(root.span, "a bake file in JSON is an object"));
    };
    let mut body = Body::default();
    for member in members {
        if LABELLED.contains(&member.name.as_str()) {
            labelled(&mut body, &member)?;
        } else {
            attribute(&mut body, member)?;
        }
    }
    Ok(body)
}

/// `{"label": {…}}`, `{"label": [{…}, …]}`, or a list of those.
fn labelled(body: &mut Body, member: &Member) -> Outcome<()> {
    for outer in each_object(&member.value, &member.name)? {
        for labelled in outer {
            for inner in each_object(&labelled.value, &labelled.name)? {
                body.blocks.push(Block {
                    kind: member.name.clone(),
                    kind_span: member.span,
                    labels: vec![(labelled.name.clone(), labelled.span)],
                    body: block_body(&member.name, inner)?,
                });
            }
        }
    }
    Ok(())
}

fn each_object<'a>(value: &'a Json, name: &str) -> Outcome<Vec<&'a [Member]>> {
    match &value.kind {
        JsonKind::Null => Ok(Vec::new()),
        JsonKind::Object(members) => Ok(vec![members]),
        JsonKind::List(items) => {
            let lists: Vec<_> = items
                .iter()
                .map(|item| each_object(item, name))
                .collect::<Outcome<_>>()?;
            Ok(lists.concat())
        }
        _ => Err(Fault::at(
            value.span,
            format!("`{name}` is an object or a list of objects"),
        )),
    }
}

fn block_body(kind: &str, members: &[Member]) -> Outcome<Body> {
    let mut body = Body::default();
    for member in members {
        if kind == "variable" && member.name == "validation" {
            for inner in each_object(&member.value, &member.name)? {
                body.blocks.push(Block {
                    kind: member.name.clone(),
                    kind_span: member.span,
                    labels: Vec::new(),
                    body: block_body(&member.name, inner)?,
                });
            }
        } else {
            attribute(&mut body, member.clone())?;
        }
    }
    Ok(body)
}

fn attribute(body: &mut Body, member: Member) -> Outcome<()> {
    // The convention for comments in JSON.
    if member.name == "//" {
        return Ok(());
    }
    if body.attribute(&member.name).is_some() {
        return Err(Fault::at(
            member.span,
            format!("attribute `{}` is set twice", member.name),
        ));
    }
    if body.attributes.len() >= MAX_ATTRIBUTES {
        return Err(Fault::at(
            member.span,
            format!("more than {MAX_ATTRIBUTES} attributes in one place"),
        ));
    }
    let expr = expr(&member.value, 0)?;
    body.attributes.push(Attribute {
        name: member.name,
        name_span: member.span,
        expr,
    });
    Ok(())
}

/// The expression that a JSON value stands for: its strings are templates.
fn expr(value: &Json, level: u32) -> Outcome<Expr> {
    let span = value.span;
    let constant = |value| Expr {
        kind: Kind::Literal(value),
        span,
        depth: 0,
    };
    let cursor = Cursor::new("", Origin::Within(span));
    if level > MAX_DEPTH {
        return Err(Fault::at(span, "nested too deep"));
    }
    match &value.kind {
        JsonKind::Null => Ok(constant(Value::null())),
        JsonKind::Bool(value) => Ok(constant(Value::Bool(*value))),
        JsonKind::Number(value) => Ok(constant(Value::Number(value.clone()))),
        JsonKind::String(text, exact) => template::parse(text, text_origin(span, *exact)),
        JsonKind::List(items) => {
            let items = items
                .iter()
                .map(|item| expr(item, level + 1))
                .collect::<Outcome<_>>()?;
            let mut node = cursor.node(0, Kind::Tuple(items))?;
            node.span = span;
            Ok(node)
        }
        JsonKind::Object(members) => {
            let entries = members
                .iter()
                .map(|member| {
                    let key = template::parse(&member.name, Origin::Within(member.span))?;
                    Ok((key, expr(&member.value, level + 1)?))
                })
                .collect::<Outcome<_>>()?;
            let mut node = cursor.node(0, Kind::Object(entries))?;
            node.span = span;
            Ok(node)
        }
    }
}

/// The origin of the text within the quotes of `span`.
pub(crate) fn text_origin(span: Span, exact: bool) -> Origin {
    if exact {
        Origin::Exact {
            file: span.file,
            offset: span.start + 1,
        }
    } else {
        Origin::Within(span)
    }
}
