//! Dates: ISO 8601, and seconds or milliseconds since 1970.

mod number;

use number::Number;

/// A number with a smaller absolute value is in seconds (up to the year 5138), any other in
/// milliseconds (from March 1973 on, and before October 1966).
const SECONDS_BELOW: u64 = 100_000_000_000;

/// The unit of a number that counts the time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds if it is below [`SECONDS_BELOW`], else milliseconds.
    Guessed,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// Parses an ISO 8601 date, or a number in `unit`, into milliseconds since 1970. Fractions of a
/// millisecond are rounded down; a date without a time zone is UTC, without a time it is midnight.
pub fn parse(text: &[u8], unit: Unit) -> Option<i64> {
    match Number::read(text) {
        Some(number) => epoch_ms(&number, unit),
        None => iso_8601(text),
    }
}

fn epoch_ms(number: &Number<'_>, unit: Unit) -> Option<i64> {
    let is_seconds = match unit {
        // A number that is too large for an int64 is out of range in seconds, too.
        Unit::Guessed => number.whole().is_some_and(|whole| whole.unsigned_abs() < SECONDS_BELOW),
        Unit::Seconds => true,
        Unit::Milliseconds => false,
    };
    number.floor(if is_seconds { 3 } else { 0 })
}

fn iso_8601(text: &[u8]) -> Option<i64> {
    let mut rest = Remaining(text);
    let year = rest.number(4)?;
    rest.byte(b"-")?;
    let month = rest.number(2)?;
    rest.byte(b"-")?;
    let day = rest.number(2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let days_ms = days_since_1970(year, month, day) * 86_400_000;
    if rest.0.is_empty() {
        return Some(days_ms);
    }
    rest.byte(b"Tt ")?;
    let time_ms = rest.time_ms()?;
    let zone_ms = rest.zone_ms()?;
    rest.0.is_empty().then_some(days_ms + time_ms - zone_ms)
}

/// The unread part of the text.
struct Remaining<'a>(&'a [u8]);

impl Remaining<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(head.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn number_up_to(&mut self, digits: usize, most: i64) -> Option<i64> {
        self.number(digits).filter(|number| *number <= most)
    }

    /// Takes the next byte if it is one of these.
    fn byte(&mut self, of: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first().filter(|(first, _)| of.contains(first))?;
        self.0 = rest;
        Some(*first)
    }

    /// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f…`.
    fn time_ms(&mut self) -> Option<i64> {
        let hour = self.number_up_to(2, 23)?;
        self.byte(b":")?;
        let minute = self.number_up_to(2, 59)?;
        let mut ms = (hour * 60 + minute) * 60_000;
        if self.byte(b":").is_some() {
            ms += self.number_up_to(2, 59)? * 1000;
            if self.byte(b".,").is_some() {
                let end = self.0.iter().position(|byte| !byte.is_ascii_digit());
                let (fraction, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
                if fraction.is_empty() {
                    return None;
                }
                self.0 = rest;
                let place = fraction.iter().zip([100, 10, 1]);
                ms += place.map(|(digit, worth)| i64::from(digit - b'0') * worth).sum::<i64>();
            }
        }
        Some(ms)
    }

    /// The offset from UTC: empty, `Z`, `±HH:MM`, `±HHMM` or `±HH`.
    fn zone_ms(&mut self) -> Option<i64> {
        let Some(sign) = self.byte(b"Zz+-") else { return Some(0) };
        if matches!(sign, b'Z' | b'z') {
            return Some(0);
        }
        let hours = self.number_up_to(2, 23)?;
        let colon = self.byte(b":").is_some();
        let minutes = if self.0.is_empty() && !colon { 0 } else { self.number_up_to(2, 59)? };
        let ms = (hours * 60 + minutes) * 60_000;
        Some(if sign == b'-' { -ms } else { ms })
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days in the proleptic Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last; eras have 400 years.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
