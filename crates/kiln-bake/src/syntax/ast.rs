//! The tree of a bake file. Both spellings of the language make the same tree.

use crate::source::Span;
use crate::value::Value;

/// What is between braces, or a whole file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) blocks: Vec<Block>,
}

/// `name = expression`.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) expr: Expr,
}

/// `kind "label" { … }`.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) kind_span: Span,
    pub(crate) labels: Vec<(String, Span)>,
    pub(crate) body: Body,
}

impl Body {
    /// The attribute of that name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// How deep the tree below is: bounded, so that walking it can't exhaust the stack.
    pub(crate) depth: u32,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A constant.
    Literal(Value),
    /// Text with holes.
    Template(Vec<Part>),
    /// A template of one hole and nothing else: the value passes through.
    Wrap(Box<Expr>),
    /// A name of a scope.
    Variable(String),
    /// `source.name`; `text` for `source.0`.
    Attr(Box<Expr>, String),
    /// `source[key]`.
    Index(Box<Expr>, Box<Expr>),
    /// `source[*]…` and `source.*…`; the hole is [`Kind::Each`].
    Splat(Box<Expr>, Box<Expr>),
    /// The element of the innermost splat.
    Each,
    /// `name(arguments)`, the last one spread out if the mark is set.
    Call {
        name: String,
        name_span: Span,
        args: Vec<Expr>,
        spread: bool,
    },
    /// `-x`.
    Negate(Box<Expr>),
    /// `!x`.
    Not(Box<Expr>),
    /// `a + b`.
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `condition ? yes : no`.
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `[a, b]`.
    Tuple(Vec<Expr>),
    /// `{ a = b }`.
    Object(Vec<(Expr, Expr)>),
    /// `[for …]` and `{for …}`.
    For(Box<For>),
}

/// A `for` expression.
#[derive(Clone, Debug)]
pub(crate) struct For {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) collection: Expr,
    /// The key of the entry, where the result is an object.
    pub(crate) entry_key: Option<Expr>,
    pub(crate) entry: Expr,
    pub(crate) condition: Option<Expr>,
    /// `...`: entries of one key are collected.
    pub(crate) group: bool,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Text.
    Literal(String),
    /// `${…}`.
    Hole(Expr),
    /// `%{if …}…%{else}…%{endif}`.
    If(Expr, Vec<Self>, Vec<Self>),
    /// `%{for …}…%{endfor}`.
    For {
        key: Option<String>,
        value: String,
        collection: Expr,
        body: Vec<Self>,
    },
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Expr {
    /// The name, where the expression is nothing but one.
    pub(crate) fn keyword(&self) -> Option<&str> {
        match &self.kind {
            Kind::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// Calls `visit` for each expression directly below.
    pub(crate) fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match &self.kind {
            Kind::Literal(_) | Kind::Variable(_) | Kind::Each => {}
            Kind::Template(parts) => parts.iter().for_each(|part| part.children(visit)),
            Kind::Wrap(inner) | Kind::Attr(inner, _) | Kind::Negate(inner) | Kind::Not(inner) => {
                visit(inner);
            }
            Kind::Index(one, two) | Kind::Splat(one, two) | Kind::Binary(_, one, two) => {
                visit(one);
                visit(two);
            }
            Kind::Call { args: list, .. } | Kind::Tuple(list) => list.iter().for_each(visit),
            Kind::Conditional(one, two, three) => {
                visit(one);
                visit(two);
                visit(three);
            }
            Kind::Object(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Kind::For(each) => {
                visit(&each.collection);
                each.entry_key.iter().for_each(&mut *visit);
                visit(&each.entry);
                each.condition.iter().for_each(visit);
            }
        }
    }
}

impl Part {
    fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Literal(_) => {}
            Self::Hole(expr) => visit(expr),
            Self::If(condition, yes, no) => {
                visit(condition);
                yes.iter().chain(no).for_each(|part| part.children(visit));
            }
            Self::For {
                collection, body, ..
            } => {
                visit(collection);
                for part in body {
                    part.children(visit);
                }
            }
        }
    }
}
