use std::time::Duration;

use proptest::prelude::*;

use super::super::values;
use crate::gate::policy::MAX_RATE;

#[test]
fn times_are_written_as_nginx_has_them() {
    for (text, millis) in [
        ("0", 0),
        ("5", 5_000),
        ("30s", 30_000),
        ("250ms", 250),
        ("1m", 60_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1w", 7 * 86_400_000),
        ("1M", 30 * 86_400_000),
        ("1y", 365 * 86_400_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1m 30", 90_000),
        ("1m30", 90_000),
        ("1d 1h 1m 1s 1ms", 90_061_001),
        ("007s", 7_000),
    ] {
        assert_eq!(values::time(text.as_bytes()), Some(Duration::from_millis(millis)), "{text:?}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        " ",
        "s",
        "ms",
        " 5s",
        "5s ",
        "5  s",
        "5 s",
        "-5s",
        "+5s",
        "5.5s",
        "5x",
        "5S",
        "1s1m",
        "1m 1h",
        "1h 1h",
        "5 5",
        "5s5s",
        "1e3",
        "0x5",
        "٣s",
        "5s\0",
        "1,5s",
        "2y",
        "366d",
        "1y 1ms",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999s",
        "18446744073709551615y",
    ] {
        assert_eq!(values::time(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(values::time(b"1y"), Some(values::MAX_TIME));
    assert_eq!(values::time(b"\xff5s"), None);
}

#[test]
fn numbers_have_no_sign_and_no_blanks() {
    assert_eq!(values::number(b"0"), Some(0));
    assert_eq!(values::number(b"18446744073709551615"), Some(u64::MAX));
    for text in ["", "-1", "+1", " 1", "1 ", "1a", "1.0", "18446744073709551616", "\u{0661}"] {
        assert_eq!(values::number(text.as_bytes()), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_time_is_too_strange(text in "([0-9]{0,21}(ms|[yMwdhms ]|[a-z])?){0,5}") {
        if let Some(time) = values::time(text.as_bytes()) {
            prop_assert!(time <= values::MAX_TIME);
        }
        if let Some(rate) = values::rate(text.as_bytes()) {
            prop_assert!((1..=MAX_RATE).contains(&rate));
        }
    }

    #[test]
    fn a_time_is_the_sum_of_its_parts(h in 0u64..100, m in 0u64..100, s in 0u64..100, ms in 0u64..5000) {
        let text = format!("{h}h {m}m{s}s {ms}ms");
        let sum = ((h * 60 + m) * 60 + s) * 1000 + ms;
        prop_assert_eq!(values::time(text.as_bytes()), Some(Duration::from_millis(sum)));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = (values::time(&bytes), values::number(&bytes), values::rate(&bytes));
    }
}
