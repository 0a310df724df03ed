//! The keys in the store, and their values.
//!
//! | key | value | goes with |
//! | --- | --- | --- |
//! | `/intermission/nodes/NODE` | a node of the fleet | its agent |
//! | `/intermission/apps/APP` | that an app is to be paused | its holder |
//! | `/intermission/acks/APP/NODE` | what a node did for that | its holder |

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::decide::{Ack, Want};
use super::store::Entry;
use crate::say::printable;

pub const ALL: &str = "/intermission/";
pub const NODES: &str = "/intermission/nodes/";
pub const APPS: &str = "/intermission/apps/";
const ACKS: &str = "/intermission/acks/";
/// Of what is written. What another version wrote is not guessed at.
pub const VERSION: u64 = 1;

/// A name may be anything, and a key has its parts between slashes.
const AS_THEY_ARE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

fn part(name: &str) -> String {
    utf8_percent_encode(name, AS_THEY_ARE).to_string()
}

pub fn node(name: &str) -> String {
    format!("{NODES}{}", part(name))
}

pub fn app(name: &str) -> String {
    format!("{APPS}{}", part(name))
}

pub fn acks(app: &str) -> String {
    format!("{ACKS}{}/", part(app))
}

pub fn ack(app: &str, node: &str) -> String {
    format!("{}{}", acks(app), part(node))
}

/// What the last part of a key names.
pub fn name(entry: &Entry) -> String {
    let part = entry.key.rsplit('/').next().unwrap_or_default();
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// A node, as it says of itself where it is.
pub fn of_node(host: &str, url: &str) -> String {
    let program = env!("CARGO_PKG_VERSION");
    json!({ "version": VERSION, "agent": program, "host": host, "url": url }).to_string()
}

pub fn of_want(holder: &str, want: &Want) -> String {
    json!({
        "version": VERSION,
        "holder": holder,
        "for_ms": millis(want.lasts),
        "drain_ms": millis(want.drain),
        "settle_ms": millis(want.settle),
        "beat": want.beat,
        "over": want.is_over,
    })
    .to_string()
}

pub fn of_ack(ack: &Ack) -> String {
    json!({
        "version": VERSION,
        "token": ack.token,
        "beat": ack.beat,
        "pause": ack.pause,
        "quiet": ack.is_quiet,
        "open": ack.is_open,
        "held": ack.held,
        "in_flight": ack.in_flight,
        "failed": ack.why,
    })
    .to_string()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn read(entry: &Entry) -> Result<Value, String> {
    let key = printable(&entry.key);
    let value = serde_json::from_str::<Value>(&entry.value).ok();
    let version = value.as_ref().and_then(|value| value["version"].as_u64());
    match (value, version) {
        (Some(value), Some(VERSION)) => Ok(value),
        (_, Some(version)) => {
            let other = if version < VERSION { "an older" } else { "a newer" };
            Err(format!("{key} is of {other} version of this command: use the same one everywhere"))
        }
        _ => Err(format!("{key} in the store is of something else: remove it (etcdctl del {key})")),
    }
}

pub fn check_node(entry: &Entry) -> Result<String, String> {
    read(entry).map(|_| name(entry))
}

/// Where that node says it is.
pub fn place_of_node(entry: &Entry) -> Result<(String, String), String> {
    let value = read(entry)?;
    let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Ok((word("host"), word("url")))
}

pub fn want(entry: &Entry) -> Result<(String, Want), String> {
    let value = read(entry)?;
    let time = |name: &str| Duration::from_millis(value[name].as_u64().unwrap_or(0));
    let holder = printable(value["holder"].as_str().unwrap_or("?"));
    let want = Want {
        token: entry.made,
        lasts: time("for_ms"),
        drain: time("drain_ms"),
        settle: time("settle_ms"),
        beat: value["beat"].as_u64().unwrap_or(0),
        is_over: value["over"] == true,
    };
    Ok((holder, want))
}

pub fn ack_of(entry: &Entry) -> Result<Ack, String> {
    let value = read(entry)?;
    let number = |name: &str| value[name].as_u64().unwrap_or(0);
    Ok(Ack {
        node: name(entry),
        token: value["token"].as_i64().unwrap_or(0),
        beat: number("beat"),
        pause: number("pause"),
        is_quiet: value["quiet"] == true,
        is_open: value["open"] == true,
        held: number("held"),
        in_flight: number("in_flight"),
        why: value["failed"].as_str().map(printable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: String, value: String) -> Entry {
        Entry { key, value, made: 3, lease: 0 }
    }

    #[test]
    fn what_is_written_is_read() {
        let seconds = Duration::from_secs;
        let (token, beat, is_over) = (3, 7, true);
        let (lasts, drain, settle) = (seconds(60), seconds(10), seconds(1));
        let given = Want { token, lasts, drain, settle, beat, is_over };
        let read = want(&entry(app("a"), of_want("web1", &given)));
        assert_eq!(read, Ok(("web1".to_owned(), given)));
        let given = Ack {
            node: "a/b ö%".to_owned(),
            token: 3,
            beat: 1,
            pause: 2,
            is_quiet: true,
            is_open: true,
            held: 4,
            in_flight: 5,
            why: Some("no".to_owned()),
        };
        assert_eq!(ack_of(&entry(ack("x/y", &given.node), of_ack(&given))), Ok(given));
    }

    #[test]
    fn what_others_wrote_is_not_guessed_at() {
        let problem = |value: &str| {
            check_node(&entry(node("a/b"), value.to_owned())).expect_err("it is not ours")
        };
        assert!(
            problem("hello")
                .contains("/intermission/nodes/a%2Fb in the store is of something else")
        );
        assert!(problem("{}").contains("is of something else"));
        assert!(problem(r#"{"version":0}"#).contains("an older version"));
        assert!(problem(r#"{"version":2}"#).contains("a newer version"));
    }
}
