//! The clocks: a monotonic one for decisions, the wall clock for people and for files.

use core::cell::Cell;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use nginx_sys::ngx_tm_t;
use rustix::time::{ClockId, clock_gettime};

use super::blank::Blank;
use super::functions::ngx_gmtime;
use super::globals;
use super::local::Local;
use crate::gate::outage::TICK;
use crate::gate::time::{Moment, micros};

/// The time on the machine's monotonic clock, finer and fresher than nginx's cached one, which
/// stands still while a batch of events is worked off.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Moment::from_micros(micros(Duration::new(seconds, nanos)))
}

/// A moment for who arrives, behind that of whoever came to this worker before. It is of nginx's own clock,
/// which stands still while a batch of events is worked off: some milliseconds old, but nearly for nothing.
#[inline]
pub fn arrival() -> Moment {
    static LAST: Local<Cell<u64>> = Local::new(Cell::new(0));
    let turn = globals::current_msec().wrapping_mul(1000);
    let arrival = turn.max(LAST.get().get() + TICK);
    LAST.get().set(arrival);
    Moment::from_micros(arrival)
}

/// A moment by today's idea of the wall clock, in milliseconds since 1970.
pub fn unix_ms(moment: Moment) -> u64 {
    let (now, wall) = (now(), wall());
    let millis = |duration: Duration| micros(duration) / 1000;
    wall.saturating_add(millis(moment.since(now))).saturating_sub(millis(now.since(moment)))
}

/// The moment of a time of the wall clock; the beginning of all time if it is long past.
pub fn moment_of_unix_ms(unix_ms: u64) -> Moment {
    let (now, wall) = (now(), wall());
    let ahead = Duration::from_millis(unix_ms.saturating_sub(wall));
    let ago = Duration::from_millis(wall.saturating_sub(unix_ms));
    Moment::from_micros(now.plus(ahead).as_micros().saturating_sub(micros(ago)))
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    micros(since) / 1000
}

/// A moment of the past or the future as RFC 3339 writes it, by today's idea of the wall clock.
pub fn timestamp(moment: Moment) -> String {
    let seconds = i64::try_from(unix_ms(moment).saturating_add(500) / 1000).unwrap_or_default();
    let mut tm = ngx_tm_t::blank();
    ngx_gmtime(seconds, &mut tm);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec
    )
}
