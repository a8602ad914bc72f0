//! Doubles: from ratios, and to the form that `write` prints.

use num_bigint::BigUint;
use num_integer::Integer;

/// The double nearest to a ratio, ties to even.
pub(crate) fn ratio_to_f64(numerator: &BigUint, denominator: &BigUint) -> f64 {
    if *numerator == BigUint::ZERO {
        return 0.0;
    }
    // scale so that the quotient has 66 bits or so, keep what is lost as one sticky bit, then let the correctly
    // rounding decimal parser of the standard library do nothing: 64 bits to 53 by hand
    let shift = 66 - (numerator.bits() as i64 - denominator.bits() as i64);
    let (scaled, divisor) = if shift >= 0 {
        (numerator << shift as u64, denominator.clone())
    } else {
        (numerator.clone(), denominator << shift.unsigned_abs())
    };
    let (quotient, remainder) = scaled.div_rem(&divisor);
    let mut bits = u128::try_from(&quotient).unwrap_or(u128::MAX);
    if remainder != BigUint::ZERO {
        bits |= 1;
    }
    let exponent = -shift;
    // drop bits until 53 are left, more for subnormal numbers
    let width = 128 - i64::from(bits.leading_zeros());
    let drop = (width - 53).max(-1074 - exponent);
    if drop > width + 1 {
        return 0.0;
    }
    let (kept, lost) = (bits >> drop, bits & ((1u128 << drop) - 1));
    let half = 1u128 << (drop - 1);
    let mantissa = kept + u128::from(lost > half || (lost == half && kept & 1 == 1));
    let scale = exponent + drop;
    // mantissa has at most 53 bits and a carry: both factors below are exact or overflow to infinity
    let (first, second) = (scale / 2, scale - scale / 2);
    mantissa as f64 * 2f64.powi(first as i32) * 2f64.powi(second as i32)
}

/// A double in the shortest form that reads back the same, laid out as Racket's `write` does.
pub(crate) fn write_f64(float: f64) -> String {
    if float.is_nan() {
        return "+nan.0".to_owned();
    }
    if float.is_infinite() {
        return if float < 0.0 { "-inf.0" } else { "+inf.0" }.to_owned();
    }
    let scientific = format!("{:e}", float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let count = digits.len() as i32;
    // Racket 8.7: positional up to 1e14, or while at most three zeros have to be added
    if (0..14.max(count + 3)).contains(&exponent) {
        let whole = exponent + 1;
        return if count > whole {
            format!("{sign}{}.{}", &digits[..whole as usize], &digits[whole as usize..])
        } else {
            format!("{sign}{digits}{}.0", "0".repeat((whole - count) as usize))
        };
    }
    if (-4..0).contains(&exponent) {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let fraction = if count > 1 { format!(".{}", &digits[1..]) } else { String::new() };
    let plus = if exponent > 0 { "+" } else { "" };
    format!("{sign}{}{fraction}e{plus}{exponent}", &digits[..1])
}
