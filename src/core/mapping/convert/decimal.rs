//! Decimal128 (IEEE 754-2008 in its decimal encoding, as in BSON), parsed without rounding.

/// Digits of the coefficient.
const DIGITS: usize = 34;
const MIN_EXPONENT: i64 = -6176;
const MAX_EXPONENT: i64 = 6111;

/// Parses `text` and preserves trailing zeros (`1.50`); `None` if it is not a number, or has more
/// digits or a larger exponent than a Decimal128.
pub fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let bits = special(unsigned).or_else(|| finite(unsigned))?;
    Some((bits | u128::from(negative) << 127).to_le_bytes())
}

fn special(text: &[u8]) -> Option<u128> {
    let is = |word: &[u8]| text.eq_ignore_ascii_case(word);
    if is(b"inf") || is(b"infinity") {
        Some(0x78 << 120)
    } else if is(b"nan") {
        Some(0x7c << 120)
    } else {
        None
    }
}

fn finite(text: &[u8]) -> Option<u128> {
    let mark = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match mark {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?),
        None => (text, 0i64),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let (whole, fraction) = mantissa.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();
    let written: Vec<u8> = whole.iter().chain(fraction).copied().collect();
    if written.is_empty() || !written.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let zeros = written.iter().take_while(|digit| **digit == b'0').count();
    let mut digits = &written[zeros..];
    if digits.is_empty() {
        // Zero of any exponent is zero.
        return Some(encode(0, exponent.clamp(MIN_EXPONENT, MAX_EXPONENT)));
    }
    // Only trailing zeros may be dropped.
    while digits.len() > DIGITS || exponent < MIN_EXPONENT {
        digits = digits.strip_suffix(b"0").filter(|digits| !digits.is_empty())?;
        exponent = exponent.checked_add(1)?;
    }
    let coefficient = digits.iter().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    // If the exponent is too large, zeros are appended as far as they fit.
    let missing = u32::try_from((exponent - MAX_EXPONENT).max(0)).ok()?;
    if digits.len() + missing as usize > DIGITS {
        return None;
    }
    Some(encode(coefficient * 10u128.pow(missing), exponent - i64::from(missing)))
}

/// The exponent is in the range of the format, and the coefficient below 10^34 < 2^113.
fn encode(coefficient: u128, exponent: i64) -> u128 {
    let biased = (exponent - MIN_EXPONENT) as u128;
    coefficient | biased << 113
}
