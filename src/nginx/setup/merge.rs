//! How the settings of a location follow from those around it, and what cannot stand together.

use nginx_sys::NGX_LOG_EMERG;

use crate::nginx::conf::app::AppName;
use crate::nginx::conf::{LocConf, MOST_TRIES, MainConf, NO_NUMBER, Probe, Standing, coverage};
use crate::nginx::control::Control;
use crate::nginx::ffi::configuring::{Configuring, Merge};
use crate::nginx::ffi::location::Location;

impl Merge for LocConf {
    fn merge(&mut self, outer: &Self, cf: &mut Configuring<'_>) -> Option<()> {
        check_control(self, cf)?;
        if self.control.is_none() {
            self.control = outer.control.filter(|_| cf.location().is_some_and(stays_control));
        }
        self.inherit(outer);
        check_probes(self, cf)?;
        self.number = match self.app.unwrap_or(AppName::Fixed(0)) {
            AppName::Fixed(number) => number,
            AppName::Evaluated(_) => NO_NUMBER,
        };
        self.standing = match (self.enabled, self.control) {
            (Some(true), None) if cf.location().is_some_and(Location::satisfies_any) => {
                Standing::Precontent
            }
            (Some(true), None) => Standing::Access,
            _ => Standing::Nowhere,
        };
        if self.standing != Standing::Nowhere {
            note_gate(self, cf);
        }
        Some(())
    }
}

/// What stands for a gate in the configuration as a whole.
fn note_gate(conf: &LocConf, cf: &mut Configuring<'_>) {
    let location = cf.location().filter(|_| conf.auto == Some(true));
    let Some(main) = MainConf::of(cf) else { return };
    main.needs_precontent |= conf.standing == Standing::Precontent;
    if let Some(location) = location {
        // SAFETY: it is a part of the configuration as that is.
        main.holds_by_itself(unsafe { Location::new(location.as_ptr()) });
    }
    let app = main.name_of(conf.app.unwrap_or(AppName::Fixed(0))).to_vec();
    let place = coverage::place(cf, &app);
    if let Some(main) = MainConf::of(cf) {
        main.coverage.push(place);
    }
}

/// A control location has no gate, and no other handler.
fn check_control(conf: &LocConf, cf: &Configuring<'_>) -> Option<()> {
    if conf.control.is_none() {
        return Some(());
    }
    if conf.enabled == Some(true) {
        ngx::ngx_conf_log_error!(
            NGX_LOG_EMERG,
            cf.as_ptr(),
            "\"intermission on\" cannot stand beside \"intermission_control\": the control \
             location is never under the gate; remove one of them"
        );
        return None;
    }
    if !cf.location().is_some_and(Location::is_handled_by::<Control>) {
        ngx::ngx_conf_log_error!(
            NGX_LOG_EMERG,
            cf.as_ptr(),
            "\"intermission_control\" cannot stand beside another content handler \
             (proxy_pass, say): give it a location of its own"
        );
        return None;
    }
    Some(())
}

/// Makes the nameless locations that nginx makes of `if` and `limit_except` in a control location part
/// of it, unless something else answers there. Whether it did.
fn stays_control(location: Location<'_>) -> bool {
    let stays = location.is_nameless() && !location.has_handler();
    if stays {
        location.handle_by::<Control>();
    }
    stays
}

fn check_probes(conf: &LocConf, cf: &Configuring<'_>) -> Option<()> {
    if !asks_too_often(conf) {
        return Some(());
    }
    ngx::ngx_conf_log_error!(
        NGX_LOG_EMERG,
        cf.as_ptr(),
        "\"intermission_auto_probe request\" may send one request at most {MOST_TRIES} times, as \
         each takes some more memory; lengthen \"intermission_auto_interval\" or shorten \
         \"intermission_auto_max_time\""
    );
    None
}

fn asks_too_often(conf: &LocConf) -> bool {
    conf.auto == Some(true)
        && conf.auto_probe == Some(Probe::Request)
        && conf.auto_max_time() > conf.auto_interval() * MOST_TRIES
}
