//! The arguments of a call: `name=value` pairs of the query string.

use std::fmt;
use std::time::Duration;

use super::{Call, values};
use crate::escapes;
use crate::gate::policy::{MAX_COUNT, Policy};

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
    pairs: Vec<(&'q [u8], Vec<u8>)>,
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
        found.map(|(_, value)| value.as_slice())
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

/// How an app is to be paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enable {
    /// After this time it is resumed by itself.
    pub lasts: Option<Duration>,
    /// The answer waits for this long at most until nothing is in flight.
    pub drain: Option<Duration>,
    /// And until no request was abandoned for this long.
    pub settle: Option<Duration>,
    /// The pause stays though the drain took longer.
    pub keep: bool,
    /// Only if this pause goes on.
    pub pause: Option<u64>,
}

impl Enable {
    pub fn parse(args: &Args<'_>) -> Result<Self, BadArgument> {
        let enable = Self {
            lasts: args.time("for")?,
            drain: args.time("drain")?,
            settle: args.time("settle")?,
            keep: args.flag("keep")?,
            pause: args.pause()?,
        };
        let lonely = [("keep", enable.keep), ("settle", enable.settle.is_some())];
        match lonely.into_iter().find(|(_, given)| *given && enable.drain.is_none()) {
            Some((name, _)) => Err(BadArgument(format!("argument \"{name}\" goes with \"drain\""))),
            None => Ok(enable),
        }
    }
}

/// How the held requests are to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disable {
    pub policy: Policy,
    /// How many go ahead as a canary, 0 for none.
    pub canary: u32,
    /// If that fails, the app is resumed by itself after this time, counted from now.
    pub lasts: Option<Duration>,
    /// Only if this pause goes on.
    pub pause: Option<u64>,
}

impl Disable {
    /// `policy` is what holds for what the arguments do not say.
    pub fn parse(args: &Args<'_>, policy: Policy) -> Result<Self, BadArgument> {
        let rate = args.value("rate", "a rate from 1r/s to 1000000r/s", values::rate)?;
        let burst = args.count("burst")?;
        let own_burst = if rate.is_some() { 0 } else { policy.burst };
        let policy = Policy {
            rate: rate.unwrap_or(policy.rate),
            burst: burst.unwrap_or(own_burst),
            concurrency: args.count("concurrency")?.unwrap_or(policy.concurrency),
            ..policy
        };
        if burst.is_some() && policy.rate == 0 {
            return Err(BadArgument("argument \"burst\" goes with \"rate\"".to_owned()));
        }
        values::check_burst(&policy)
            .map_err(|problem| BadArgument(format!("argument \"burst\": {problem}")))?;
        let (canary, lasts) = (args.count("canary")?.unwrap_or(0), args.time("for")?);
        if lasts.is_some() && canary == 0 {
            return Err(BadArgument("argument \"for\" goes with \"canary\"".to_owned()));
        }
        Ok(Self { policy, canary, lasts, pause: args.pause()? })
    }
}

/// `Retry-After` of the maintenance answers in seconds, 0 for none.
pub fn retry_after(args: &Args<'_>) -> Result<u64, BadArgument> {
    let in_range = |value: &[u8]| {
        let time = values::time(value)?;
        (time.as_secs() > 0 && time <= values::DAY).then_some(time.as_secs())
    };
    Ok(args.value("retry_after", "a time from 1s to 1d", in_range)?.unwrap_or(0))
}

impl Args<'_> {
    /// The value of an argument, if it is given; else what is wrong with it.
    fn value<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, BadArgument> {
        let Some(given) = self.get(name) else { return Ok(None) };
        parse(given).map(Some).ok_or_else(|| {
            let given = shown(given);
            BadArgument(format!("argument \"{name}\" is \"{given}\": expected {expected}"))
        })
    }

    fn time(&self, name: &str) -> Result<Option<Duration>, BadArgument> {
        self.value(name, "a time above 0 and at most 1d, such as 30s", |given| {
            values::time(given).filter(|time| !time.is_zero() && *time <= values::DAY)
        })
    }

    fn count(&self, name: &str) -> Result<Option<u32>, BadArgument> {
        let expected = format!("a number from 1 to {MAX_COUNT}");
        self.value(name, &expected, |given| {
            let count = u32::try_from(values::number(given)?).ok()?;
            (1..=MAX_COUNT).contains(&count).then_some(count)
        })
    }

    fn pause(&self) -> Result<Option<u64>, BadArgument> {
        self.value("pause", "the number of a pause, as enable answers it", |given| {
            values::number(given).filter(|number| *number > 0)
        })
    }

    fn flag(&self, name: &str) -> Result<bool, BadArgument> {
        let flag = self.value(name, "0 or 1", |given| match given {
            b"0" => Some(false),
            b"1" => Some(true),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }
}

/// Undoes the escapes of a query string.
fn decode(value: &[u8], name: &[u8]) -> Result<Vec<u8>, BadArgument> {
    let spaced: Vec<u8> =
        value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    escapes::decode(&spaced)
        .ok_or_else(|| BadArgument(format!("argument \"{}\" has a broken escape (%)", shown(name))))
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
