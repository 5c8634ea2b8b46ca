//! Numbers: exact decimals of 38 digits, and beyond them what a double can hold.

use std::cmp::Ordering;
use std::fmt;

/// More decimals than this are rounded off.
const MAX_SCALE: u32 = 34;

/// A number. Decimals are exact, so that `0.1 + 0.2` is `0.3`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Number {
    /// `mantissa / 10^scale`, without zeros at the end.
    Decimal { mantissa: i128, scale: u32 },
    /// Finite, too large or too small for a decimal.
    Double(f64),
}

impl Number {
    /// A whole number.
    pub(crate) fn from_int(number: i64) -> Self {
        Self::Decimal {
            mantissa: i128::from(number),
            scale: 0,
        }
    }

    fn decimal(mut mantissa: i128, mut scale: u32) -> Self {
        while scale > 0 && (mantissa % 10 == 0 || scale > MAX_SCALE) {
            mantissa /= 10;
            scale -= 1;
        }
        Self::Decimal { mantissa, scale }
    }

    /// The number nearest to a double; none for infinity and what is not a number.
    pub(crate) fn from_double(double: f64) -> Option<Self> {
        if !double.is_finite() {
            return None;
        }
        Some(Self::parse_decimal(&format!("{double}")).unwrap_or(Self::Double(double)))
    }

    /// Reads `1`, `-1.5`, `1e3`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let valid = digits.starts_with(|ch: char| ch.is_ascii_digit() || ch == '.')
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        if !valid || text.len() > 1000 {
            return None;
        }
        Self::parse_decimal(text).or_else(|| text.parse().ok().and_then(Self::from_double))
    }

    fn parse_decimal(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let fraction = fraction.trim_end_matches('0');
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()? - exponent;
        match u32::try_from(scale) {
            Ok(scale) if scale <= MAX_SCALE => Some(Self::decimal(mantissa, scale)),
            Ok(_) => None,
            Err(_) => {
                let mantissa = mantissa.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
                Some(Self::decimal(mantissa, 0))
            }
        }
    }

    /// As a double, rounded.
    pub(crate) fn double(&self) -> f64 {
        match self {
            Self::Decimal { .. } => self.to_string().parse().unwrap_or(f64::NAN),
            Self::Double(double) => *double,
        }
    }

    /// The whole number that it is.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Decimal { mantissa, scale: 0 } => i64::try_from(*mantissa).ok(),
            _ => None,
        }
    }

    /// Which is smaller.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match aligned(self, other) {
            Some((one, other, _)) => one.cmp(&other),
            None => self.double().total_cmp(&other.double()),
        }
    }

    /// The number with the other sign.
    pub(crate) fn negate(&self) -> Self {
        match self {
            Self::Decimal { mantissa, scale } => Self::Decimal {
                mantissa: -mantissa,
                scale: *scale,
            },
            Self::Double(double) => Self::Double(-double),
        }
    }

    /// The sum; none if it is infinite.
    pub(crate) fn add(&self, other: &Self) -> Option<Self> {
        match aligned(self, other)
            .and_then(|(one, other, scale)| Some((one.checked_add(other)?, scale)))
        {
            Some((sum, scale)) => Some(Self::decimal(sum, scale)),
            None => Self::from_double(self.double() + other.double()),
        }
    }

    /// The product; none if it is infinite.
    pub(crate) fn multiply(&self, other: &Self) -> Option<Self> {
        if let (
            Self::Decimal {
                mantissa: one,
                scale: a,
            },
            Self::Decimal {
                mantissa: other,
                scale: b,
            },
        ) = (self, other)
            && let Some(product) = one.checked_mul(*other)
        {
            return Some(Self::decimal(product, a + b));
        }
        Self::from_double(self.double() * other.double())
    }

    /// The quotient to 34 decimals; none for a division by zero.
    pub(crate) fn divide(&self, other: &Self) -> Option<Self> {
        let Some((one, other_mantissa, _)) = aligned(self, other) else {
            return Self::from_double(self.double() / other.double());
        };
        if other_mantissa == 0 {
            return None;
        }
        let mut mantissa = one / other_mantissa;
        let mut rest = one % other_mantissa;
        let mut scale = 0;
        while rest != 0 && scale < MAX_SCALE {
            let (Some(next), Some(shifted)) = (mantissa.checked_mul(10), rest.checked_mul(10))
            else {
                break;
            };
            let Some(next) = next.checked_add(shifted / other_mantissa) else {
                break;
            };
            mantissa = next;
            rest = shifted % other_mantissa;
            scale += 1;
        }
        Some(Self::decimal(mantissa, scale))
    }

    /// The remainder, with the sign of the dividend; none for a division by zero.
    pub(crate) fn modulo(&self, other: &Self) -> Option<Self> {
        match aligned(self, other) {
            Some((_, 0, _)) => None,
            Some((one, other, scale)) => Some(Self::decimal(one % other, scale)),
            None => Self::from_double(self.double() % other.double()),
        }
    }

    /// The whole number at or below.
    pub(crate) fn floor(&self) -> Self {
        match self {
            Self::Decimal { mantissa, scale } => Self::Decimal {
                mantissa: mantissa.div_euclid(power(*scale)),
                scale: 0,
            },
            Self::Double(double) => {
                Self::from_double(double.floor()).unwrap_or(Self::Double(*double))
            }
        }
    }

    /// The whole number towards zero.
    pub(crate) fn truncate(&self) -> Self {
        if self.is_negative() {
            self.negate().floor().negate()
        } else {
            self.floor()
        }
    }

    /// Whether it is below zero.
    pub(crate) fn is_negative(&self) -> bool {
        match self {
            Self::Decimal { mantissa, .. } => *mantissa < 0,
            Self::Double(double) => *double < 0.0,
        }
    }

    /// Whether it is zero.
    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Self::Decimal { mantissa: 0, .. })
    }
}

/// 10^scale; scales are at most [`MAX_SCALE`].
fn power(scale: u32) -> i128 {
    10i128.pow(scale.min(MAX_SCALE))
}

/// Two decimals at one scale.
fn aligned(one: &Number, other: &Number) -> Option<(i128, i128, u32)> {
    let (
        Number::Decimal {
            mantissa: a,
            scale: x,
        },
        Number::Decimal {
            mantissa: b,
            scale: y,
        },
    ) = (one, other)
    else {
        return None;
    };
    let scale = *x.max(y);
    Some((
        a.checked_mul(power(scale - x))?,
        b.checked_mul(power(scale - y))?,
        scale,
    ))
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { mantissa, scale: 0 } => write!(f, "{mantissa}"),
            Self::Decimal { mantissa, scale } => {
                let sign = if *mantissa < 0 { "-" } else { "" };
                let (digits, scale) = (mantissa.unsigned_abs(), *scale as usize);
                let text = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = text.split_at(text.len() - scale);
                write!(f, "{sign}{whole}.{fraction}")
            }
            Self::Double(double) => write!(f, "{double}"),
        }
    }
}
