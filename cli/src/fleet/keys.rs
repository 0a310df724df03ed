//! The keys in the store, and their values.

use std::time::Duration;

use serde_json::{Value, json};

use super::decide::{Ack, Want};
use super::store::Entry;

pub const ALL: &str = "/intermission/";
pub const NODES: &str = "/intermission/nodes/";
pub const APPS: &str = "/intermission/apps/";
const ACKS: &str = "/intermission/acks/";
/// What is written by another version is not guessed at.
const VERSION: u64 = 1;

pub fn node(name: &str) -> String {
    format!("{NODES}{name}")
}

pub fn app(name: &str) -> String {
    format!("{APPS}{name}")
}

pub fn acks(app: &str) -> String {
    format!("{ACKS}{app}/")
}

pub fn ack(app: &str, node: &str) -> String {
    format!("{ACKS}{app}/{node}")
}

/// The last part of a key.
pub fn name(entry: &Entry) -> &str {
    entry.key.rsplit('/').next().unwrap_or_default()
}

pub fn of_node() -> String {
    json!({ "version": VERSION }).to_string()
}

pub fn of_want(holder: &str, lasts: Duration, drain: Duration) -> String {
    let (lasts, drain) = (lasts.as_millis(), drain.as_millis());
    json!({ "version": VERSION, "holder": holder, "for_ms": lasts, "drain_ms": drain }).to_string()
}

pub fn of_ack(ack: &Ack) -> String {
    let Ack { token, pause, why, .. } = ack;
    json!({ "version": VERSION, "token": token, "pause": pause, "failed": why }).to_string()
}

fn read(entry: &Entry) -> Result<Value, String> {
    let value = serde_json::from_str::<Value>(&entry.value).ok();
    let value = value.filter(|value| value["version"] == VERSION);
    value.ok_or_else(|| {
        let key = &entry.key;
        format!("the store has something else at {key}, or another version of this command wrote it: use the same everywhere, or remove the key")
    })
}

pub fn want(entry: &Entry) -> Result<(String, Want), String> {
    let value = read(entry)?;
    let time = |name: &str| Duration::from_millis(value[name].as_u64().unwrap_or(0));
    let holder = value["holder"].as_str().unwrap_or("?").to_owned();
    Ok((holder, Want { token: entry.made, lasts: time("for_ms"), drain: time("drain_ms") }))
}

pub fn ack_of(entry: &Entry) -> Result<Ack, String> {
    let value = read(entry)?;
    Ok(Ack {
        node: name(entry).to_owned(),
        token: value["token"].as_i64().unwrap_or(0),
        pause: value["pause"].as_u64().unwrap_or(0),
        why: value["failed"].as_str().map(str::to_owned),
    })
}

pub fn check_node(entry: &Entry) -> Result<String, String> {
    read(entry).map(|_| name(entry).to_owned())
}
