//! Numbers: from any written form to the form `write` prints.

use crate::Value;
use crate::float::{ratio_to_f64, write_f64};
use crate::order::exactly;
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;

/// Exponents of exact numbers go no further: `#e1e999999999` would be a gigabyte of digits.
const MAX_EXACT_EXPONENT: i64 = 10_000;

/// A real number while it is being read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Real {
    /// Numerator and denominator, reduced, denominator positive.
    Exact(BigInt, BigUint),
    Float(f64),
    /// Extended-precision numbers keep their written form.
    Extended(String),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Exactness {
    AsWritten,
    Exact,
    Inexact,
}

pub(crate) type Parsed<T> = Option<Result<T, String>>;

/// The number that `text` is for `read`: `None` when it is no number (a symbol then), an error when it looks like
/// one that cannot be (`1/0`).
pub(crate) fn parse(text: &str) -> Parsed<Value> {
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        return text.parse().ok().map(|n| Ok(Value::Int(n)));
    }
    match bytes.first()? {
        b'0'..=b'9' | b'+' | b'-' | b'.' => parse_in(text, 10, Exactness::AsWritten),
        b'#' => parse_prefixed(text),
        _ => None,
    }
}

/// `#x1F`, `#e1.5`, `#e#x10`. With a prefix there is no other reading: what is no number is an error.
fn parse_prefixed(text: &str) -> Parsed<Value> {
    let (mut rest, mut radix, mut exactness) = (text, None, None);
    while let Some(tail) = rest.strip_prefix('#') {
        let letter = tail.chars().next()?.to_ascii_lowercase();
        match letter {
            'x' | 'd' | 'o' | 'b' if radix.is_none() => {
                radix = Some(match letter {
                    'x' => 16,
                    'd' => 10,
                    'o' => 8,
                    _ => 2,
                });
            }
            'e' | 'i' if exactness.is_none() => {
                exactness = Some(if letter == 'e' { Exactness::Exact } else { Exactness::Inexact });
            }
            'x' | 'd' | 'o' | 'b' | 'e' | 'i' => return Some(Err(format!("bad number `{text}`"))),
            _ => return None,
        }
        rest = &tail[1..];
    }
    let parsed = parse_in(rest, radix.unwrap_or(10), exactness.unwrap_or(Exactness::AsWritten));
    Some(parsed.unwrap_or_else(|| Err(format!("bad number `{text}`"))))
}

fn parse_in(text: &str, radix: u32, exactness: Exactness) -> Parsed<Value> {
    // a sign that is no exponent's splits the two parts of a complex number; try every place, shortest first part last
    if let Some(real) = parse_real(text, radix, exactness) {
        return Some(real.map(|real| real_value(&real)));
    }
    if let Some(body) = text.strip_suffix(['i', 'I']) {
        for at in (0..body.len()).rev() {
            if !matches!(body.as_bytes()[at], b'+' | b'-') {
                continue;
            }
            let imaginary = match &body[at..] {
                "+" => Some(Ok(Real::Exact(BigInt::from(1), BigUint::from(1u32)))),
                "-" => Some(Ok(Real::Exact(BigInt::from(-1), BigUint::from(1u32)))),
                part => parse_real(part, radix, exactness),
            };
            let real = match &body[..at] {
                "" => Some(Ok(Real::Exact(BigInt::ZERO, BigUint::from(1u32)))),
                part => parse_real(part, radix, exactness),
            };
            match (real, imaginary) {
                (Some(Ok(real)), Some(Ok(imaginary))) => return rectangular(&real, &imaginary).map(Ok),
                (Some(Err(message)), Some(_)) | (Some(_), Some(Err(message))) => return Some(Err(message)),
                _ => {}
            }
        }
    }
    let (magnitude, angle) = text.split_once('@')?;
    match (parse_real(magnitude, radix, exactness)?, parse_real(angle, radix, exactness)?) {
        (Ok(magnitude), Ok(angle)) => polar(&magnitude, &angle, exactness).map(Ok),
        (Err(message), _) | (_, Err(message)) => Some(Err(message)),
    }
}

