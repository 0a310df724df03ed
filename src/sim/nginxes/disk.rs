//! The state file, its lock, and what is beside it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use super::Stage;
use crate::agreement::Medium;
use crate::shared::touch;
use crate::state_file::Saved;

#[derive(Default)]
pub struct Disk {
    pub says: RefCell<Option<Saved>>,
    beside: RefCell<Option<Saved>>,
    is_locked: Cell<bool>,
    pub fails: Cell<bool>,
}

/// The lock of the file: given back also by who dies with it.
pub struct Locked(Rc<Disk>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.is_locked.set(false);
    }
}

impl Disk {
    pub fn read(&self) -> Option<Saved> {
        touch(&self.says, false);
        self.says.borrow().clone()
    }

    pub fn try_lock(self: &Rc<Self>) -> Option<Locked> {
        touch(&self.is_locked, true);
        (!self.is_locked.replace(true)).then(|| Locked(Rc::clone(self)))
    }
}

impl Stage {
    fn may_fail(&self) -> io::Result<()> {
        let fails = self.disk.fails.get() && self.rng.chance(50);
        if fails { Err(io::Error::other("the disk fails")) } else { Ok(()) }
    }
}

impl Medium for Stage {
    fn prepare(&self, saved: &Saved) -> io::Result<()> {
        touch(&self.disk.beside, true);
        self.may_fail()?;
        // As it can be read again.
        let text = saved.format();
        *self.disk.beside.borrow_mut() = Saved::parse(text.as_bytes()).ok();
        Ok(())
    }

    fn replace(&self) -> io::Result<()> {
        touch(&self.disk.says, true);
        self.may_fail()?;
        let new = self.disk.beside.take().expect("something was prepared");
        let old = self.disk.says.replace(Some(new.clone()));
        let before = old.map_or(0, |old| old.serial);
        assert!(before < new.serial, "the file goes back from {before} to {}", new.serial);
        self.tell(|| format!("the file says {new:?}"));
        self.workers.borrow().iter().for_each(|worker| worker.hear());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        touch(&self.disk.says, false);
        self.may_fail()
    }
}
