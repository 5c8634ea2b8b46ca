//! Templates: quoted text, here-documents, and the strings of JSON.

use crate::source::{Fault, Outcome, Span};
use crate::syntax::ast::{Expr, Kind, Part};
use crate::syntax::cursor::{Cursor, Origin};
use crate::syntax::expr::{bracketed, expression, for_head};
use crate::value::Value;

/// A part before its neighbours and its blocks are known.
struct Token {
    kind: TokenKind,
    span: Span,
    /// `~` at the opening: blanks before go.
    trim_before: bool,
    /// `~` at the closing: blanks after go.
    trim_after: bool,
}

enum TokenKind {
    Literal(String),
    Hole(Expr),
    If(Expr),
    Else,
    EndIf,
    For(Option<String>, String, Expr),
    EndFor,
}

/// Where a template ends, and whether backslashes escape.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Quoted,
    Plain,
}

/// Reads `"…"`, the quote being next.
pub(crate) fn quoted(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    cursor.at += 1;
    let tokens = cursor.nested(|cursor| tokens(cursor, Style::Quoted))?;
    if !cursor.eat("\"") {
        return Err(Fault::at(
            cursor.span(start, start + 1),
            "text is not closed by `\"` on its line",
        ));
    }
    finish(cursor, start, tokens)
}

/// Reads a quoted text without holes, as labels are.
pub(crate) fn quoted_literal(cursor: &mut Cursor<'_>) -> Outcome<(String, Span)> {
    let expr = quoted(cursor)?;
    match expr.kind {
        Kind::Literal(Value::String(text)) => Ok((text.to_string(), expr.span)),
        _ => Err(Fault::at(expr.span, "a label can't have `${…}` in it")),
    }
}

/// Reads a whole text as a template.
pub(crate) fn parse(text: &str, origin: Origin) -> Outcome<Expr> {
    let mut cursor = Cursor::new(text, origin);
    let tokens = tokens(&mut cursor, Style::Plain)?;
    finish(&cursor, 0, tokens)
}

/// Reads `<<WORD … WORD` or `<<-WORD … WORD`.
pub(crate) fn heredoc(cursor: &mut Cursor<'_>) -> Outcome<Expr> {
    let start = cursor.at;
    cursor.at += 2;
    let flush = cursor.eat("-");
    let Some((word, word_span)) = cursor.identifier() else {
        return Err(cursor.unexpected("expected a word after `<<`"));
    };
    cursor.eat("\r");
    if !cursor.eat("\n") {
        return Err(cursor.unexpected("expected a new line after the word of a here-document"));
    }
    let begin = cursor.at;
    let mut line = begin;
    let end = loop {
        let rest = &cursor.text[line..];
        let length = rest.find('\n').unwrap_or(rest.len());
        if rest[..length].trim() == word {
            cursor.at = line + rest[..length].trim_end().len();
            break line;
        }
        if length == rest.len() {
            return Err(Fault::at(
                word_span,
                format!("no line that is `{word}` ends this here-document"),
            ));
        }
        line += length + 1;
    };
    let mut inner = Cursor::new(&cursor.text[begin..end], cursor.origin_at(begin));
    inner.depth = cursor.depth;
    let mut tokens = inner.nested(|inner| tokens(inner, Style::Plain))?;
    tokens = split_lines(tokens);
    trim(&mut tokens);
    if flush {
        remove_indentation(&mut tokens);
    }
    build(cursor, start, tokens)
}

/// One literal for each line, so that blanks are trimmed line by line.
fn split_lines(tokens: Vec<Token>) -> Vec<Token> {
    tokens
        .into_iter()
        .flat_map(|token| match token.kind {
            TokenKind::Literal(text) => text
                .split_inclusive('\n')
                .map(|line| Token {
                    kind: TokenKind::Literal(line.to_owned()),
                    ..plain(token.span)
                })
                .collect(),
            _ => vec![token],
        })
        .collect()
}

fn plain(span: Span) -> Token {
    Token {
        kind: TokenKind::Else,
        span,
        trim_before: false,
        trim_after: false,
    }
}