fn is_exact_zero(real: &Real) -> bool {
    matches!(real, Real::Exact(n, _) if n.sign() == Sign::NoSign)
}

fn rectangular(real: &Real, imaginary: &Real) -> Option<Value> {
    if is_exact_zero(imaginary) {
        return Some(real_value(real));
    }
    let (real, imaginary) = match (real, imaginary) {
        (Real::Exact(..), Real::Exact(..)) => (written(real), written(imaginary)),
        _ => (written(&Real::Float(to_f64(real)?)), written(&Real::Float(to_f64(imaginary)?))),
    };
    let sign = if imaginary.starts_with(['+', '-']) { "" } else { "+" };
    Some(Value::Number(format!("{real}{sign}{imaginary}i")))
}

fn polar(magnitude: &Real, angle: &Real, exactness: Exactness) -> Option<Value> {
    if is_exact_zero(angle) || is_exact_zero(magnitude) {
        return Some(real_value(magnitude));
    }
    let (magnitude, angle) = (to_f64(magnitude)?, to_f64(angle)?);
    let (real, imaginary) = (magnitude * angle.cos(), magnitude * angle.sin());
    if imaginary == 0.0 && angle == 0.0 {
        return Some(real_value(&Real::Float(real)));
    }
    let (real, imaginary) = (Real::Float(real), Real::Float(imaginary));
    if exactness == Exactness::Exact {
        return rectangular(&exactly(&real)?, &exactly(&imaginary)?);
    }
    rectangular(&real, &imaginary)
}

/// A real number in the given radix: sign, digits with at most one of `.` and `/`, exponent.
pub(crate) fn parse_real(text: &str, radix: u32, exactness: Exactness) -> Parsed<Real> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    if unsigned.len() < text.len()
        && let Some(special) = parse_special(unsigned, negative, text)
    {
        return Some(match (exactness, special) {
            (Exactness::Exact, _) => Err(format!("no exact representation for {text}")),
            (_, special) => Ok(special),
        });
    }
    let bytes = unsigned.as_bytes();
    let digit = |b: u8| char::from(b).is_digit(radix);
    let (mut digits, mut at, mut hashes, mut point, mut slash) = (String::new(), 0, false, None, None);
    while let Some(byte) = bytes.get(at).copied() {
        match byte {
            _ if digit(byte) && !hashes => digits.push(char::from(byte)),
            b'#' if !digits.is_empty() && slash != Some(digits.len()) => {
                digits.push('0');
                hashes = true;
            }
            b'.' if point.is_none() && slash.is_none() => point = Some(digits.len()),
            b'/' if point.is_none() && slash.is_none() && !digits.is_empty() => {
                slash = Some(digits.len());
                // `1#/2` is allowed, and so are digits after it
                if hashes {
                    return parse_with_hashed_numerator(text, radix, exactness);
                }
            }
            _ => break,
        }
        at += 1;
    }
    if digits.is_empty() || slash == Some(digits.len()) {
        return None;
    }
    let mark = bytes.get(at).map(u8::to_ascii_lowercase);
    let exponent = match mark {
        None => None,
        Some(b'e' | b'd' | b'f' | b's' | b'l' | b't') => {
            let text = &unsigned[at + 1..];
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(digit) {
                return None;
            }
            // what does not fit is beyond every float
            let magnitude = i64::from_str_radix(digits, radix).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
            Some(if text.starts_with('-') { -magnitude } else { magnitude })
        }
        Some(_) => return None,
    };
    if mark == Some(b't') && exponent.is_some() {
        return match exactness {
            // written in another radix it would not read back
            Exactness::AsWritten if slash.is_none() && radix == 10 => {
                Some(Ok(Real::Extended(text.to_owned())))
            }
            _ => None,
        };
    }
    let is_float = match exactness {
        Exactness::Exact => false,
        Exactness::Inexact => true,
        Exactness::AsWritten => point.is_some() || exponent.is_some() || hashes,
    };
    let exponent = exponent.unwrap_or(0);
    if is_float && radix == 10 && slash.is_none() {
        let whole = point.unwrap_or(digits.len());
        let decimal = format!("{}.{}e{exponent}", &digits[..whole], &digits[whole..]);
        let magnitude: f64 = decimal.parse().ok()?;
        return Some(Ok(Real::Float(if negative { -magnitude } else { magnitude })));
    }
    Some(compose(text, &digits, radix, point, slash, exponent, is_float, negative))
}

