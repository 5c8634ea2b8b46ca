//! `format` and `formatlist`.

use super::{Args, Function, entry, text};
use crate::eval::MAX_TEXT;
use crate::source::{Fault, Outcome};
use crate::value::{Number, Type, Value, convert, json};
use unicode_segmentation::UnicodeSegmentation as _;

pub(super) const FUNCTIONS: &[Function] = &[
    entry("format", "s*A", |args| {
        text::text(format(args.text(0), args.from(1))?)
    }),
    entry("formatlist", "s*A", format_list),
];

/// Wider fields are refused.
const MAX_WIDTH: usize = 10_000;

fn format_list(args: &Args<'_>) -> Outcome<Value> {
    let values = args.from(1);
    let mut lengths = values.iter().filter_map(Value::items).map(<[Value]>::len);
    let length = lengths.next().unwrap_or(1);
    if lengths.any(|other| other != length) {
        return Err(Fault::new("the lists have different lengths"));
    }
    let mut texts = Vec::new();
    for row in 0..length {
        let row: Vec<Value> = values
            .iter()
            .map(|value| {
                value
                    .items()
                    .map_or_else(|| value.clone(), |items| items[row].clone())
            })
            .collect();
        args.charge(1 + row.len())?;
        texts.push(format(args.text(0), &row)?);
    }
    Ok(Value::texts(texts))
}

/// A verb such as `%-5.2f`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each flag that a verb may have"
)]
#[derive(Default)]
struct Verb {
    zero: bool,
    sharp: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn format(template: &str, args: &[Value]) -> Outcome<String> {
    let mut out = String::new();
    let mut rest = template;
    let mut next = 0;
    let mut highest = 0;
    let mut explicit = false;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let mut verb = Verb::default();
        rest = flags(rest, &mut verb);
        verb.width = take_number(&mut rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            verb.precision = Some(take_number(&mut rest)?.unwrap_or(0));
        }
        if let Some(after) = rest.strip_prefix('[') {
            rest = after;
            let Some(number) = take_number(&mut rest)?.filter(|&number| number > 0) else {
                return Err(Fault::new("`%[…]` wants the number of an argument, from 1"));
            };
            rest = rest
                .strip_prefix(']')
                .ok_or_else(|| Fault::new("`%[` is not closed"))?;
            next = number - 1;
            explicit = true;
        }
        let Some(mode) = rest.chars().next() else {
            return Err(Fault::new("`%` at the end of the format names no verb"));
        };
        rest = &rest[mode.len_utf8()..];
        let Some(value) = args.get(next) else {
            return Err(Fault::new(format!(
                "no argument {} for `%{mode}`: there are {}",
                next + 1,
                args.len()
            )));
        };
        next += 1;
        highest = highest.max(next);
        out.push_str(&one(&verb, mode, value)?);
        if out.len() > MAX_TEXT {
            return Err(Fault::limit(format!(
                "this text is longer than {MAX_TEXT} bytes"
            )));
        }
    }
    if highest < args.len() && !explicit {
        return Err(Fault::new(format!(
            "the format uses {highest} of {} arguments",
            args.len()
        )));
    }
    out.push_str(rest);
    Ok(out)
}