/// Takes the blanks that all lines begin with from each line.
fn remove_indentation(tokens: &mut [Token]) {
    let mut least = usize::MAX;
    let mut begins = true;
    let mut firsts = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let literal = match &token.kind {
            TokenKind::Literal(text) => Some(text),
            _ => None,
        };
        if begins {
            begins = false;
            let spaces = literal.map_or(0, |text| {
                text.chars().take_while(|ch| ch.is_whitespace()).count()
            });
            let blank = literal.is_some_and(|text| text.trim().is_empty() && text.ends_with('\n'));
            if !blank {
                least = least.min(spaces);
                firsts.push(at);
            }
        }
        begins |= literal.is_some_and(|text| text.ends_with('\n'));
    }
    for at in firsts {
        if let TokenKind::Literal(text) = &mut tokens[at].kind {
            *text = text.chars().skip(least).collect();
        }
    }
}

fn tokens(cursor: &mut Cursor<'_>, style: Style) -> Outcome<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut literal = String::new();
    let mut start = cursor.at;
    loop {
        let rest = cursor.rest();
        let Some(ch) = rest.chars().next() else { break };
        if style == Style::Quoted && (ch == '"' || ch == '\n') {
            break;
        }
        if rest.starts_with("$${") || rest.starts_with("%%{") {
            literal.push_str(&rest[1..3]);
            cursor.at += 3;
        } else if rest.starts_with("${") || rest.starts_with("%{") {
            if !literal.is_empty() {
                let span = cursor.span(start, cursor.at);
                tokens.push(Token {
                    kind: TokenKind::Literal(std::mem::take(&mut literal)),
                    ..plain(span)
                });
            }
            tokens.push(sequence(cursor)?);
            start = cursor.at;
        } else if ch == '\\' && style == Style::Quoted {
            literal.push(escape(cursor)?);
        } else {
            literal.push(ch);
            cursor.at += ch.len_utf8();
        }
    }
    if !literal.is_empty() {
        let span = cursor.span(start, cursor.at);
        tokens.push(Token {
            kind: TokenKind::Literal(literal),
            ..plain(span)
        });
    }
    Ok(tokens)
}

fn escape(cursor: &mut Cursor<'_>) -> Outcome<char> {
    let start = cursor.at;
    cursor.at += 1;
    let ch = cursor.peek();
    cursor.at += ch.map_or(0, char::len_utf8);
    let digits = match ch {
        Some('n') => return Ok('\n'),
        Some('r') => return Ok('\r'),
        Some('t') => return Ok('\t'),
        Some(same @ ('"' | '\\')) => return Ok(same),
        Some('u') => 4,
        Some('U') => 8,
        _ => 0,
    };
    let code = cursor
        .rest()
        .get(..digits)
        .and_then(|text| u32::from_str_radix(text, 16).ok());
    cursor.at += digits.min(cursor.rest().len());
    code.filter(|_| digits > 0).and_then(char::from_u32).ok_or_else(|| {
        let span = cursor.span(start, (start + 2).min(cursor.text.len()));
        Fault::at(span, "unknown escape: `\\n`, `\\r`, `\\t`, `\\\"`, `\\\\`, `\\uXXXX` and `\\UXXXXXXXX` are known")
    })
}

/// Reads `${…}` or `%{…}`.
fn sequence(cursor: &mut Cursor<'_>) -> Outcome<Token> {
    let start = cursor.at;
    let hole = cursor.rest().starts_with('$');
    cursor.at += 2;
    let trim_before = cursor.eat("~");
    let kind = bracketed(cursor, |cursor| {
        let kind = if hole {
            TokenKind::Hole(expression(cursor)?)
        } else {
            directive(cursor)?
        };
        cursor.space()?;
        Ok(kind)
    })?;
    let trim_after = cursor.eat("~");
    cursor.expect("}", "at the end of the template's sequence")?;
    Ok(Token {
        kind,
        span: cursor.span(start, cursor.at),
        trim_before,
        trim_after,
    })
}

