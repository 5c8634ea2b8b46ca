//! Operators.

use super::{Scope, World, eval};
use crate::source::{Fault, Outcome};
use crate::syntax::ast::{Expr, Operator};
use crate::value::{Number, Type, Value, convert};

/// The boolean that a value stands for.
pub(crate) fn truth(value: &Value) -> Outcome<bool> {
    match convert(value, &Type::Bool)? {
        Value::Bool(value) => Ok(value),
        _ => Err(Fault::new("a bool is required, but this is null")),
    }
}

fn number(value: &Value) -> Outcome<Number> {
    match convert(value, &Type::Number)? {
        Value::Number(value) => Ok(value),
        _ => Err(Fault::new("a number is required, but this is null")),
    }
}

pub(super) fn negate(value: &Value) -> Outcome<Value> {
    Ok(Value::Number(number(value)?.negate()))
}

pub(super) fn not(value: &Value) -> Outcome<Value> {
    Ok(Value::Bool(!truth(value)?))
}

pub(super) fn binary(
    world: &dyn World,
    scope: &Scope<'_>,
    operator: Operator,
    operands: (&Expr, &Expr),
) -> Outcome<Value> {
    let left = eval(world, scope, operands.0)?;
    if matches!(operator, Operator::And | Operator::Or) {
        let left = truth(&left).map_err(|fault| fault.or_at(operands.0.span))?;
        if left == (operator == Operator::Or) {
            return Ok(Value::Bool(left));
        }
        let right = eval(world, scope, operands.1)?;
        return truth(&right)
            .map(Value::Bool)
            .map_err(|fault| fault.or_at(operands.1.span));
    }
    let right = eval(world, scope, operands.1)?;
    match operator {
        Operator::Equal => return Ok(Value::Bool(left.equals(&right))),
        Operator::NotEqual => return Ok(Value::Bool(!left.equals(&right))),
        _ => {}
    }
    let left = number(&left).map_err(|fault| fault.or_at(operands.0.span))?;
    let right = number(&right).map_err(|fault| fault.or_at(operands.1.span))?;
    arithmetic(operator, &left, &right).map_err(|fault| fault.or_at(operands.1.span))
}

fn arithmetic(operator: Operator, left: &Number, right: &Number) -> Outcome<Value> {
    let order = left.order(right);
    let result = match operator {
        Operator::Less => return Ok(Value::Bool(order.is_lt())),
        Operator::LessOrEqual => return Ok(Value::Bool(order.is_le())),
        Operator::Greater => return Ok(Value::Bool(order.is_gt())),
        Operator::GreaterOrEqual => return Ok(Value::Bool(order.is_ge())),
        Operator::Divide | Operator::Modulo if right.is_zero() => {
            return Err(Fault::new("division by zero"));
        }
        Operator::Add => left.add(right),
        Operator::Subtract => left.add(&right.negate()),
        Operator::Multiply => left.multiply(right),
        Operator::Divide => left.divide(right),
        _ => left.modulo(right),
    };
    result
        .map(Value::Number)
        .ok_or_else(|| Fault::new("the result is too large a number"))
}
