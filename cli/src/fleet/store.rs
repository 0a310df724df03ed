//! What is asked of a store. What is written goes with a lease, which somebody keeps alive: a while after the last sign
//! of life, it is gone.

use std::sync::Arc;
use std::time::Duration;

use super::etcd::Etcd;
use crate::options::Etcd as Options;

/// For how long a lease outlives the last sign of life.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often there is one; how long a question to the store may take; when it is asked again. Two questions can fail,
/// and there is still time to act on it.
pub const KEEP: Duration = Duration::from_millis(2000);
pub const LIMIT: Duration = Duration::from_millis(2500);
pub const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// What is left then.
pub const NOTICE: Duration = Duration::from_millis(2500);
const _: () = assert!(
    KEEP.as_millis() + 2 * (LIMIT.as_millis() + AFTER_FAILURE.as_millis()) + NOTICE.as_millis()
        <= LEASE.as_millis()
);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    /// Grows with each key that is made in the store: no two keys have the same, and no later one a smaller.
    pub made: i64,
    /// When it was last written, in the same count.
    pub written: i64,
    pub lease: Lease,
}

pub type Lease = i64;

/// Why the store did not do it, in words, with what to do.
pub type Trouble = String;

/// Called whenever something has changed, or may have.
pub type Wake = Box<dyn Fn() + Send>;

pub trait Store: Send + Sync {
    /// What each of these begins, all at one moment.
    fn lists(&self, prefixes: &[&str]) -> Result<Vec<Vec<Entry>>, Trouble>;
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, Trouble> {
        Ok(self.lists(&[prefix])?.pop().unwrap_or_default())
    }
    /// Makes a key that is not there: when it was made, or nothing if it is.
    fn create(&self, key: &str, value: &str, lease: Lease) -> Result<Option<i64>, Trouble>;
    /// Writes a key while the other one is still the one that was made then.
    fn put_while(
        &self,
        key: &str,
        value: &str,
        lease: Lease,
        other: (&str, i64),
    ) -> Result<bool, Trouble>;
    /// Removes a key that was made then.
    fn remove(&self, key: &str, made: i64) -> Result<bool, Trouble>;
    fn grant(&self) -> Result<Lease, Trouble>;
    /// A sign of life. False if it comes too late, and all that went with the lease is gone.
    fn keep(&self, lease: Lease) -> Result<bool, Trouble>;
    /// Ends a lease, and all that goes with it.
    fn revoke(&self, lease: Lease) -> Result<(), Trouble>;
    /// The time since the last sign of life, if there is such a lease.
    fn silent_for(&self, lease: Lease) -> Result<Option<Duration>, Trouble>;
    fn watch(&self, prefix: &str, wake: Wake);
}

pub fn open(options: &Options) -> Result<Arc<dyn Store>, Trouble> {
    let etcd = Etcd::new(options);
    etcd.check()?;
    Ok(Arc::new(etcd))
}
