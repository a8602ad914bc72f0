//! The order of real numbers, which keys of a hash are sorted by.

use crate::Value;
use crate::number::{Exactness, Real, parse_real, to_f64};
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;

/// Order of two real numbers that are not NaN; `None` for anything else. Exact and inexact ones compare by value.
pub(crate) fn compare(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
    if let (Value::Int(one), Value::Int(other)) = (one, other) {
        return Some(one.cmp(other));
    }
    let (one, other) = (real_of(one)?, real_of(other)?);
    match (exact_of(&one), exact_of(&other)) {
        (Some((n1, d1)), Some((n2, d2))) => Some((n1 * BigInt::from(d2)).cmp(&(n2 * BigInt::from(d1)))),
        // infinity on one side at least
        _ => to_f64(&one)?.partial_cmp(&to_f64(&other)?),
    }
}

fn real_of(value: &Value) -> Option<Real> {
    match value {
        Value::Int(int) => Some(Real::Exact(BigInt::from(*int), BigUint::from(1u32))),
        Value::Number(text) => parse_real(text, 10, Exactness::AsWritten)?.ok(),
        _ => None,
    }
}

pub(crate) fn exactly(real: &Real) -> Option<Real> {
    let (numerator, denominator) = exact_of(real)?;
    let divisor = numerator.magnitude().gcd(&denominator);
    let magnitude = numerator.magnitude() / &divisor;
    Some(Real::Exact(BigInt::from_biguint(numerator.sign(), magnitude), denominator / divisor))
}

/// Numerator and denominator, exactly; `None` for infinity and NaN.
fn exact_of(real: &Real) -> Option<(BigInt, BigUint)> {
    match real {
        Real::Exact(numerator, denominator) => Some((numerator.clone(), denominator.clone())),
        Real::Extended(_) => None,
        Real::Float(float) if !float.is_finite() => None,
        Real::Float(float) => {
            let bits = float.to_bits();
            let (exponent, fraction) = ((bits >> 52) & 0x7FF, bits & ((1 << 52) - 1));
            let (mantissa, exponent) =
                if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent as i64 - 1075) };
            let sign = if *float < 0.0 { Sign::Minus } else { Sign::Plus };
            let (numerator, denominator) = (BigUint::from(mantissa), BigUint::from(1u32));
            let magnitude = exponent.unsigned_abs();
            Some(if exponent >= 0 {
                (BigInt::from_biguint(sign, numerator << magnitude), denominator)
            } else {
                (BigInt::from_biguint(sign, numerator), denominator << magnitude)
            })
        }
    }
}
