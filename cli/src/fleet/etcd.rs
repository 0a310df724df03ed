//! etcd as a store.

use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, Error, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions,
    Txn, TxnOp, WatchOptions, WatchStream,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::keys::ALL;
use super::store::{Entry, LEASE, LIMIT, Store, Trouble};
use crate::say::printable;

pub struct Etcd {
    runtime: Runtime,
    client: Client,
    lease: i64,
    keeper: LeaseKeeper,
    kept: LeaseKeepAliveStream,
    watch: WatchStream,
}

impl Etcd {
    pub fn connect(endpoints: &[String]) -> Result<Self, Trouble> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the store cannot be asked: {error}"))?;
        let connecting = async {
            let mut client = Client::connect(endpoints, None).await?;
            let seconds = i64::try_from(LEASE.as_secs()).unwrap_or(i64::MAX);
            let lease = client.lease_grant(seconds, None).await?.id();
            let (keeper, kept) = client.lease_keep_alive(lease).await?;
            let watch = client.watch(ALL, Some(WatchOptions::new().with_prefix())).await?;
            Ok((client, lease, keeper, kept, watch))
        };
        let (client, lease, keeper, kept, watch) = ask(&runtime, connecting)
            .map_err(|trouble| format!("{trouble}. Is etcd at {}?", endpoints.join(", ")))?;
        Ok(Self { runtime, client, lease, keeper, kept, watch })
    }

    fn put(&self, key: &str, value: &str) -> TxnOp {
        TxnOp::put(key, value, Some(PutOptions::new().with_lease(self.lease)))
    }
}

/// The answer to a question, if it comes in time.
fn ask<T>(
    runtime: &Runtime,
    question: impl Future<Output = Result<T, Error>>,
) -> Result<T, Trouble> {
    match runtime.block_on(async { timeout(LIMIT, question).await }) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("etcd: {}", printable(&error.to_string()))),
        Err(_) => Err("etcd does not answer".to_owned()),
    }
}

fn is_of(key: &str, made: i64) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, made)
}

impl Store for Etcd {
    fn list(&mut self, prefix: &str) -> Result<Vec<Entry>, Trouble> {
        let options = GetOptions::new().with_prefix();
        let found = ask(&self.runtime, self.client.get(prefix, Some(options)))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entry = |kv: &etcd_client::KeyValue| Entry {
            key: text(kv.key()),
            value: text(kv.value()),
            made: kv.create_revision(),
        };
        Ok(found.kvs().iter().map(entry).collect())
    }

    fn create(&mut self, key: &str, value: &str) -> Result<Option<i64>, Trouble> {
        let txn = Txn::new().when([is_of(key, 0)]).and_then([self.put(key, value)]);
        let done = ask(&self.runtime, self.client.txn(txn))?;
        let made = done.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(done.succeeded().then_some(made))
    }

    fn put_while(&mut self, key: &str, value: &str, other: (&str, i64)) -> Result<bool, Trouble> {
        let txn = Txn::new().when([is_of(other.0, other.1)]).and_then([self.put(key, value)]);
        Ok(ask(&self.runtime, self.client.txn(txn))?.succeeded())
    }

    fn remove(&mut self, key: &str, made: i64) -> Result<(), Trouble> {
        let txn = Txn::new().when([is_of(key, made)]).and_then([TxnOp::delete(key, None)]);
        ask(&self.runtime, self.client.txn(txn)).map(|_| ())
    }

    fn keep(&mut self) -> Result<bool, Trouble> {
        let keeping = async {
            self.keeper.keep_alive().await?;
            self.kept.message().await
        };
        let answer = ask(&self.runtime, keeping)?;
        Ok(answer.is_some_and(|answer| answer.ttl() > 0))
    }

    fn wait(&mut self, time: Duration) {
        let change = async { timeout(time, self.watch.message()).await };
        // Who has lost the watch looks all the same, only later.
        if let Ok(Err(_) | Ok(None)) = self.runtime.block_on(change) {
            std::thread::sleep(time);
        }
    }
}
