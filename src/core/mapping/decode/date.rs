//! Dates as text.

use std::io::Write;

use crate::core::registration::schema::FieldType;

const DAY_MS: i64 = 86_400_000;

/// Appends a date: ISO 8601 unless SCHEMA says which unit the number has. Years that ISO 8601 writes
/// with more than four digits are numbers of milliseconds, which DATE takes for such.
///
/// Writing into a vector does not fail, so its results are ignored.
pub fn append(unix_ms: i64, to: Option<FieldType>, out: &mut Vec<u8>) {
    let _ = match to {
        Some(FieldType::DateS) => seconds(unix_ms, out),
        Some(FieldType::DateMs) => write!(out, "{unix_ms}"),
        _ if !is_iso_8601(unix_ms) => write!(out, "{unix_ms}"),
        _ => iso_8601(unix_ms, out),
    };
}

/// True if the year has four digits.
pub fn is_iso_8601(unix_ms: i64) -> bool {
    (0..=9999).contains(&civil(unix_ms.div_euclid(DAY_MS)).0)
}

/// Seconds, with a fraction if they have one.
fn seconds(unix_ms: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (ms, sign) = (unix_ms.unsigned_abs(), if unix_ms < 0 { "-" } else { "" });
    write!(out, "{sign}{}", ms / 1000)?;
    fraction(ms % 1000, out)
}

fn fraction(ms: u64, out: &mut Vec<u8>) -> std::io::Result<()> {
    match ms {
        0 => Ok(()),
        ms if ms % 100 == 0 => write!(out, ".{}", ms / 100),
        ms if ms % 10 == 0 => write!(out, ".{:02}", ms / 10),
        ms => write!(out, ".{ms:03}"),
    }
}

fn iso_8601(unix_ms: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (year, month, day) = civil(unix_ms.div_euclid(DAY_MS));
    let ms = unix_ms.rem_euclid(DAY_MS) as u64;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    fraction(ms % 1000, out)?;
    out.write_all(b"Z")
}

/// Year, month and day in the proleptic Gregorian calendar.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    // Years begin in March, so that the leap day is the last; eras have 400 years.
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::mapping::convert::{Converted, Scalar, convert};

    fn text(unix_ms: i64, to: FieldType) -> String {
        let mut out = Vec::new();
        append(unix_ms, Some(to), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_have_the_form_of_their_type() {
        let texts =
            |ms| [FieldType::Date, FieldType::DateS, FieldType::DateMs].map(|to| text(ms, to));
        assert_eq!(texts(0), ["1970-01-01T00:00:00Z", "0", "0"]);
        assert_eq!(texts(-1500), ["1969-12-31T23:59:58.5Z", "-1.5", "-1500"]);
        let leap = 951_782_400_120;
        assert_eq!(texts(leap), ["2000-02-29T00:00:00.12Z", "951782400.12", "951782400120"]);
        let last = 253_402_300_799_999;
        assert_eq!(text(last, FieldType::Date), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(last + 1, FieldType::Date), "253402300800000");
    }

    proptest! {
        #[test]
        fn a_date_is_read_back(
            ms in prop_oneof![any::<i64>(), -100_000_000_000_000..300_000_000_000_000_i64],
        ) {
            for to in [FieldType::Date, FieldType::DateS, FieldType::DateMs] {
                let text = text(ms, to);
                let read = convert(Scalar::Bytes(text.as_bytes()), to);
                prop_assert_eq!(read, Some(Converted::Date(ms)), "{} {:?}", text, to);
            }
        }
    }
}
