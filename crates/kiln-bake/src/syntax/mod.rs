//! The two spellings of the language, native and JSON, as one tree.

pub(crate) mod ast;
pub(crate) mod body;
pub(crate) mod cursor;
pub(crate) mod expr;
pub(crate) mod json;
pub(crate) mod postfix;
pub(crate) mod template;
