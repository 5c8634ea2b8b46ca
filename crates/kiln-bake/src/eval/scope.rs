//! Names around an expression, and the budget of its evaluation.

use std::cell::Cell;

use crate::input::Clock;
use crate::source::{Fault, Outcome, Span};
use crate::value::Value;

/// What an expression may ask for beyond the names of its scope.
pub(crate) trait World {
    /// A variable or attribute of the file; none if there is none of that name.
    fn variable(&self, name: &str) -> Outcome<Option<Value>>;
    /// All names that [`World::variable`] knows.
    fn variable_names(&self) -> Vec<String>;
    /// Whether the name is one of a kind of blocks.
    fn is_block(&self, name: &str) -> bool;
    /// A block, or one attribute of it.
    fn block(&self, kind: &str, name: &str, attribute: Option<&str>) -> Outcome<Value>;
    /// Whether the file declares the function.
    fn has_function(&self, name: &str) -> bool;
    /// All functions that the file declares.
    fn function_names(&self) -> Vec<String>;
    /// Calls a function of the file.
    fn call(&self, name: &str, args: Vec<Value>) -> Outcome<Value>;
    /// What is left of the budget.
    fn budget(&self) -> &Budget;
    /// Time, randomness and home.
    fn clock(&self) -> &Clock;
}

/// Names within a function, a `for` or a matrix.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    parent: Option<&'a Self>,
    names: &'a [(String, Value)],
    each: Option<&'a Value>,
}

impl<'a> Scope<'a> {
    /// A scope without a parent.
    pub(crate) fn root(names: &'a [(String, Value)]) -> Self {
        Self {
            parent: None,
            names,
            each: None,
        }
    }

    /// More names.
    pub(crate) fn with<'b>(&'b self, names: &'b [(String, Value)]) -> Scope<'b> {
        Scope {
            parent: Some(self),
            names,
            each: None,
        }
    }

    /// The element of a splat.
    pub(crate) fn with_each<'b>(&'b self, each: &'b Value) -> Scope<'b> {
        Scope {
            parent: Some(self),
            names: &[],
            each: Some(each),
        }
    }

    /// The innermost value of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&'a Value> {
        match self.names.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => Some(value),
            None => self.parent.and_then(|parent| parent.find(name)),
        }
    }

    /// The innermost element of a splat.
    pub(crate) fn each(&self) -> Option<&'a Value> {
        self.each.or_else(|| self.parent.and_then(Scope::each))
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.names.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(parent) = self.parent {
            names.extend(parent.names());
        }
        names
    }
}

/// How much work is left.
#[derive(Debug)]
pub(crate) struct Budget {
    work: Cell<u64>,
    depth: Cell<u32>,
    serial: Cell<u64>,
}

/// Elements of values that are made or copied. A large file needs some ten thousands.
const MAX_WORK: u64 = 20_000_000;
/// Expressions within expressions, through variables and functions.
const MAX_DEPTH: u32 = 400;
/// Bytes of one text.
pub(crate) const MAX_TEXT: usize = 8 << 20;

impl Budget {
    /// A full budget.
    pub(crate) fn new() -> Self {
        Self {
            work: Cell::new(MAX_WORK),
            depth: Cell::new(0),
            serial: Cell::new(0),
        }
    }

    /// Takes work from the budget.
    pub(crate) fn charge(&self, work: u64) -> Outcome<()> {
        let left = self.work.get().checked_sub(work);
        self.work.set(left.unwrap_or(0));
        if left.is_some() {
            Ok(())
        } else {
            Err(Fault::limit("this file needs too much work to evaluate"))
        }
    }

    /// One level deeper.
    pub(crate) fn enter(&self, span: Span) -> Outcome<()> {
        if self.depth.get() >= MAX_DEPTH {
            return Err(Fault::limit("values depend on each other too deeply").or_at(span));
        }
        self.depth.set(self.depth.get() + 1);
        self.charge(1).map_err(|fault| fault.or_at(span))
    }

    /// A number that was not given before.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    /// One level up.
    pub(crate) fn leave(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }
}
