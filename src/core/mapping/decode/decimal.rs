//! Decimal128 as text.

use std::io::Write;

/// Of the exponent, as BSON encodes it.
const BIAS: i64 = 6176;
/// The coefficient of 34 digits; a larger one stands for zero.
const LARGEST: u128 = 10_u128.pow(34) - 1;

/// Appends the number in the notation that the specification of BSON's Decimal128 prescribes: with all
/// its digits, and an exponent where the number would need further zeros.
///
/// Writing into a vector does not fail, so its results are ignored.
pub fn append(bytes: [u8; 16], out: &mut Vec<u8>) {
    let bits = u128::from_le_bytes(bytes);
    let sign = if bits >> 127 == 1 { "-" } else { "" };
    let _ = match bits >> 122 & 0b11111 {
        0b11111 => write!(out, "NaN"),
        0b11110 => write!(out, "{sign}Infinity"),
        combination => {
            // With both bits set, the coefficient begins with 100 and has more than 34 digits.
            let is_large = combination >> 3 == 0b11;
            let exponent = bits >> if is_large { 111 } else { 113 } & 0x3fff;
            let coefficient = if is_large { 0 } else { bits & ((1 << 113) - 1) };
            let coefficient = if coefficient > LARGEST { 0 } else { coefficient };
            finite(sign, &coefficient.to_string(), exponent as i64 - BIAS, out)
        }
    };
}

fn finite(sign: &str, digits: &str, exponent: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let adjusted = exponent + digits.len() as i64 - 1;
    if exponent > 0 || adjusted < -6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return write!(out, "{sign}{first}{point}{rest}E{adjusted:+}");
    }
    let fraction = usize::try_from(-exponent).unwrap_or_default();
    match digits.len().checked_sub(fraction) {
        _ if fraction == 0 => write!(out, "{sign}{digits}"),
        Some(0) => write!(out, "{sign}0.{digits}"),
        Some(whole) => {
            let (whole, rest) = digits.split_at(whole);
            write!(out, "{sign}{whole}.{rest}")
        }
        None => write!(out, "{sign}0.{digits:0>fraction$}"),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Decimal128;
    use proptest::prelude::*;

    use super::*;
    use crate::core::mapping::convert::{Converted, Scalar, convert};
    use crate::core::registration::schema::FieldType;

    fn text(bytes: [u8; 16]) -> String {
        let mut out = Vec::new();
        append(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn parse(text: &str) -> [u8; 16] {
        match convert(Scalar::Bytes(text.as_bytes()), FieldType::Decimal) {
            Some(Converted::Decimal(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for number in ["0", "-0", "1.50", "0.001", "-12.30", "1E+3", "1.5E-9", "NaN", "-Infinity"] {
            assert_eq!(text(parse(number)), number);
        }
    }

    proptest! {
        #[test]
        fn any_bits_have_the_text_that_bson_gives_them(bits in any::<u128>()) {
            let bytes = bits.to_le_bytes();
            prop_assert_eq!(text(bytes), Decimal128::from_bytes(bytes).to_string());
        }

        #[test]
        fn a_number_is_read_back(
            coefficient in 0..=LARGEST, exponent in 0..=12_287_u128, negative in any::<bool>(),
        ) {
            let bytes = (coefficient | exponent << 113 | u128::from(negative) << 127).to_le_bytes();
            prop_assert_eq!(parse(&text(bytes)), bytes);
        }
    }
}
