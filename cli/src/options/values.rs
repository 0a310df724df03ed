//! Values of options. An error says what was expected.

use crate::address::Address;
use crate::time::Time;

const LARGEST: u32 = 1_000_000;

pub fn address(text: &str) -> Result<Address, &'static str> {
    text.parse()
}

pub fn time(text: &str) -> Result<Time, &'static str> {
    text.parse()
}

pub fn rate(text: &str) -> Result<String, &'static str> {
    per_second(text).map(|_| text.to_owned()).ok_or("expected a rate from 1r/s to 1000000r/s")
}

/// 500r/s are 500.
pub fn per_second(rate: &str) -> Option<u32> {
    rate.strip_suffix("r/s").and_then(positive)
}

pub fn count(text: &str) -> Result<u32, &'static str> {
    positive(text).ok_or("expected a number from 1 to 1000000")
}

fn positive(text: &str) -> Option<u32> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|number| is_plain && *number <= LARGEST)
}

pub fn etcd(text: &str) -> Result<Address, &'static str> {
    let address = text.parse::<Address>().ok().filter(|address| address.socket().is_none());
    address.ok_or("expected http://HOST:2379 or https://HOST:2379")
}

pub fn node(text: &str) -> Result<String, &'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = (1..=100).contains(&text.len()) && text.chars().all(fits);
    is_name.then(|| text.to_owned()).ok_or("expected up to 100 letters, digits, dots, - and _")
}
