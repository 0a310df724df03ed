//! The state file: what outlives nginx.
//!
//! A few lines of text, written whole each time:
//!
//! ```text
//! intermission 2
//! serial 42
//! paused shop pause=1794999940000 until=1795000000000 rate=500 burst=0 concurrency=0 timeout=60000
//! maintenance blog retry_after=120
//! end 2 8f3c7e2a90b1d4c6
//! ```
//!
//! Apps that are not in it are open. Times are milliseconds since 1970, as they have to mean the
//! same after a restart of the machine; names are escaped as in addresses. The last line has the
//! number of apps and a checksum of all that stands before it. Version 1 had no numbers of pauses.

use std::fmt::{self, Write};

#[cfg(test)]
mod tests;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::escapes;
use crate::gate::State;
use crate::gate::policy::{MAX_COUNT, MAX_RATE, Policy};
use crate::shm::MAX_NAME;

const VERSION: u32 = 2;

/// What has to be escaped in a name.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// No app's line is longer, and no file has more of them than a zone could.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Grows with each write, so that who has read the file can tell whether it is newer.
    pub serial: u64,
    pub apps: Vec<SavedApp>,
}

/// An app that is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedApp {
    pub name: Vec<u8>,
    /// Never [`State::Open`].
    pub state: State,
    /// The number of the pause, 0 if it is none, or was written by version 1.
    pub pause: u64,
    /// When the pause ends by itself.
    pub until_unix_ms: Option<u64>,
    pub policy: Policy,
    pub retry_after: u64,
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Empty,
    Truncated,
    Corrupt,
    NewerVersion,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Truncated => "is truncated",
            Self::Corrupt => "is corrupt",
            Self::NewerVersion => "was written by a newer version of the module",
        })
    }
}

impl Saved {
    pub fn format(&self) -> String {
        let mut text = format!("intermission {VERSION}\nserial {}\n", self.serial);
        for app in &self.apps {
            app.format(&mut text);
        }
        let sum = checksum(text.as_bytes());
        let _ = writeln!(text, "end {} {sum:016x}", self.apps.len());
        text
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        if bytes.is_empty() {
            return Err(Damage::Empty);
        }
        let text = str_of(bytes)?;
        let (version, rest) = text.split_once('\n').ok_or(Damage::Truncated)?;
        check_version(version)?;
        let body = checked_body(text)?;
        let lines = body.get(version.len() + 1..).unwrap_or(rest);
        let (serial, apps) = lines.split_once('\n').ok_or(Damage::Corrupt)?;
        let serial = serial.strip_prefix("serial ").and_then(|serial| serial.parse().ok());
        let apps = apps.lines().map(SavedApp::parse).collect::<Option<Vec<_>>>();
        Ok(Self { serial: serial.ok_or(Damage::Corrupt)?, apps: apps.ok_or(Damage::Corrupt)? })
    }
}

impl SavedApp {
    fn format(&self, text: &mut String) {
        let name = percent_encode(&self.name, ESCAPED);
        if self.state == State::Maintenance {
            let _ = writeln!(text, "maintenance {name} retry_after={}", self.retry_after);
            return;
        }
        let _ = write!(text, "{} {name}", self.state.name());
        if self.pause > 0 {
            let _ = write!(text, " pause={}", self.pause);
        }
        if let Some(until) = self.until_unix_ms {
            let _ = write!(text, " until={until}");
        }
        let Policy { rate, burst, concurrency, timeout_ms } = self.policy;
        let _ = writeln!(
            text,
            " rate={rate} burst={burst} concurrency={concurrency} timeout={timeout_ms}"
        );
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let state = match words.next()? {
            "paused" => State::Paused,
            "releasing" => State::Releasing,
            "maintenance" => State::Maintenance,
            _ => return None,
        };
        let mut app = Self {
            name: name_of(words.next()?)?,
            state,
            pause: 0,
            until_unix_ms: None,
            policy: Policy::default(),
            retry_after: 0,
        };
        for word in words {
            let (name, value) = word.split_once('=')?;
            app.set(name, value.parse().ok()?)?;
        }
        Some(app)
    }

    fn set(&mut self, name: &str, value: u64) -> Option<()> {
        let at_most = |most: u32| u32::try_from(value).ok().filter(|value| *value <= most);
        match name {
            "pause" => self.pause = value,
            "until" => self.until_unix_ms = Some(value),
            "rate" => self.policy.rate = at_most(MAX_RATE)?,
            "burst" => self.policy.burst = at_most(MAX_COUNT)?,
            "concurrency" => self.policy.concurrency = at_most(MAX_COUNT)?,
            "timeout" => self.policy.timeout_ms = value,
            "retry_after" => self.retry_after = value,
            _ => return None,
        }
        Some(())
    }
}

fn str_of(bytes: &[u8]) -> Result<&str, Damage> {
    let in_range = Some(bytes).filter(|bytes| bytes.len() <= MAX_BYTES);
    in_range.and_then(|bytes| core::str::from_utf8(bytes).ok()).ok_or(Damage::Corrupt)
}

fn check_version(line: &str) -> Result<(), Damage> {
    let version = line.strip_prefix("intermission ").and_then(|version| version.parse().ok());
    match version {
        Some(1..=VERSION) => Ok(()),
        Some(newer) if newer > VERSION => Err(Damage::NewerVersion),
        _ => Err(Damage::Corrupt),
    }
}

/// What stands before the last line, if that fits it.
fn checked_body(text: &str) -> Result<&str, Damage> {
    let all = text.strip_suffix('\n').ok_or(Damage::Truncated)?;
    let start = all.rfind('\n').map_or(0, |newline| newline + 1);
    let (body, last) = all.split_at(start);
    let (count, sum) =
        last.strip_prefix("end ").and_then(|end| end.split_once(' ')).ok_or(Damage::Truncated)?;
    let apps = body.lines().count().saturating_sub(2);
    let fits = count.parse() == Ok(apps) && sum == format!("{:016x}", checksum(body.as_bytes()));
    if fits { Ok(body) } else { Err(Damage::Corrupt) }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): against accidents, not against forgery.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn name_of(text: &str) -> Option<Vec<u8>> {
    escapes::decode(text.as_bytes()).filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
}
