//! A request, as it comes to a worker and as that knows it.

use std::cell::Cell;
use std::hash::Hash;
use std::time::Duration;

use super::ledger::Id;
use crate::gate::time::Moment;

/// A request that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    pub id: Id,
    pub app: usize,
    pub bypasses: bool,
    pub max_held: u32,
    pub max_time: Duration,
    /// What happens when its time is up.
    pub passes: bool,
    /// When its body comes.
    pub body: Body,
    pub interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none, or it is there.
    None,
    /// When it is asked for, behind what is posted.
    Soon,
    /// When it is asked for, and the client sends it.
    Late,
}

/// A request, as the simulation knows it.
pub struct Request {
    pub arriving: Arriving,
    /// Whose gate it comes to.
    pub app: Cell<usize>,
    /// When its time is up.
    pub until: Cell<Moment>,
    pub body: Cell<Reading>,
    pub gone: Cell<bool>,
    /// When it first set out for a backend.
    pub arrived: Cell<Moment>,
    /// A byte of it was sent to the backend of its app, or to another one before.
    pub sent: Cell<bool>,
    pub broke: Cell<bool>,
    /// It is held where it was taken back.
    pub parked: Cell<bool>,
    /// Its time is that of a pause, and stays so.
    pub paused: Cell<bool>,
    /// It was asked again already.
    pub replayed: Cell<bool>,
}

impl Request {
    pub fn fingerprint(&self) -> impl Hash + use<> {
        let Self {
            arriving,
            app,
            until,
            body,
            gone,
            arrived,
            sent,
            broke,
            parked,
            paused,
            replayed,
        } = self;
        let what = format!("{arriving:?}{body:?}");
        let ways = [gone, sent, broke, parked, paused, replayed].map(Cell::get);
        (what, ways, app.get(), until.get(), arrived.get())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Unread,
    Asked,
    Come,
}
