//! Keeps a lease alive, beside whatever else a process does, and knows how long it lasts at least.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::store::{AFTER_FAILURE, KEEP, LEASE, Lease, Store, Trouble};
use crate::signals::keep_away;

pub struct Keeper {
    store: Arc<dyn Store>,
    pub lease: Lease,
    life: Arc<Mutex<Life>>,
}

struct Life {
    /// When the last sign of life was sent that came in time.
    sign: Instant,
    is_over: bool,
    trouble: Option<Trouble>,
}

impl Keeper {
    pub fn begin(store: &Arc<dyn Store>) -> Result<Self, Trouble> {
        let sign = Instant::now();
        let lease = store.grant()?;
        let life = Arc::new(Mutex::new(Life { sign, is_over: false, trouble: None }));
        let keeper = Self { store: store.clone(), lease, life: life.clone() };
        let (store, life) = (store.clone(), Arc::downgrade(&life));
        let begun = thread::Builder::new().spawn(move || {
            keep_away();
            keep(&*store, lease, &life);
        });
        begun.map(|_| keeper).map_err(|error| format!("no thread can be started: {error}"))
    }

    /// For how long the store cannot have taken this process for lost.
    pub fn left(&self) -> Duration {
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if life.is_over { Duration::ZERO } else { LEASE.saturating_sub(life.sign.elapsed()) }
    }

    /// The store has said that it took this process for lost.
    pub fn is_over(&self) -> bool {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).is_over
    }

    /// The store has heard of this process lately.
    pub fn is_heard(&self) -> bool {
        self.left() > LEASE.saturating_sub(KEEP * 2)
    }

    /// What keeps the store from hearing of this process, if something does.
    pub fn trouble(&self) -> Option<Trouble> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// Ends it, and all that goes with it.
    pub fn end(self) -> Result<(), Trouble> {
        self.store.revoke(self.lease)
    }
}

/// Until nobody has the keeper any more, or the lease is over.
fn keep(store: &dyn Store, lease: Lease, life: &Weak<Mutex<Life>>) {
    thread::sleep(KEEP);
    while life.strong_count() > 0 {
        let sent = Instant::now();
        let kept = store.keep(lease);
        let Some(life) = life.upgrade() else { return };
        let mut life = life.lock().unwrap_or_else(PoisonError::into_inner);
        life.trouble = None;
        let pause = match kept {
            Ok(true) => {
                life.sign = sent;
                KEEP
            }
            Ok(false) => {
                life.is_over = true;
                return;
            }
            Err(trouble) => {
                life.trouble = Some(trouble);
                AFTER_FAILURE
            }
        };
        drop(life);
        thread::sleep(pause);
    }
}
