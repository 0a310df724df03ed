//! The arguments of a call: `name=value` pairs of the query string.

use std::borrow::Cow;
use std::fmt;

use super::Call;

/// What is wrong with the arguments, in words for whoever made the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument(pub String);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The arguments of one call, each known to it and given once.
#[derive(Debug, Default)]
pub struct Args<'q> {
    pairs: Vec<(&'q [u8], Cow<'q, [u8]>)>,
}

/// The arguments that every call knows.
const COMMON: [&str; 2] = ["app", "format"];

/// No call takes as many; more are not looked at.
const MOST: usize = 32;

impl<'q> Args<'q> {
    pub fn parse(call: Call, query: &'q [u8]) -> Result<Self, BadArgument> {
        let mut args = Self::default();
        for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at_checked(equals).unwrap_or((pair, b""));
            args.check_name(call, name)?;
            args.pairs.push((name, decode(value.strip_prefix(b"=").unwrap_or(value), name)?));
        }
        Ok(args)
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.pairs.iter().find(|(known, _)| *known == name.as_bytes());
        found.map(|(_, value)| value.as_ref())
    }

    fn check_name(&self, call: Call, name: &[u8]) -> Result<(), BadArgument> {
        let own = call.arguments().iter().chain(COMMON.iter());
        if !own.clone().any(|known| known.as_bytes() == name) || self.pairs.len() >= MOST {
            let known = own.copied().collect::<Vec<_>>().join(", ");
            return Err(BadArgument(format!(
                "unknown argument \"{}\": this call knows {known}",
                shown(name)
            )));
        }
        if self.pairs.iter().any(|(seen, _)| *seen == name) {
            return Err(BadArgument(format!("argument \"{}\" is given twice", shown(name))));
        }
        Ok(())
    }
}

/// Undoes the escapes of a query string.
fn decode<'q>(value: &'q [u8], name: &[u8]) -> Result<Cow<'q, [u8]>, BadArgument> {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(value));
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => escaped(bytes.next(), bytes.next()).ok_or_else(|| {
                BadArgument(format!("argument \"{}\" has a broken escape (%)", shown(name)))
            })?,
            _ => *byte,
        });
    }
    Ok(Cow::Owned(decoded))
}

fn escaped(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Bytes from outside, fit to be shown: short, and without control characters.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 100;
    let text = String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes));
    let mut text: String =
        text.chars().map(|c| if c.is_control() || c == '"' { '?' } else { c }).collect();
    if bytes.len() > MOST {
        text.push('…');
    }
    text
}