/// `1#/2` and `1#/2#`: rare enough to be rewritten first.
fn parse_with_hashed_numerator(text: &str, radix: u32, exactness: Exactness) -> Parsed<Real> {
    let exactness = if exactness == Exactness::AsWritten { Exactness::Inexact } else { exactness };
    let (numerator, denominator) = text.split_once('/')?;
    let zeros_at_end = numerator.trim_end_matches('#');
    if zeros_at_end.contains('#') {
        return None;
    }
    parse_real(&format!("{}/{denominator}", numerator.replace('#', "0")), radix, exactness)
}

#[allow(clippy::too_many_arguments)]
fn compose(
    text: &str,
    digits: &str,
    radix: u32,
    point: Option<usize>,
    slash: Option<usize>,
    exponent: i64,
    is_float: bool,
    negative: bool,
) -> Result<Real, String> {
    let number = |digits: &str| BigUint::parse_bytes(digits.as_bytes(), radix).unwrap_or_default();
    let mut numerator = number(&digits[..slash.unwrap_or(digits.len())]);
    let mut denominator = slash.map_or_else(|| BigUint::from(1u32), |at| number(&digits[at..]));
    if denominator == BigUint::ZERO {
        return Err(format!("division by zero in `{text}`"));
    }
    let exponent = exponent - point.map_or(0, |at| (digits.len() - at) as i64);
    let zero = numerator == BigUint::ZERO;
    if exponent.abs() > MAX_EXACT_EXPONENT && !zero {
        if is_float {
            let magnitude = if exponent > 0 { f64::INFINITY } else { 0.0 };
            return Ok(Real::Float(if negative { -magnitude } else { magnitude }));
        }
        return Err(format!("exponent of exact number `{text}` is too large"));
    }
    if !zero {
        let power = BigUint::from(radix).pow(exponent.unsigned_abs() as u32);
        if exponent >= 0 {
            numerator *= power;
        } else {
            denominator *= power;
        }
    }
    if is_float {
        let magnitude = ratio_to_f64(&numerator, &denominator);
        return Ok(Real::Float(if negative { -magnitude } else { magnitude }));
    }
    let divisor = numerator.gcd(&denominator);
    let sign = if negative { Sign::Minus } else { Sign::Plus };
    Ok(Real::Exact(BigInt::from_biguint(sign, &numerator / &divisor), denominator / divisor))
}

/// `+inf.0` and its like; the sign is off already. Single floats (`.f`) are doubles, extended ones stay as written.
fn parse_special(unsigned: &str, negative: bool, text: &str) -> Option<Real> {
    let lower = unsigned.to_ascii_lowercase();
    let (name, kind) = lower.split_once('.')?;
    let magnitude = match name {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ => return None,
    };
    match kind {
        "0" | "f" => Some(Real::Float(if negative { -magnitude } else { magnitude })),
        "t" => Some(Real::Extended(text.to_ascii_lowercase())),
        _ => None,
    }
}

pub(crate) fn to_f64(real: &Real) -> Option<f64> {
    match real {
        Real::Exact(numerator, denominator) => {
            let magnitude = ratio_to_f64(numerator.magnitude(), denominator);
            Some(if numerator.sign() == Sign::Minus { -magnitude } else { magnitude })
        }
        Real::Float(float) => Some(*float),
        Real::Extended(_) => None,
    }
}

fn real_value(real: &Real) -> Value {
    let text = written(real);
    match (real, text.parse()) {
        (Real::Exact(..), Ok(int)) => Value::Int(int),
        _ => Value::Number(text),
    }
}

fn written(real: &Real) -> String {
    match real {
        Real::Exact(numerator, denominator) if *denominator == BigUint::from(1u32) => numerator.to_string(),
        Real::Exact(numerator, denominator) => format!("{numerator}/{denominator}"),
        Real::Float(float) => write_f64(*float),
        Real::Extended(text) => text.clone(),
    }
}
