//! Directives of a location, and of what is around it.

use core::time::Duration;

use crate::control::values;
use crate::gate::policy::{MAX_COUNT, Policy};
use crate::nginx::conf::agent::Agent;
use crate::nginx::conf::app::AppName;
use crate::nginx::conf::{Control, LocConf, MainConf, Probe, ReadBody, Replay, TimeoutAction};
use crate::nginx::control;
use crate::nginx::ffi::configuring::Configuring;
use crate::shm::MAX_NAME;

use super::Directive;

type Set = Result<(), String>;

pub fn enabled(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let enabled = directive.flag()?;
    need_zone(&mut directive.cf);
    Directive::once(&mut conf.enabled, enabled)
}

pub fn app_name(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let name = directive.value();
    let app = app_of(&mut directive.cf, name)?;
    Directive::once(&mut conf.app, app)
}

pub fn max_time(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let expected = "a time above 0 and at most 1d, such as 300s";
    let time = directive.time(Duration::from_millis(1), expected)?;
    Directive::once(&mut conf.max_time, time)
}

pub fn timeout_action(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let status = values::number(directive.value()).filter(|code| (400..=599).contains(code));
    let action = match (directive.value(), status.and_then(|code| u16::try_from(code).ok())) {
        (b"pass", _) => TimeoutAction::Pass,
        (_, Some(code)) if code != 444 && code != 499 => TimeoutAction::Status(code),
        _ => {
            return Err(
                "expected \"pass\" or a status from 400 to 599, but not 444 or 499, which \
                        would drop the client without an answer"
                    .to_owned(),
            );
        }
    };
    Directive::once(&mut conf.timeout_action, action)
}

pub fn health_check_path(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    if directive.values.iter().any(|path| !path.starts_with(b"/")) {
        return Err("expected paths that begin with \"/\", such as /up".to_owned());
    }
    let paths = directive.values.iter().map(|path| path.to_vec()).collect();
    Directive::once(&mut conf.health_check_paths, paths)
}

pub fn agent(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let parse = |pattern: &&[u8]| Agent::parse(&directive.cf, pattern);
    let agents = directive.values.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    conf.agents.get_or_insert_default().extend(agents);
    Ok(())
}

pub fn max_held(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let number = values::number(directive.value()).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or_else(|| "expected a number of requests, 0 for no cap".to_owned())?;
    Directive::once(&mut conf.max_held, number)
}

pub fn retry_after(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let time = directive.time(Duration::from_secs(1), "a time from 1s to 1d, such as 30s")?;
    Directive::once(&mut conf.retry_after, time.as_secs())
}

pub fn read_body(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let when = match directive.value() {
        b"release" => ReadBody::Release,
        b"held" => ReadBody::Held,
        b"off" => ReadBody::Off,
        _ => return Err("expected \"release\", \"held\" or \"off\"".to_owned()),
    };
    Directive::once(&mut conf.read_body, when)
}

pub fn interval(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    Directive::once(&mut conf.interval, directive.interval()?)
}

pub fn auto(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    Directive::once(&mut conf.auto, directive.flag()?)
}

pub fn auto_max_time(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let expected = "a time above 0 and at most 1d, such as 30s";
    let time = directive.time(Duration::from_millis(1), expected)?;
    Directive::once(&mut conf.auto_max_time, time)
}

pub fn auto_interval(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    Directive::once(&mut conf.auto_interval, directive.interval()?)
}

pub fn auto_probe(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let is_plain = |path: &[u8]| path.iter().all(u8::is_ascii_graphic);
    let probe = match directive.value() {
        b"connect" => Probe::Connect,
        b"request" => Probe::Request,
        path if path.starts_with(b"/") && is_plain(path) => Probe::Path(path.to_vec()),
        _ => {
            return Err("expected \"connect\", \"request\" or a path of plain characters that \
                        begins with \"/\", such as /up"
                .to_owned());
        }
    };
    Directive::once(&mut conf.auto_probe, probe)
}

pub fn auto_replay(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let replay = match directive.value() {
        b"none" => Replay::None,
        b"get" => Replay::Get,
        _ => return Err("expected \"none\" or \"get\"".to_owned()),
    };
    Directive::once(&mut conf.auto_replay, replay)
}

pub fn release_rate(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let rate = values::rate(directive.value());
    let rate = rate.ok_or_else(|| "expected a rate from 1r/s to 1000000r/s".to_owned())?;
    let burst = match directive.values.get(1) {
        None => 0,
        Some(given) => given
            .strip_prefix(b"burst=")
            .and_then(count)
            .ok_or_else(|| format!("expected \"burst=\" with {COUNT_EXPECTED}"))?,
    };
    values::check_burst(&Policy { rate, burst, ..Policy::default() })
        .map_err(|problem| format!("burst {problem}"))?;
    Directive::once(&mut conf.rate, (rate, burst))
}

pub fn release_concurrency(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let number = match directive.value() {
        b"0" => Some(0),
        number => count(number),
    };
    let number = number.ok_or_else(|| format!("expected {COUNT_EXPECTED}, or 0 for no limit"))?;
    Directive::once(&mut conf.concurrency, number)
}

pub fn release_timeout(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let expected = "a time above 0 and at most 1d, such as 60s";
    let time = directive.time(Duration::from_millis(1), expected)?;
    Directive::once(&mut conf.release_timeout, time)
}

const COUNT_EXPECTED: &str = "a number from 1 to 1000000";

fn count(value: &[u8]) -> Option<u32> {
    let count = u32::try_from(values::number(value)?).ok()?;
    (1..=MAX_COUNT).contains(&count).then_some(count)
}

pub fn control(directive: &mut Directive<'_>, conf: &mut LocConf) -> Set {
    let control = match directive.value() {
        b"" | b"local" => Control::Local,
        b"any" => Control::Any,
        _ => return Err("expected \"local\" or \"any\"".to_owned()),
    };
    Directive::once(&mut conf.control, control)?;
    need_zone(&mut directive.cf);
    handle_location(&directive.cf)
}

/// Makes the control handler that of the location at hand. What another directive puts in its
/// place, before or after, is found when the location is complete.
fn handle_location(cf: &Configuring<'_>) -> Set {
    let location = cf.location().ok_or_else(|| "expected a location".to_owned())?;
    if location.has_handler() {
        return Err("the location has another content handler (proxy_pass, say) already".to_owned());
    }
    location.handle_by::<control::Control>();
    Ok(())
}

fn app_of(cf: &mut Configuring<'_>, name: &[u8]) -> Result<AppName, String> {
    if name.len() > MAX_NAME {
        return Err(format!("expected at most {MAX_NAME} bytes"));
    }
    let compiled = cf.compile(name);
    let wrong = || "expected a name, which may contain variables".to_owned();
    if let Some(template) = compiled.ok_or_else(wrong)? {
        return Ok(AppName::Evaluated(template));
    }
    let main = MainConf::of(cf).ok_or_else(|| "no http block".to_owned())?;
    Ok(AppName::Fixed(main.intern(if name.is_empty() { b"default" } else { name })))
}

fn need_zone(cf: &mut Configuring<'_>) {
    if let Some(main) = MainConf::of(cf) {
        main.needs_zone = true;
    }
}
