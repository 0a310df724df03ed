//! etcd as a store.

mod gateway;
mod race;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use self::gateway::Gateway;
use super::keys::ALL;
use super::store::{Entry, LEASE, Lease, Store, Trouble, Wake};
use crate::options::Etcd as Options;
use crate::signals::keep_away;

const BEFORE_NEXT_WATCH: Duration = Duration::from_secs(1);

pub struct Etcd {
    gateway: Arc<Gateway>,
}

impl Etcd {
    pub fn new(options: &Options) -> Self {
        Self { gateway: Arc::new(Gateway::new(options)) }
    }

    /// Whether one of the members answers, and lets this process in.
    pub fn check(&self) -> Result<(), Trouble> {
        let question = json!({ "key": text(ALL), "count_only": true });
        self.gateway.ask("kv/range", &question).map(|_| ())
    }

    /// Whether it was done: only if the key is still the one that was made then.
    /// If not, the answer has that key.
    fn change_while(&self, key: &str, made: i64, change: &Value) -> Result<Value, Trouble> {
        let look = json!({ "request_range": { "key": text(key) } });
        let is_that = json!({
            "key": text(key),
            "target": "CREATE",
            "result": "EQUAL",
            "create_revision": made.to_string(),
        });
        self.gateway
            .ask("kv/txn", &json!({ "compare": [is_that], "success": [change], "failure": [look] }))
    }
}

fn put(key: &str, value: &str, lease: Lease) -> Value {
    let (key, value) = (text(key), text(value));
    json!({ "request_put": { "key": key, "value": value, "lease": lease.to_string() } })
}

/// Keys and values are in base64 in etcd's JSON, and large numbers in words.
fn text(plain: &str) -> String {
    BASE64_STANDARD.encode(plain)
}

fn plain(value: &Value) -> String {
    let bytes = BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).or(value.as_i64()).unwrap_or(0)
}

fn entry(kv: &Value) -> Entry {
    Entry {
        key: plain(&kv["key"]),
        value: plain(&kv["value"]),
        made: number(&kv["create_revision"]),
        written: number(&kv["mod_revision"]),
        lease: number(&kv["lease"]),
    }
}

fn entries(range: &Value) -> Vec<Entry> {
    range["kvs"].as_array().map(|kvs| kvs.iter().map(entry).collect()).unwrap_or_default()
}

/// The first key behind all that begin like this.
fn end_of(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    BASE64_STANDARD.encode(bytes)
}

fn is_done(answer: &Value) -> bool {
    answer["succeeded"] == true
}

impl Store for Etcd {
    fn lists(&self, prefixes: &[&str]) -> Result<Vec<Vec<Entry>>, Trouble> {
        let range = |prefix: &&str| json!({ "request_range": { "key": text(prefix), "range_end": end_of(prefix) } });
        let ranges: Vec<_> = prefixes.iter().map(range).collect();
        let found = self.gateway.ask("kv/txn", &json!({ "success": ranges }))?;
        let entries = |number| entries(&found["responses"][number]["response_range"]);
        Ok((0..prefixes.len()).map(entries).collect())
    }

    fn create(&self, key: &str, value: &str, lease: Lease) -> Result<Option<i64>, Trouble> {
        let answer = self.change_while(key, 0, &put(key, value, lease))?;
        if is_done(&answer) {
            return Ok(Some(number(&answer["header"]["revision"])));
        }
        // Whoever asks twice may find what he has made.
        let there = entries(&answer["responses"][0]["response_range"]).pop();
        Ok(there.filter(|entry| entry.lease == lease).map(|entry| entry.made))
    }

    fn put_while(
        &self,
        key: &str,
        value: &str,
        lease: Lease,
        other: (&str, i64),
    ) -> Result<bool, Trouble> {
        Ok(is_done(&self.change_while(other.0, other.1, &put(key, value, lease))?))
    }

    fn remove(&self, key: &str, made: i64) -> Result<bool, Trouble> {
        let change = json!({ "request_delete_range": { "key": text(key) } });
        Ok(is_done(&self.change_while(key, made, &change)?))
    }

    fn grant(&self) -> Result<Lease, Trouble> {
        let question = json!({ "TTL": LEASE.as_secs().to_string() });
        Ok(number(&self.gateway.ask("lease/grant", &question)?["ID"]))
    }

    fn keep(&self, lease: Lease) -> Result<bool, Trouble> {
        let answer = self.gateway.ask("lease/keepalive", &json!({ "ID": lease.to_string() }))?;
        Ok(number(&answer["result"]["TTL"]) > 0)
    }

    fn revoke(&self, lease: Lease) -> Result<(), Trouble> {
        let revoked = self.gateway.ask("lease/revoke", &json!({ "ID": lease.to_string() }));
        match revoked {
            // It is over already, maybe as it was asked for twice.
            Err(_) if self.silent_for(lease) == Ok(None) => Ok(()),
            revoked => revoked.map(|_| ()),
        }
    }

    fn silent_for(&self, lease: Lease) -> Result<Option<Duration>, Trouble> {
        let answer = self.gateway.ask("lease/timetolive", &json!({ "ID": lease.to_string() }))?;
        let (granted, left) = (number(&answer["grantedTTL"]), number(&answer["TTL"]));
        let silent = u64::try_from(granted.saturating_sub(left)).unwrap_or(0);
        Ok((left >= 0 && granted > 0).then(|| Duration::from_secs(silent)))
    }

    fn watch(&self, prefix: &str, wake: Wake) {
        let gateway = Arc::downgrade(&self.gateway);
        let asked = json!({ "key": text(prefix), "range_end": end_of(prefix) });
        let question = json!({ "create_request": asked });
        // Who cannot be woken looks all the same, only later.
        let _ = thread::Builder::new().spawn(move || {
            keep_away();
            while let Some(gateway) = gateway.upgrade() {
                let _ = gateway.follow("watch", &question, &wake);
                thread::sleep(BEFORE_NEXT_WATCH);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_numbers_are_as_etcd_has_them() {
        assert_eq!(plain(&json!(text("/a/ö"))), "/a/ö");
        assert_eq!(plain(&json!("%")), "");
        assert_eq!(plain(&json!(end_of("/a/"))), "/a0");
        assert_eq!((number(&json!("7")), number(&json!(7)), number(&json!(null))), (7, 7, 0));
    }
}
