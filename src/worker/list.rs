//! Requests in a row, linked to each other: who leaves takes itself out, wherever it stands.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr;

use super::host::Host;
use super::passage::Passage;

/// A request's place in a list, if it is in one: both are null or none is.
#[derive(Debug)]
pub struct Link {
    next: Cell<*const Link>,
    before: Cell<*const Link>,
}

impl Default for Link {
    #[inline(always)]
    fn default() -> Self {
        Self { next: Cell::new(ptr::null()), before: Cell::new(ptr::null()) }
    }
}

impl Link {
    /// Takes the request out of the list that it is in, if any.
    pub fn remove(&self) {
        let (next, before) = (self.next.replace(ptr::null()), self.before.replace(ptr::null()));
        if let (Some(next), Some(before)) = (self.at(next), self.at(before)) {
            next.before.set(before);
            before.next.set(next);
        }
    }

    /// The link of the same list that stands there.
    fn at(&self, link: *const Self) -> Option<&Self> {
        // SAFETY: a link that is not null leads to a member of the same list, or to its ends. Those
        // stay where they are, and members take themselves out before they go.
        unsafe { link.as_ref() }
    }
}

/// Does not move once [`List::init`] was called. Its ends are one link, which closes the circle.
pub struct List<H: Host>(Link, PhantomData<*const Passage<H>>);

impl<H: Host> Default for List<H> {
    fn default() -> Self {
        Self(Link::default(), PhantomData)
    }
}

impl<H: Host> List<H> {
    /// Once, where it is going to stay.
    pub fn init(&self) {
        self.0.next.set(&raw const self.0);
        self.0.before.set(&raw const self.0);
    }

    pub fn is_empty(&self) -> bool {
        ptr::eq(self.0.next.get(), &raw const self.0)
    }

    pub fn first(&self) -> Option<&Passage<H>> {
        self.at(self.0.next.get())
    }

    pub fn last(&self) -> Option<&Passage<H>> {
        self.at(self.0.before.get())
    }

    pub fn pop(&self) -> Option<&Passage<H>> {
        self.first().inspect(|first| first.link.remove())
    }

    pub fn push(&self, passage: &Passage<H>) {
        self.put_before(passage, &raw const self.0);
    }

    /// Puts a request behind those with smaller tickets. That is the end, but for those who come back:
    /// they belong to the first.
    pub fn insert(&self, passage: &Passage<H>) {
        let comes_later = |other: &&Passage<H>| other.ticket() > passage.ticket();
        let later = self.last().filter(comes_later).and_then(|_| self.iter().find(comes_later));
        let place = later.map_or(&raw const self.0, |later| ptr::from_ref(later).cast());
        self.put_before(passage, place);
    }

    /// Nobody may be put in or taken out meanwhile.
    pub fn iter(&self) -> impl Iterator<Item = &Passage<H>> {
        let mut next = self.0.next.get();
        core::iter::from_fn(move || {
            let passage = self.at(next)?;
            next = passage.link.next.get();
            Some(passage)
        })
    }

    /// The request that this link of the list is of.
    fn at(&self, link: *const Link) -> Option<&Passage<H>> {
        let is_member = !link.is_null() && !ptr::eq(link, &raw const self.0);
        // SAFETY: all links but the list's own were made of whole requests, whose first field they
        // are, by `put_before`.
        is_member.then(|| unsafe { &*link.cast::<Passage<H>>() })
    }

    fn put_before(&self, passage: &Passage<H>, place: *const Link) {
        passage.link.remove();
        let own: *const Link = ptr::from_ref(passage).cast();
        let Some(behind) = self.0.at(place) else { return };
        let before = behind.before.replace(own);
        passage.link.next.set(place);
        passage.link.before.set(before);
        if let Some(before) = self.0.at(before) {
            before.next.set(own);
        }
    }
}