fn directive(cursor: &mut Cursor<'_>) -> Outcome<TokenKind> {
    cursor.space()?;
    let Some((word, span)) = cursor.identifier() else {
        return Err(cursor.unexpected("expected `if`, `else`, `endif`, `for` or `endfor`"));
    };
    match word {
        "if" => Ok(TokenKind::If(expression(cursor)?)),
        "else" => Ok(TokenKind::Else),
        "endif" => Ok(TokenKind::EndIf),
        "for" => {
            for_head(cursor).map(|(key, value, collection)| TokenKind::For(key, value, collection))
        }
        "endfor" => Ok(TokenKind::EndFor),
        _ => Err(Fault::at(span, format!("unknown directive `{word}`")).hint(
            crate::source::did_you_mean(word, ["if", "else", "endif", "for", "endfor"]),
        )),
    }
}

fn trim(tokens: &mut [Token]) {
    for at in 0..tokens.len() {
        let before = at > 0 && tokens[at - 1].trim_after;
        let after = tokens.get(at + 1).is_some_and(|next| next.trim_before);
        if let TokenKind::Literal(text) = &mut tokens[at].kind {
            if before {
                *text = text.trim_start().to_owned();
            }
            if after {
                text.truncate(text.trim_end().len());
            }
        }
    }
}

fn finish(cursor: &Cursor<'_>, start: usize, mut tokens: Vec<Token>) -> Outcome<Expr> {
    trim(&mut tokens);
    build(cursor, start, tokens)
}

fn build(cursor: &Cursor<'_>, start: usize, tokens: Vec<Token>) -> Outcome<Expr> {
    if let [
        Token {
            kind: TokenKind::Hole(_),
            ..
        },
    ] = tokens.as_slice()
    {
        let Some(Token {
            kind: TokenKind::Hole(expr),
            ..
        }) = tokens.into_iter().next()
        else {
            return Err(Fault::at(
                cursor.span(start, cursor.at),
                "template has no parts",
            ));
        };
        return cursor.node(start, Kind::Wrap(Box::new(expr)));
    }
    let mut tokens = tokens.into_iter().peekable();
    let parts = block(&mut tokens, 0)?;
    if let Some(token) = tokens.next() {
        return Err(Fault::at(token.span, "this directive closes nothing"));
    }
    let literal = match parts.as_slice() {
        [] => Some(Value::text("")),
        [Part::Literal(text)] => Some(Value::text(text)),
        _ => None,
    };
    cursor.node(start, literal.map_or(Kind::Template(parts), Kind::Literal))
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

/// Reads parts up to a directive that closes.
fn block(tokens: &mut Tokens, depth: u32) -> Outcome<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    while let Some(token) = tokens.next_if(|token| {
        !matches!(
            token.kind,
            TokenKind::Else | TokenKind::EndIf | TokenKind::EndFor
        )
    }) {
        if depth > super::cursor::MAX_DEPTH {
            return Err(Fault::at(token.span, "directives are nested too deep"));
        }
        let span = token.span;
        match token.kind {
            TokenKind::Literal(text) => match parts.last_mut() {
                Some(Part::Literal(before)) => before.push_str(&text),
                _ => parts.push(Part::Literal(text)),
            },
            TokenKind::Hole(expr) => parts.push(Part::Hole(expr)),
            TokenKind::For(key, value, collection) => {
                let body = block(tokens, depth + 1)?;
                match tokens.next() {
                    Some(Token {
                        kind: TokenKind::EndFor,
                        ..
                    }) => {
                        parts.push(Part::For {
                            key,
                            value,
                            collection,
                            body,
                        });
                    }
                    _ => return Err(Fault::at(span, "`for` is not closed by `%{endfor}`")),
                }
            }
            TokenKind::If(condition) => {
                let yes = block(tokens, depth + 1)?;
                let no = if tokens
                    .next_if(|token| matches!(token.kind, TokenKind::Else))
                    .is_some()
                {
                    block(tokens, depth + 1)?
                } else {
                    Vec::new()
                };
                match tokens.next() {
                    Some(Token {
                        kind: TokenKind::EndIf,
                        ..
                    }) => parts.push(Part::If(condition, yes, no)),
                    _ => return Err(Fault::at(span, "`if` is not closed by `%{endif}`")),
                }
            }
            TokenKind::Else | TokenKind::EndIf | TokenKind::EndFor => {}
        }
    }
    Ok(parts)
}
