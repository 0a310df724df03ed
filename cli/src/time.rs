//! Times as nginx writes them (`30s`, `1m30s`, `250ms`, `30`).

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

const DAY: u64 = 86_400_000;

/// Each unit once at most, and in this order: its place, and its milliseconds.
const UNITS: [(&str, u8, u64); 6] = [
    ("d", 1, DAY),
    ("h", 2, 3_600_000),
    ("m", 3, 60_000),
    ("s", 4, 1000),
    ("ms", 5, 1),
    ("", 6, 1000),
];

/// A time above 0 and of at most a day, in the words in which it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    text: String,
    pub length: Duration,
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let millis = millis(text).filter(|millis| (1..=DAY).contains(millis));
        let millis = millis.ok_or("expected a time above 0 and at most 1d, such as 30s")?;
        Ok(Self { text: text.to_owned(), length: Duration::from_millis(millis) })
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

fn millis(text: &str) -> Option<u64> {
    let (mut rest, mut last, mut total) = (text, 0, 0);
    while !rest.is_empty() {
        let (number, behind) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, behind) = split_where(behind, |c| !c.is_ascii_lowercase());
        rest = behind.strip_prefix(' ').unwrap_or(behind);
        let (_, place, factor) = UNITS.into_iter().find(|(name, ..)| *name == unit)?;
        let in_order = place > last && (!unit.is_empty() || rest.is_empty());
        if number.is_empty() || number.len() > 8 || !in_order {
            return None;
        }
        last = place;
        total += number.parse::<u64>().ok()? * factor;
    }
    (last > 0).then_some(total)
}

fn split_where(text: &str, ends: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// 4210 milliseconds are 4.2 s.
pub fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_nginx_reads_them() {
        let cases = [
            ("1", 1000),
            ("250ms", 250),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("1h", 3_600_000),
            ("1d", DAY),
            ("05s", 5000),
            ("0h5s", 5000),
            ("1h2m3s4ms", 3_723_004),
        ];
        for (text, expected) in cases {
            let time = text.parse::<Time>().expect(text);
            assert_eq!(time.length, Duration::from_millis(expected), "{text}");
            assert_eq!(time.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let wrong = [
            "",
            " ",
            "0",
            "0s",
            "x",
            "s",
            "-1s",
            "1 s",
            "1s1m",
            "5sx",
            "2d",
            "1d1ms",
            "1w",
            "1.5s",
            "30S",
            "1s2s",
            " 1s",
            "1m  30s",
            "30 1s",
            "999999999",
            "99999999d",
            "1µs",
        ];
        for text in wrong {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn waits_are_told_in_tenths_of_seconds() {
        assert_eq!(seconds(0), "0.0 s");
        assert_eq!(seconds(4210), "4.2 s");
        assert_eq!(seconds(60_999), "60.9 s");
    }
}
