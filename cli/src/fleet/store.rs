//! What is asked of a store. All that a process writes goes with it: a while after its last sign of life, it is gone.

use std::time::Duration;

/// For how long what a process wrote outlives its last sign of life.
pub const LEASE: Duration = Duration::from_secs(5);
/// How often it shows one, and how long a question to the store may take. Two of them can fail, and the lease holds:
/// `KEEP + 2 * LIMIT <= LEASE`.
pub const KEEP: Duration = Duration::from_millis(1500);
pub const LIMIT: Duration = Duration::from_millis(1500);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    /// Grows with each key that is made in the store: no two keys have the same, and no later one a smaller.
    pub made: i64,
}

/// Why the store did not do it, in words.
pub type Trouble = String;

pub trait Store {
    fn list(&mut self, prefix: &str) -> Result<Vec<Entry>, Trouble>;
    /// Makes a key that is not there: when it was made, or nothing if it is.
    fn create(&mut self, key: &str, value: &str) -> Result<Option<i64>, Trouble>;
    /// Writes a key while the other one is still the one that was made then.
    fn put_while(&mut self, key: &str, value: &str, other: (&str, i64)) -> Result<bool, Trouble>;
    /// Removes a key that was made then.
    fn remove(&mut self, key: &str, made: i64) -> Result<(), Trouble>;
    /// Shows a sign of life. False if it comes too late, and all that this process wrote is gone.
    fn keep(&mut self) -> Result<bool, Trouble>;
    /// Waits until something has changed, but no longer than that.
    fn wait(&mut self, time: Duration);
}
