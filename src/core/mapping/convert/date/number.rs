//! Decimal numbers as applications format timestamps: `1659038730`, `1659038730.123` or
//! `1.659038730123E9`. They are parsed digit by digit, because a double cannot represent every
//! millisecond.

/// An int64 has at most this many digits.
const MOST_DIGITS: i64 = 19;

/// A decimal number.
#[derive(Clone, Copy, Debug)]
pub struct Number<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Number<'t> {
    /// Parses `-?<digits>[.<digits>][e[+-]<digits>]`; `None` if `text` has another form.
    pub fn read(text: &'t [u8]) -> Option<Self> {
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let mark = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (mantissa, exponent) = match mark {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&mantissa[..at], digits(&mantissa[at + 1..])?),
            None => (mantissa, &[][..]),
        };
        Some(Number { negative, whole: digits(whole)?, fraction, exponent })
    }

    /// The number times ten to the power of `shift`, rounded down; `None` if it does not fit an
    /// int64.
    pub fn floor(&self, shift: i64) -> Option<i64> {
        let (value, is_exact) = self.cut(shift)?;
        if is_exact || !self.negative { Some(value) } else { value.checked_sub(1) }
    }

    /// The integer part; `None` if it does not fit an int64.
    pub fn whole(&self) -> Option<i64> {
        self.cut(0).map(|(value, _)| value)
    }

    /// The integer part of the number times ten to the power of `shift`, and true if there is no
    /// fraction.
    fn cut(&self, shift: i64) -> Option<(i64, bool)> {
        // The length of a Redis string is far below the maximum of an int64.
        let point = (self.whole.len() as i64).saturating_add(self.exponent).saturating_add(shift);
        let digits = || self.whole.iter().chain(self.fraction);
        let zeros = digits().take_while(|digit| **digit == b'0').count() as i64;
        let written = (self.whole.len() + self.fraction.len()) as i64;
        if zeros == written {
            return Some((0, true));
        }
        if point.saturating_sub(zeros) > MOST_DIGITS {
            return None;
        }
        let kept = point.clamp(0, written);
        let mut value = 0i64;
        for digit in digits().take(kept as usize) {
            let digit = i64::from(digit - b'0');
            // Accumulates the negative, because the minimum int64 has no positive counterpart.
            value = value.checked_mul(10)?.checked_sub(digit)?;
        }
        for _ in kept..point {
            value = value.checked_mul(10)?;
        }
        let value = if self.negative { value } else { value.checked_neg()? };
        Some((value, digits().skip(kept as usize).all(|digit| *digit == b'0')))
    }
}

/// At least one digit, and nothing else.
fn digits(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then_some(text)
}

/// Parses the exponent. One that does not fit an int64 is saturated.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = digits(unsigned)?.iter().fold(0i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn floor(text: &str, shift: i64) -> Option<i64> {
        Number::read(text.as_bytes()).and_then(|number| number.floor(shift))
    }

    #[test]
    fn numbers_are_rounded_down() {
        for (text, shift, expected) in [
            ("0", 3, 0),
            ("-0.0", 3, 0),
            ("7", 3, 7_000),
            ("1659038730.123", 3, 1_659_038_730_123),
            ("1659038730.1239999", 3, 1_659_038_730_123),
            ("-1.5", 3, -1_500),
            ("-0.0001", 3, -1),
            ("0.0009", 3, 0),
            ("1.659038730123E9", 3, 1_659_038_730_123),
            ("1.5e-3", 3, 1),
            ("000000000000000000000000007", 0, 7),
            ("0.00000000000000000000007e23", 0, 7),
            ("7e-400", 3, 0),
            ("0e99999999999999999999", 3, 0),
            ("9223372036854775807", 0, i64::MAX),
            ("-9223372036854775808", 0, i64::MIN),
            ("92233720368547758.07e2", 0, i64::MAX),
        ] {
            assert_eq!(floor(text, shift), Some(expected), "{text}");
        }
    }

    #[test]
    fn malformed_and_too_large_numbers_are_refused() {
        for text in ["", "-", ".", "1.", ".5", "+1", "1e", "1e+", "e1", "1.2.3", "0x1", "inf", "1 "]
        {
            assert!(Number::read(text.as_bytes()).is_none(), "{text}");
        }
        for (text, shift) in [
            ("9223372036854775808", 0),
            ("-9223372036854775809", 0),
            ("-9223372036854775808.5", 0),
            ("9223372036854775.808", 3),
            ("1e99999999999999999999", 0),
            ("1e30", 0),
        ] {
            assert_eq!(floor(text, shift), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_notations_of_a_number_are_equal(ms in any::<i64>(), zeros in 0usize..4) {
            let (seconds, rest) = (i128::from(ms) / 1000, (i128::from(ms) % 1000).abs());
            let sign = if ms < 0 && seconds == 0 { "-" } else { "" };
            let zeros = "0".repeat(zeros);
            prop_assert_eq!(floor(&format!("{sign}{seconds}.{rest:03}{zeros}"), 3), Some(ms));
            prop_assert_eq!(floor(&format!("{ms}e-3"), 3), Some(ms));
            prop_assert_eq!(floor(&format!("{ms}.{zeros}0"), 0), Some(ms));
        }
    }
}