fn flags<'a>(mut rest: &'a str, verb: &mut Verb) -> &'a str {
    while let Some(ch) = rest.chars().next() {
        match ch {
            '0' => verb.zero = true,
            '#' => verb.sharp = true,
            '+' => verb.plus = true,
            '-' => verb.minus = true,
            ' ' => verb.space = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    rest
}

fn take_number(rest: &mut &str) -> Outcome<Option<usize>> {
    let end = rest
        .find(|ch: char| !ch.is_ascii_digit())
        .unwrap_or(rest.len());
    let digits = &rest[..end];
    *rest = &rest[end..];
    match digits.parse() {
        _ if digits.is_empty() => Ok(None),
        Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
        _ => Err(Fault::new(format!(
            "widths of more than {MAX_WIDTH} are refused"
        ))),
    }
}

fn one(verb: &Verb, mode: char, value: &Value) -> Outcome<String> {
    if mode != 'v' && value.is_null() {
        return Err(Fault::new(format!("null for `%{mode}`")));
    }
    let bad = |fault: Fault| fault.context(&format!("value for `%{mode}`"));
    match mode {
        'v' => Ok(pad(verb, as_is(verb, value))),
        't' => match convert(value, &Type::Bool).map_err(bad)? {
            Value::Bool(true) => Ok("true".to_owned()),
            _ => Ok("false".to_owned()),
        },
        's' | 'q' => {
            let value = convert(value, &Type::String).map_err(bad)?;
            let mut text = value.as_str().unwrap_or_default().to_owned();
            if let Some(precision) = verb.precision {
                text = text.graphemes(true).take(precision).collect();
            }
            if mode == 'q' {
                text = json::encode(&Value::text(&text));
            }
            Ok(pad(verb, text))
        }
        'b' | 'd' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'g' | 'G' => {
            match convert(value, &Type::Number).map_err(bad)? {
                Value::Number(number) => number_text(verb, mode, &number),
                _ => Err(Fault::new("a number is required")),
            }
        }
        _ => Err(Fault::new(format!("unknown verb `%{mode}`"))),
    }
}

fn as_is(verb: &Verb, value: &Value) -> String {
    match value {
        Value::String(text) if !verb.sharp => text.to_string(),
        Value::Number(number) if !verb.sharp => general(number.double(), None, &number.to_string()),
        _ => json::encode(value),
    }
}

fn pad(verb: &Verb, text: String) -> String {
    let missing = verb
        .width
        .unwrap_or(0)
        .saturating_sub(text.graphemes(true).count());
    let fill = if verb.zero && !verb.minus { "0" } else { " " }.repeat(missing);
    if verb.minus {
        text + &fill
    } else {
        fill + &text
    }
}

fn number_text(verb: &Verb, mode: char, number: &Number) -> Outcome<String> {
    let negative = number.is_negative();
    let size = if negative {
        number.negate()
    } else {
        number.clone()
    };
    let digits = match mode {
        'b' | 'd' | 'o' | 'x' | 'X' => integer(verb, mode, &size.truncate())?,
        'e' | 'E' => exponent(size.double(), verb.precision.or(Some(6))),
        'f' => format!("{:.*}", verb.precision.unwrap_or(6), size.double()),
        _ => general(size.double(), verb.precision, &size.to_string()),
    };
    let digits = if mode.is_ascii_uppercase() {
        digits.to_uppercase()
    } else {
        digits
    };
    let sign = match (negative, verb.plus, verb.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    if verb.zero && !verb.minus {
        let width = verb.width.unwrap_or(0).saturating_sub(sign.len());
        return Ok(format!("{sign}{digits:0>width$}"));
    }
    Ok(pad(verb, format!("{sign}{digits}")))
}

fn integer(verb: &Verb, mode: char, size: &Number) -> Outcome<String> {
    let Number::Decimal { mantissa, .. } = size else {
        return Err(Fault::new("the number is too large for an integer verb"));
    };
    Ok(match (mode, verb.sharp) {
        ('b', true) => format!("{mantissa:#b}"),
        ('b', false) => format!("{mantissa:b}"),
        ('o', true) => format!("0{mantissa:o}"),
        ('o', false) => format!("{mantissa:o}"),
        ('x', true) => format!("{mantissa:#x}"),
        ('x', false) => format!("{mantissa:x}"),
        ('X', true) => format!("{mantissa:#X}"),
        ('X', false) => format!("{mantissa:X}"),
        _ => mantissa.to_string(),
    })
}

/// `1.5e+06`.
fn exponent(number: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// The shorter of plain digits and an exponent.
fn general(number: f64, precision: Option<usize>, plain: &str) -> String {
    let power = if number == 0.0 {
        0.0
    } else {
        number.abs().log10().floor()
    };
    // The shortest form has an exponent from six digits before the point on.
    let limit = precision.map_or(6, |precision| precision.max(1));
    #[expect(clippy::cast_precision_loss, reason = "limits are small")]
    let limit_power = limit as f64;
    if power < -4.0 || power >= limit_power {
        return exponent(
            number,
            precision.map(|precision| precision.saturating_sub(1)),
        );
    }
    match precision {
        None => plain.to_owned(),
        Some(_) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the limit"
            )]
            let decimals = (limit_power - 1.0 - power).max(0.0) as usize;
            let text = format!("{number:.decimals$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
    }
}
