//! YAML with the places of its words; aliases are expanded within a limit.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::source::{Fault, Outcome, Span};
use crate::value::Number;

/// A YAML value.
#[derive(Clone, Debug)]
pub(crate) struct Yaml {
    pub(crate) kind: YamlKind,
    pub(crate) span: Span,
    /// Where its key stands, or it itself.
    pub(crate) key: Span,
    pub(crate) mark: Mark,
}

/// What a YAML value is.
#[derive(Clone, Debug)]
pub(crate) enum YamlKind {
    Null,
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

/// How a value is combined with what earlier files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Merge,
    /// `!reset`
    Reset,
    /// `!override`
    Override,
}

/// Values of one file, aliases expanded.
const MAX_NODES: usize = 100_000;
/// Values within values.
const MAX_DEPTH: usize = 64;

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    text: &'a str,
    file: usize,
    /// Byte offsets of characters; empty for ASCII, where they are the same.
    offsets: Vec<usize>,
    anchors: BTreeMap<usize, (Yaml, usize)>,
    nodes: usize,
}

/// Reads all documents of a file.
pub(crate) fn parse(text: &str, file: usize) -> Outcome<Vec<Yaml>> {
    let offsets = if text.is_ascii() {
        Vec::new()
    } else {
        text.char_indices().map(|(at, _)| at).collect()
    };
    let parser = Parser::new_from_str(text);
    let mut builder = Builder {
        parser,
        text,
        file,
        offsets,
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match builder.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd,
                _,
            ) => {}
            (event, span) => documents.push(builder.node(event, span, 0)?),
        }
    }
}

impl<'a> Builder<'a> {
    fn byte(&self, index: usize) -> usize {
        if self.offsets.is_empty() {
            index
        } else {
            self.offsets.get(index).copied().unwrap_or(self.text.len())
        }
    }

    fn next(&mut self) -> Outcome<(Event<'a>, Span)> {
        match self.parser.next() {
            None => Ok((
                Event::StreamEnd,
                Span {
                    file: self.file,
                    start: self.text.len(),
                    end: self.text.len(),
                },
            )),
            Some(Ok((event, span))) => {
                let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
                Ok((
                    event,
                    Span {
                        file: self.file,
                        start,
                        end,
                    },
                ))
            }
            Some(Err(error)) => {
                let start = self.byte(error.marker().index());
                Err(Fault::at(
                    Span {
                        file: self.file,
                        start,
                        end: start,
                    },
                    format!("YAML: {}", error.info()),
                ))
            }
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Outcome<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Fault::at(
                span,
                format!("more than {MAX_NODES} values, aliases expanded"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Outcome<Yaml> {
        if depth > MAX_DEPTH {
            return Err(Fault::at(
                span,
                format!("nested more than {MAX_DEPTH} levels deep"),
            ));
        }
        self.count(1, span)?;
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Alias(anchor) => {
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::at(span, "this alias has no anchor before it"));
                };
                self.count(size, span)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let mark = mark(tag.as_deref());
                let string = tag.as_deref().is_some_and(|tag| tag.suffix == "str");
                let kind = if style == ScalarStyle::Plain && !string {
                    plain(&text)
                } else {
                    YamlKind::Text(text.into_owned())
                };
                (
                    anchor,
                    Yaml {
                        kind,
                        span,
                        key: span,
                        mark,
                    },
                )
            }
            Event::SequenceStart(anchor, tag) => {
                let mark = mark(tag.as_deref());
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                (
                    anchor,
                    Yaml {
                        kind: YamlKind::List(items),
                        span,
                        key: span,
                        mark,
                    },
                )
            }
            Event::MappingStart(anchor, tag) => {
                let mark = mark(tag.as_deref());
                let entries = self.mapping(depth)?;
                (
                    anchor,
                    Yaml {
                        kind: YamlKind::Map(entries),
                        span,
                        key: span,
                        mark,
                    },
                )
            }
            _ => return Err(Fault::at(span, "a YAML value is required here")),
        };
        if anchor > 0 {
            self.anchors
                .insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Outcome<Vec<(String, Yaml)>> {
        let mut entries: Vec<(String, Yaml)> = Vec::new();
        let mut inherited: Vec<(String, Yaml)> = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let Event::Scalar(key, ..) = event else {
                return Err(Fault::at(span, "keys are texts"));
            };
            let (event, value_span) = self.next()?;
            let mut value = self.node(event, value_span, depth + 1)?;
            value.key = span;
            if key == "<<" {
                let sources = match value.kind {
                    YamlKind::List(items) => items,
                    _ => vec![value],
                };
                for source in sources {
                    let YamlKind::Map(more) = source.kind else {
                        return Err(Fault::at(span, "`<<` wants a map"));
                    };
                    inherited.extend(more);
                }
            } else if !seen.insert(key.to_string()) {
                return Err(Fault::at(span, format!("key `{key}` stands here twice")));
            } else {
                entries.push((key.into_owned(), value));
            }
        }
        for (key, value) in inherited {
            if seen.insert(key.clone()) {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }
}

fn mark(tag: Option<&Tag>) -> Mark {
    match tag.map(|tag| tag.suffix.as_str()) {
        Some("reset") => Mark::Reset,
        Some("override") => Mark::Override,
        _ => Mark::Merge,
    }
}

/// Numbers are written the shortest way.
fn plain(text: &str) -> YamlKind {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return YamlKind::Null;
    }
    let fraction = text.starts_with(|ch: char| ch.is_ascii_digit() || ch == '-')
        && text.contains(['.', 'e', 'E']);
    match Number::parse(text).filter(|_| fraction) {
        Some(number) => YamlKind::Text(number.to_string()),
        None => YamlKind::Text(text.to_owned()),
    }
}

impl Yaml {
    /// The member of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The members of a map; none for anything else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.kind {
            YamlKind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text of a text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            YamlKind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, YamlKind::Null)
    }

    /// A text at the same place.
    pub(crate) fn with_text(&self, text: String) -> Self {
        Self {
            kind: YamlKind::Text(text),
            span: self.span,
            key: self.key,
            mark: Mark::Merge,
        }
    }
}
