//! The functions that every bake file can call.
//!
//! One table names them with their parameters; arguments are converted before a function runs.
//! `try`, `can` and `convert` are not here: they look at expressions, not at values.

mod address;
mod bytes;
mod collection;
mod crypto;
mod date;
mod encoding;
mod format;
mod lists;
mod math;
mod regular;
mod semver;
mod sets;
mod text;

pub(crate) use text::sanitize;

use crate::eval::World;
use crate::source::{Fault, Outcome, Span};
use crate::value::{Number, Type, Value, convert};

/// What a function gets.
pub(crate) struct Args<'a> {
    values: &'a [Value],
    world: &'a dyn World,
}

/// A function and its parameters, one letter each: `s` text, `n` number, `b` boolean, `a` any value,
/// `A` any value or null, `S` list of texts, `L` list, `E` set; `*` before the last one repeats it.
pub(crate) struct Function {
    name: &'static str,
    parameters: &'static str,
    run: fn(&Args<'_>) -> Outcome<Value>,
}

const fn entry(
    name: &'static str,
    parameters: &'static str,
    run: fn(&Args<'_>) -> Outcome<Value>,
) -> Function {
    Function {
        name,
        parameters,
        run,
    }
}

/// All functions, by name.
const FUNCTIONS: &[&[Function]] = &[
    math::FUNCTIONS,
    text::FUNCTIONS,
    format::FUNCTIONS,
    regular::FUNCTIONS,
    collection::FUNCTIONS,
    lists::FUNCTIONS,
    sets::FUNCTIONS,
    encoding::FUNCTIONS,
    bytes::FUNCTIONS,
    crypto::FUNCTIONS,
    date::FUNCTIONS,
    address::FUNCTIONS,
    semver::FUNCTIONS,
];

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS
        .iter()
        .flat_map(|group| group.iter())
        .find(|function| function.name == name)
}

/// The names of all functions, those that look at expressions included.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .iter()
        .flat_map(|group| group.iter())
        .map(|function| function.name)
        .chain(["can", "convert", "try"])
}

/// Calls a function; `spans` are the places of the arguments.
pub(crate) fn call(
    world: &dyn World,
    function: &Function,
    values: &[Value],
    spans: &[Span],
) -> Outcome<Value> {
    let letters: Vec<char> = function
        .parameters
        .chars()
        .filter(|&ch| ch != '*')
        .collect();
    let variadic = function.parameters.contains('*');
    let required = letters.len() - usize::from(variadic);
    if values.len() < required || (values.len() > required && !variadic) {
        let least = if variadic { "at least " } else { "" };
        let noun = if required == 1 {
            "argument"
        } else {
            "arguments"
        };
        return Err(Fault::new(format!(
            "`{}` wants {least}{required} {noun}, not {}",
            function.name,
            values.len()
        )));
    }
    let mut converted = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let letter = letters[at.min(letters.len() - 1)];
        let argument = argument(letter, value).map_err(|fault| {
            let fault = fault.context(&format!("argument {} of `{}`", at + 1, function.name));
            spans
                .get(at)
                .map_or(fault.clone(), |&span| fault.or_at(span))
        })?;
        world.budget().charge(argument.weight())?;
        converted.push(argument);
    }
    let args = Args {
        values: &converted,
        world,
    };
    (function.run)(&args).map_err(|fault| fault.context(&format!("`{}`", function.name)))
}

fn argument(letter: char, value: &Value) -> Outcome<Value> {
    if letter == 'A' {
        return Ok(value.clone());
    }
    if value.is_null() {
        return Err(Fault::new("must not be null"));
    }
    let ty = match letter {
        's' => Type::String,
        'n' => Type::Number,
        'b' => Type::Bool,
        'S' => Type::strings(),
        'L' => Type::List(Box::new(Type::Dynamic)),
        'E' => Type::Set(Box::new(Type::Dynamic)),
        _ => Type::Dynamic,
    };
    convert(value, &ty)
}

impl<'a> Args<'a> {
    /// All arguments.
    fn all(&self) -> &'a [Value] {
        self.values
    }

    /// All arguments from `at`.
    fn from(&self, at: usize) -> &'a [Value] {
        self.values.get(at..).unwrap_or_default()
    }

    /// One argument.
    fn value(&self, at: usize) -> &'a Value {
        &self.values[at]
    }

    /// A text.
    fn text(&self, at: usize) -> &'a str {
        self.values[at].as_str().unwrap_or_default()
    }

    /// A number.
    fn number(&self, at: usize) -> Number {
        match &self.values[at] {
            Value::Number(number) => number.clone(),
            _ => Number::from_int(0),
        }
    }

    /// A whole number.
    fn int(&self, at: usize) -> Outcome<i64> {
        let number = self.number(at);
        number
            .int()
            .ok_or_else(|| Fault::new(format!("a whole number is required, not {number}")))
    }

    /// A boolean.
    fn bool(&self, at: usize) -> bool {
        matches!(self.values[at], Value::Bool(true))
    }

    /// The elements of a list, set or tuple.
    fn items(&self, at: usize) -> Outcome<&'a [Value]> {
        let value = &self.values[at];
        value
            .items()
            .ok_or_else(|| Fault::new(format!("a list is required, not {}", value.ty())))
    }

    /// Texts of a list of texts.
    fn texts(&self, at: usize) -> Outcome<Vec<&'a str>> {
        let items = self.items(at)?;
        items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| Fault::new("null is no text")))
            .collect()
    }

    /// Refuses work beforehand, where a small argument makes a large result.
    fn charge(&self, work: usize) -> Outcome<()> {
        self.world.budget().charge(work as u64)
    }
}

/// A whole number as a size.
fn size(number: usize) -> Value {
    Value::int(i64::try_from(number).unwrap_or(i64::MAX))
}
