//! The requests of one app that a worker holds: `queue.rs`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::request::Request;
use crate::gate::lane::{Lane, NO_TICKET, Ticket};
use crate::gate::time::Moment;
use crate::shm::{AppId, Entry};

pub struct Queue {
    pub app: AppId,
    lane: Cell<&'static Lane>,
    members: RefCell<VecDeque<Rc<Request>>>,
    /// A batch was let go whose events have not all run.
    pub busy: Cell<bool>,
    pub detour: Cell<bool>,
}

impl Queue {
    pub fn new(entry: Entry) -> Self {
        Self {
            app: entry.app(),
            lane: Cell::new(entry.lane),
            members: RefCell::default(),
            busy: Cell::new(false),
            detour: Cell::new(false),
        }
    }

    pub fn first_ticket(&self) -> Ticket {
        self.members.borrow().front().map_or(NO_TICKET, |first| first.ticket)
    }

    pub fn push(&self, request: &Rc<Request>, lane: &'static Lane) {
        self.lane.set(lane);
        let was_empty = self.members.borrow().is_empty();
        self.members.borrow_mut().push_back(Rc::clone(request));
        if was_empty && !self.busy.get() {
            lane.publish_head(request.ticket, request.since);
        }
    }

    pub fn remove(&self, request: &Request) {
        self.members.borrow_mut().retain(|member| member.id != request.id);
    }

    pub fn take(&self, below: Ticket, limit: u32) -> Vec<Rc<Request>> {
        let mut members = self.members.borrow_mut();
        let goes = members.iter().take(limit as usize).take_while(|first| first.ticket < below);
        let count = goes.count();
        members.drain(..count).collect()
    }

    pub fn publish(&self) {
        match self.members.borrow().front() {
            Some(first) => self.lane.get().publish_head(first.ticket, first.since),
            None => self.lane.get().publish_head(NO_TICKET, Moment::NEVER),
        }
    }
}
