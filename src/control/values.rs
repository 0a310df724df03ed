//! The values of directives and arguments: times, counts, rates.

use core::time::Duration;

use crate::gate::policy::{MAX_RATE, Policy};

/// The longest time that any value may name.
pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// nginx's units, from the largest to the smallest, in milliseconds.
const UNITS: [(&[u8], u64); 8] = [
    (b"y", 365 * 24 * 3_600_000),
    (b"M", 30 * 24 * 3_600_000),
    (b"w", 7 * 24 * 3_600_000),
    (b"d", 24 * 3_600_000),
    (b"h", 3_600_000),
    (b"m", 60_000),
    (b"s", 1000),
    (b"ms", 1),
];

/// A time as nginx writes it: `30s`, `1m 30s`, `250ms`, or plain seconds. Units go from the larger
/// to the smaller, each at most once. `None` if it is not one or above [`MAX_TIME`].
pub fn time(value: &[u8]) -> Option<Duration> {
    let mut rest = value;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let letters = after.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let (index, millis) = if unit.is_empty() { (UNITS.len(), 1000) } else { find_unit(unit)? };
        if index < next_unit || (unit.is_empty() && !after.is_empty()) {
            return None;
        }
        next_unit = index + 1;
        total = total.checked_add(number.checked_mul(millis)?)?;
        rest = after.strip_prefix(b" ").unwrap_or(after);
        if rest.is_empty() && rest.len() != after.len() {
            return None;
        }
    }
    let time = Duration::from_millis(total);
    (!value.is_empty() && time <= MAX_TIME).then_some(time)
}

/// A whole number without a sign.
pub fn number(value: &[u8]) -> Option<u64> {
    let (number, rest) = leading_number(value)?;
    rest.is_empty().then_some(number)
}

/// A rate in requests per second, as nginx writes it: `500r/s`.
pub fn rate(value: &[u8]) -> Option<u32> {
    let rate = u32::try_from(number(value.strip_suffix(b"r/s")?)?).ok()?;
    (1..=MAX_RATE).contains(&rate).then_some(rate)
}

/// Whether a policy's rate can be kept with its burst.
pub fn check_burst(policy: &Policy) -> Result<(), String> {
    let least = Policy::least_burst(policy.rate);
    if policy.burst > 0 && policy.burst < least {
        return Err(format!(
            "{} is too small for {}r/s, as timers fire once in a millisecond: expected at least \
             {least}",
            policy.burst, policy.rate
        ));
    }
    Ok(())
}

fn find_unit(unit: &[u8]) -> Option<(usize, u64)> {
    let index = UNITS.iter().position(|(name, _)| *name == unit)?;
    Some((index, UNITS.get(index)?.1))
}

fn leading_number(value: &[u8]) -> Option<(u64, &[u8])> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = value.split_at_checked(digits)?;
    Some((core::str::from_utf8(number).ok()?.parse().ok()?, rest))
}
