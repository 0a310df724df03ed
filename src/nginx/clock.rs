//! The clocks: a monotonic one for decisions, nginx's cached wall clock for people.

use core::time::Duration;

use nginx_sys::{ngx_cached_time, ngx_gmtime, ngx_tm_t};

use crate::gate::time::{Moment, micros};

/// The time on the machine's monotonic clock, finer and fresher than nginx's cached one, which
/// stands still while a batch of events is worked off.
pub fn now() -> Moment {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer leads to a timespec; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Moment::from_micros(micros(Duration::new(seconds, nanos)))
}

/// A moment of the past or the future as RFC 3339 writes it, by today's idea of the wall clock.
pub fn timestamp(moment: Moment) -> String {
    let now = now();
    // SAFETY: nginx keeps its cached time valid from the start.
    let unix = unsafe { (*ngx_cached_time).sec };
    let ahead = i64::try_from(moment.since(now).as_secs_f64().round() as u64).unwrap_or_default();
    let ago = i64::try_from(now.since(moment).as_secs_f64().round() as u64).unwrap_or_default();
    // SAFETY: an all-zero tm is a valid one, and the function only writes to it.
    let tm = unsafe {
        let mut tm: ngx_tm_t = core::mem::zeroed();
        ngx_gmtime(unix + ahead - ago, &mut tm);
        tm
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec
    )
}
