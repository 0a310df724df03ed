//! Chance that can be repeated: SplitMix64 (Steele, Lea, Flood).

use std::cell::{Cell, RefCell};

use crate::shared::hooks::see;

pub struct Rng {
    state: Cell<u64>,
    /// What comes instead of chance where all ways are gone: what is decided, and what was asked for since.
    coins: RefCell<Option<Coins>>,
}

#[derive(Default)]
struct Coins {
    decided: Vec<bool>,
    asked: Vec<bool>,
}

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed), coins: RefCell::default() }
    }

    /// From now on each [`Self::chance`] is as is decided here, and none beyond that.
    pub fn decide(&self, coins: &[bool]) {
        self.coins.replace(Some(Coins { decided: coins.to_vec(), asked: Vec::new() }));
    }

    /// How all came out that was left to chance since then. It is left to chance again.
    pub fn take_asked(&self) -> Vec<bool> {
        self.coins.take().unwrap_or_default().asked
    }

    pub fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit - 1`.
    pub fn below(&self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn index(&self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `percent` times out of a hundred.
    pub fn chance(&self, percent: u64) -> bool {
        if let Some(Coins { decided, asked }) = &mut *self.coins.borrow_mut() {
            let coin = decided.get(asked.len()).copied().unwrap_or(false);
            asked.push(coin);
            see(u64::from(coin));
            return coin;
        }
        self.below(100) < percent
    }

    pub fn one_of<T: Copy>(&self, options: &[T]) -> T {
        options[self.index(options.len())]
    }
}
