//! The keys in the store, and their values.
//!
//! | key | value | goes with |
//! | --- | --- | --- |
//! | `/intermission/nodes/NODE` | a node of the fleet | its agent |
//! | `/intermission/apps/APP` | that an app is to be paused | its holder |
//! | `/intermission/acks/APP/NODE` | what a node did for that | its holder |
//! | `/intermission/paces/APP` | at which rate each node is to resume | who has it resumed |

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::decide::{Ack, Aim, Canary, Want};
use super::store::Entry;
use crate::say::printable;

pub const ALL: &str = "/intermission/";
pub const NODES: &str = "/intermission/nodes/";
pub const APPS: &str = "/intermission/apps/";
pub const PACES: &str = "/intermission/paces/";
const ACKS: &str = "/intermission/acks/";
/// Of what is written. What another version wrote is not guessed at.
pub const VERSION: u64 = 2;

/// How many requests in a second each node is to release.
pub type Rates = BTreeMap<String, u32>;

/// A node that is to try so many requests first.
pub type Trial = (String, u32);

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

pub fn pace(app: &str) -> String {
    format!("{PACES}{}", part(app))
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

pub fn of_want(holder: &str, want: &Want, trial: Option<&Trial>) -> String {
    json!({
        "version": VERSION,
        "holder": holder,
        "for_ms": millis(want.lasts),
        "drain_ms": millis(want.drain),
        "settle_ms": millis(want.settle),
        "beat": want.beat,
        "canary": trial.map(|(node, count)| json!({ "node": node, "count": count })),
        "over": want.aim == Aim::Resume,
        "left": want.aim == Aim::Leave,
    })
    .to_string()
}

pub fn of_pace(token: i64, rates: &Rates) -> String {
    json!({ "version": VERSION, "token": token, "rates": rates }).to_string()
}

pub fn of_ack(ack: &Ack) -> String {
    let (canary, verdict) = match &ack.canary {
        Canary::None => (None, None),
        Canary::Out => (Some("out"), None),
        Canary::Good => (Some("good"), None),
        Canary::Bad(why) => (Some("bad"), Some(why)),
    };
    json!({
        "version": VERSION,
        "token": ack.token,
        "beat": ack.beat,
        "pause": ack.pause,
        "quiet": ack.is_quiet,
        "open": ack.is_open,
        "held": ack.held,
        "in_flight": ack.in_flight,
        "canary": canary,
        "verdict": verdict,
        "left": ack.is_left,
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

pub fn holder(entry: &Entry) -> Result<String, String> {
    let value = read(entry)?;
    Ok(printable(value["holder"].as_str().unwrap_or("?")))
}

/// What is wanted of this node.
pub fn want(entry: &Entry, node: &str) -> Result<Want, String> {
    let value = read(entry)?;
    let time = |name: &str| Duration::from_millis(value[name].as_u64().unwrap_or(0));
    let count = value["canary"]["count"].as_u64().and_then(|count| u32::try_from(count).ok());
    let aim = match count.filter(|_| value["canary"]["node"] == node) {
        _ if value["over"] == true => Aim::Resume,
        _ if value["left"] == true => Aim::Leave,
        Some(count) => Aim::Try(count),
        None => Aim::Hold,
    };
    Ok(Want {
        token: entry.made,
        lasts: time("for_ms"),
        drain: time("drain_ms"),
        settle: time("settle_ms"),
        beat: value["beat"].as_u64().unwrap_or(0),
        aim,
    })
}

/// The rate of this node, if it has one, and whose pause is to be resumed by it.
pub fn rate(entry: &Entry, node: &str) -> Result<(i64, Option<u32>), String> {
    let value = read(entry)?;
    let rate = value["rates"][node].as_u64().and_then(|rate| u32::try_from(rate).ok());
    Ok((value["token"].as_i64().unwrap_or(0), rate.filter(|rate| *rate > 0)))
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
        canary: match value["canary"].as_str() {
            None => Canary::None,
            Some("out") => Canary::Out,
            Some("good") => Canary::Good,
            Some(_) => Canary::Bad(printable(value["verdict"].as_str().unwrap_or_default())),
        },
        is_left: value["left"] == true,
        why: value["failed"].as_str().map(printable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: String, value: String) -> Entry {
        Entry { key, value, made: 3, written: 3, lease: 0 }
    }

    #[test]
    fn what_is_written_is_read() {
        let seconds = Duration::from_secs;
        let (token, beat) = (3, 7);
        let (lasts, drain, settle) = (seconds(60), seconds(10), seconds(1));
        for aim in [Aim::Hold, Aim::Resume, Aim::Leave, Aim::Try(5)] {
            let given = Want { token, lasts, drain, settle, beat, aim };
            let trial = ("web1".to_owned(), 5);
            let trial = Some(&trial).filter(|_| aim == Aim::Try(5));
            let written = entry(app("a"), of_want("me", &given, trial));
            assert_eq!(holder(&written), Ok("me".to_owned()));
            assert_eq!(want(&written, "web1"), Ok(given));
            let of_others = if trial.is_some() { Aim::Hold } else { aim };
            assert_eq!(want(&written, "web2").map(|want| want.aim), Ok(of_others));
        }
        let rates = Rates::from([("web1".to_owned(), 30)]);
        let written = entry(pace("a"), of_pace(3, &rates));
        assert_eq!(
            (rate(&written, "web1"), rate(&written, "web2")),
            (Ok((3, Some(30))), Ok((3, None)))
        );
        let given = Ack {
            node: "a/b ö%".to_owned(),
            token: 3,
            beat: 1,
            pause: 2,
            is_quiet: true,
            is_open: true,
            held: 4,
            in_flight: 5,
            canary: Canary::Bad("none".to_owned()),
            is_left: true,
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
        assert!(problem(r#"{"version":1}"#).contains("an older version"));
        assert!(problem(r#"{"version":3}"#).contains("a newer version"));
    }
}
