//! Dockerfile text to a syntax tree with spans and diagnostics; variable expansion; ignore patterns.
//!
//! [`parse`] never fails: it returns the tree of all that it could read, and [`Diagnostic`]s for the
//! rest. Whoever builds from the tree refuses when one of them is an error. [`expand`] is the
//! variable language of the instructions, [`gitref`] that of git addresses, [`ignore`] that of `.dockerignore` and `--exclude`,
//! [`mode`] that of `--chmod`.
//!
//! What the words mean is BuildKit's frontend (1.20 and later), to the letter where this is
//! observable. Deliberately absent: reading files, knowing base images, and choosing values for
//! variables.

pub mod ast;
mod diagnostic;
pub mod expand;
pub mod gitref;
pub mod ignore;
mod lint;
pub mod mode;
mod mount;
mod parse;
mod span;
mod suggest;

pub use ast::Dockerfile;
pub use diagnostic::{Diagnostic, Severity, line_number, quote, render};
pub use lint::{CheckConfig, CheckConfigError, LintRule};
pub use mount::MountError;
pub use parse::{parse, parse_trigger};
pub use span::{Span, Spanned, Text};
pub use suggest::did_you_mean;
