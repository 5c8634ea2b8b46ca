//! Arithmetic, comparison and logic.

use std::cmp::Ordering;

use super::{Args, Function, entry};
use crate::source::{Fault, Outcome};
use crate::value::{Number, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("absolute", "n", |args| {
        let number = args.number(0);
        Ok(Value::Number(if number.is_negative() {
            number.negate()
        } else {
            number
        }))
    }),
    entry("add", "nn", |args| {
        result(args.number(0).add(&args.number(1)))
    }),
    entry("subtract", "nn", |args| {
        result(args.number(0).add(&args.number(1).negate()))
    }),
    entry("multiply", "nn", |args| {
        result(args.number(0).multiply(&args.number(1)))
    }),
    entry("divide", "nn", |args| {
        divisor(args).map_or_else(zero, |by| result(args.number(0).divide(&by)))
    }),
    entry("modulo", "nn", |args| {
        divisor(args).map_or_else(zero, |by| result(args.number(0).modulo(&by)))
    }),
    entry("negate", "n", |args| {
        Ok(Value::Number(args.number(0).negate()))
    }),
    entry("floor", "n", |args| {
        Ok(Value::Number(args.number(0).floor()))
    }),
    entry("ceil", "n", |args| {
        Ok(Value::Number(args.number(0).negate().floor().negate()))
    }),
    entry("int", "n", |args| {
        Ok(Value::Number(args.number(0).truncate()))
    }),
    entry("max", "*n", |args| extreme(args, Ordering::Greater)),
    entry("min", "*n", |args| extreme(args, Ordering::Less)),
    entry("pow", "nn", |args| {
        double(args.number(0).double().powf(args.number(1).double()))
    }),
    entry("log", "nn", |args| {
        double(args.number(0).double().ln() / args.number(1).double().ln())
    }),
    entry("signum", "n", |args| {
        let number = args.int(0)?;
        Ok(Value::int(number.signum()))
    }),
    entry("parseint", "an", parse_int),
    entry("and", "bb", |args| {
        Ok(Value::Bool(args.bool(0) && args.bool(1)))
    }),
    entry("or", "bb", |args| {
        Ok(Value::Bool(args.bool(0) || args.bool(1)))
    }),
    entry("not", "b", |args| Ok(Value::Bool(!args.bool(0)))),
    entry("equal", "AA", |args| {
        Ok(Value::Bool(args.value(0).equals(args.value(1))))
    }),
    entry("notequal", "AA", |args| {
        Ok(Value::Bool(!args.value(0).equals(args.value(1))))
    }),
    entry("greaterthan", "nn", |args| {
        Ok(Value::Bool(order(args).is_gt()))
    }),
    entry("greaterthanorequalto", "nn", |args| {
        Ok(Value::Bool(order(args).is_ge()))
    }),
    entry("lessthan", "nn", |args| {
        Ok(Value::Bool(order(args).is_lt()))
    }),
    entry("lessthanorequalto", "nn", |args| {
        Ok(Value::Bool(order(args).is_le()))
    }),
];

fn order(args: &Args<'_>) -> Ordering {
    args.number(0).order(&args.number(1))
}

fn result(number: Option<Number>) -> Outcome<Value> {
    number
        .map(Value::Number)
        .ok_or_else(|| Fault::new("the result is too large a number"))
}

fn double(number: f64) -> Outcome<Value> {
    match Number::from_double(number) {
        Some(number) => Ok(Value::Number(number)),
        None => Err(Fault::new("the result is no finite number")),
    }
}

fn divisor(args: &Args<'_>) -> Option<Number> {
    Some(args.number(1)).filter(|number| !number.is_zero())
}

fn zero() -> Outcome<Value> {
    Err(Fault::new("division by zero"))
}

fn extreme(args: &Args<'_>, wanted: Ordering) -> Outcome<Value> {
    let mut numbers = (0..args.all().len()).map(|at| args.number(at));
    let first = numbers
        .next()
        .ok_or_else(|| Fault::new("at least one number is required"))?;
    let best = numbers.fold(first, |best, number| {
        if number.order(&best) == wanted {
            number
        } else {
            best
        }
    });
    Ok(Value::Number(best))
}

fn parse_int(args: &Args<'_>) -> Outcome<Value> {
    let Some(text) = args.value(0).as_str() else {
        return Err(Fault::new(format!(
            "the first argument is a string, not {}",
            args.value(0).ty()
        )));
    };
    let base = i128::from(args.int(1)?);
    if !(2..=62).contains(&base) {
        return Err(Fault::new("the base is a whole number from 2 to 62"));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut number: i128 = 0;
    for ch in digits.chars() {
        let digit = match ch {
            '0'..='9' => i128::from(u32::from(ch) - u32::from('0')),
            'a'..='z' => i128::from(u32::from(ch) - u32::from('a')) + 10,
            'A'..='Z' if base <= 36 => i128::from(u32::from(ch) - u32::from('A')) + 10,
            'A'..='Z' => i128::from(u32::from(ch) - u32::from('A')) + 36,
            _ => base,
        };
        let next = number
            .checked_mul(base)
            .and_then(|shifted| shifted.checked_add(digit));
        number = match next.filter(|_| digit < base) {
            Some(next) => next,
            None => {
                return Err(Fault::new(format!(
                    "`{text}` is no whole number of base {base}"
                )));
            }
        };
    }
    if digits.is_empty() {
        return Err(Fault::new(format!(
            "`{text}` is no whole number of base {base}"
        )));
    }
    result(Number::parse(
        &if negative { -number } else { number }.to_string(),
    ))
}
