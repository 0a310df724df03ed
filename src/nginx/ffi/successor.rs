//! Whether another nginx runs beside this one, as during a binary upgrade.

use std::fs;

use super::cycle::Cycle;
use super::globals::parent;
use super::paths::path_of;
use super::processes::exists as is_running;
use crate::shm::parent_in;

/// Whether one of the files in which nginx notes its master's process id names a living process
/// that is not this worker's master: the new binary's while the old one ends, the old one's when it
/// is taken back.
pub fn exists() -> bool {
    other_masters().next().is_some()
}

/// Whether such an nginx has workers, and is no stranger that the files name by chance: of the two
/// masters of a binary upgrade, one is the other's child.
pub fn serves() -> bool {
    let parent = parent();
    other_masters().any(|other| {
        let is_relative = [(other, parent), (parent, other)].into_iter().any(|(child, of)| {
            fs::read(format!("/proc/{child}/stat")).is_ok_and(|stat| parent_in(&stat) == Some(of))
        });
        is_relative && has_workers(other, parent)
    })
}

fn other_masters() -> impl Iterator<Item = u32> {
    let masters = |cycle: Cycle<'_>| {
        cycle.pid_files().into_iter().filter_map(other_master).collect::<Vec<_>>()
    };
    Cycle::in_running(masters).into_iter().flatten()
}

fn other_master(file: &[u8]) -> Option<u32> {
    // nginx counts the zero at the end of one of the two names, and not of the other.
    let path = path_of(file.split(|byte| *byte == 0).next().unwrap_or_default());
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.filter(|pid| *pid != parent() && is_running(*pid))
}

/// Whether a master has children besides `other`, or it cannot be told.
fn has_workers(master: u32, other: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    children
        .map_or(true, |text| text.split_ascii_whitespace().any(|child| child.parse() != Ok(other)))
}
